"""PyTorch weights in and out, without running code of theirs."""
