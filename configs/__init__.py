"""One file an experiment; `common` holds what they share."""
