"""jaxuda: domain-adaptive semantic segmentation in JAX."""
