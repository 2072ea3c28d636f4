"""Pseudo labels: the rules, what they keep, and the dataset they make."""
