"""Source-only: cross entropy on the labelled domain and nothing else.

The target is not even forwarded, because that alone would move the running
batch-norm statistics towards it.
"""

STREAMS = ('source',)


def discriminators(config) -> dict:
  """None."""
  del config
  return {}


def segmenter_terms(turn) -> dict:
  """No term besides the step's cross entropy."""
  del turn
  return {}


def discriminator_terms(turn) -> dict:
  """No discriminators."""
  del turn
  return {}
