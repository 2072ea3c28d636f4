"""Pseudo labels: the rules, how much they keep, and the dataset they make."""
