"""Source-only: cross entropy on the labelled domain and nothing else.

The target is not even forwarded, because that alone would move the running
batch-norm statistics towards it.
"""

STREAMS = ('source',)


def discriminators(config) -> dict:
  """None."""
  del config
  return {}


def segmenter_terms(outputs, batch, discriminate, rng, config) -> dict:
  """No term besides the step's cross entropy."""
  del outputs, batch, discriminate, rng, config
  return {}


def discriminator_terms(outputs, batch, discriminate, rng, config) -> dict:
  """No discriminators."""
  del outputs, batch, discriminate, rng, config
  return {}
