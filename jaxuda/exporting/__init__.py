"""Trained segmenters as files that need no jaxuda; see jaxuda/export.py."""
