"""jaxuda: domain-adaptive semantic segmentation in JAX."""

from jaxuda.utils import early

early.install()

__version__ = '0.1.0'
