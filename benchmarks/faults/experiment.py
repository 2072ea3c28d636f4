"""A config file: any method's experiment, as small as a fault needs it.

  --config=benchmarks/faults/experiment.py:dacs

Its data are two TOML files that subjects.py writes, in the folder in which the
commands run.
"""

from jaxuda import config as config_lib

SIZE = (32, 64)
SOURCE, TARGET = 'game.toml', 'city.toml'
# Logs, evaluations and checkpoints in rhythms that do not divide one another.
_TOP = {
  'steps': 12,
  'log_every': 2,
  'eval_every': 5,
  'checkpoint_every': 3,
  'num_log_images': 1,
  'num_unlabelled_images': 2,
}
_BELOW = {
  'model.encoder.blocks': (1, 1, 1, 1),
  'model.encoder.width': 4,
  'discriminator.width': 4,
  'patch.size': 32,
}


def get_config(arg=None):
  """Take the name of a file of configs/, and further words of its own."""
  name, *words = arg.split(',')
  argument = ','.join(['streets', 'encoder=resnet', *words])
  config = config_lib.load(f'configs/{name}.py:{argument}')
  _shrink(config)
  return config


def _shrink(config):
  """Make an experiment small, and the stages before it."""
  with config.unlocked(), config.ignore_type():
    config.update(_TOP)
    flat = config_lib.flatten(config)
    known = {key: value for key, value in _BELOW.items() if key in flat}
    config.update_from_flattened_dict(known)
    for stream in ('source', 'target', 'labelled'):
      if stream in config:
        name = SOURCE if stream == 'source' else TARGET
        config[stream].update(name=name, size=SIZE, batch_size=2)
    if 'labelled' in config:
      config.labelled.update(split='val', count=None)
    config.eval.update(name=TARGET, size=SIZE, batch_size=2)
  for stage in config_lib.stages(config).values():
    _shrink(stage)
