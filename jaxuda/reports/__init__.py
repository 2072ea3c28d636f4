"""What is told of finished runs: a page of one, a comparison of many."""
