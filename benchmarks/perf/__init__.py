"""What is timed: steps, input and evaluation, beside the originals."""
