"""Around the loop: stages, checks, the run's folder and its log."""
