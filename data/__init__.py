"""Datasets, one folder each, found by their names; see jaxuda.datasets."""

import jaxuda  # noqa: F401 - whose handler of Ctrl-C comes before all else
