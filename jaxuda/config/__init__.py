"""Experiments as config files: load one, override it, check its values."""
