"""Datasets, one folder each, found by their names; see jaxuda.datasets."""
