"""The stages of an experiment: nested configs, and what they share with it."""

from ml_collections import ConfigDict


def share(config: ConfigDict, stage: ConfigDict) -> ConfigDict:
  """Let a stage have a config's network, classes, seed and data folder.

  One object each, so that an override of the one reaches the other; and so on
  to the stages of the stage.

  Returns:
    The stage.
  """
  for key in ('classes', 'seed', 'data_dir'):
    share_value(config, stage, key)
  _share_model(config, stage)
  return stage


def share_value(config: ConfigDict, stage: ConfigDict, key: str) -> None:
  """Let one key of a stage be that of a config, whichever is overridden."""
  reference = config.get_ref(key)
  if stage.get_ref(key) is not reference:  # shared already
    stage[key] = reference


def _share_model(config, stage):
  stage.model = config.model
  for inner in stages(stage).values():
    _share_model(stage, inner)


def stages(config: ConfigDict) -> dict[str, ConfigDict]:
  """Return the experiments that come before another one, by their keys.

  'init_stage' comes last, '<stream>.labels_stage' before it. A stage in whose
  place `init` or `<stream>.labels` names a run is left out.
  """
  found = {
    f'{stream}.labels_stage': config[stream].labels_stage
    for stream in ('source', 'target')
    if stream in config and config[stream].labels is None
  }
  if config.init is None:
    found['init_stage'] = config.init_stage
  return {key: stage for key, stage in found.items() if stage is not None}
