"""One page an experiment; `common` holds what they share."""
