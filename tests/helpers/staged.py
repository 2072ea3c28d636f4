"""Random patches on streets, of a small ResNet that a source stage has trained.

No config of the project has this stage: FADA's, on data that is not here, has.
"""

from configs import _stages, advent_patch, source_only

WORDS = 'streets,encoder=resnet'


def get_config(arg=None):
  """Take no argument."""
  assert not arg
  config = advent_patch.get_config(WORDS)
  _stages.start_from(config, source_only.get_config(WORDS))
  return config
