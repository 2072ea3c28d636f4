"""Refuses settings that cannot work, before anything is written."""

import jax

from jaxuda import experiment, labels, methods
from jaxuda.config import loading as config_lib
from jaxuda.pseudo_labels import rules
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError

# The least and the largest value of numbers, and of each of several.
_BOUNDS = {
  'steps': (1, None),
  'iter_size': (1, None),
  'log_every': (1, None),
  'eval_every': (1, None),
  'checkpoint_every': (1, None),
  'max_skipped': (1, None),
  'panels': (1, None),
  'eval.scales': (0.1, 10.0),
  'model.blocks': (1, None),
  'model.width': (1, None),
  'model.dilations': (1, None),
  'model.live_branches': (1, None),
  'model.temperature': (1e-3, None),
  'discriminator.width': (1, None),
  'optim.lr': (0.0, None),
  'optim.horizon': (1, None),
}


def check(config, mesh: jax.sharding.Mesh) -> None:
  """Raises a UserError that names the key and what it may be.

  Args:
    config: an experiment's.
    mesh: of the devices that share each batch.
  """
  bounds(config_lib.flatten(config))
  method = methods.load(config.method)
  experiment.segmenter(config)
  for stream in method.STREAMS:
    sharding.check_batch(
      f'{stream}.batch_size', config[stream].batch_size, mesh, config.iter_size
    )
  # Each process evaluates batches of its own.
  sharding.check_batch(
    'eval.batch_size', config.eval.batch_size, mesh.local_mesh
  )
  labels.space(config.eval.classes or config.classes)
  _check_pseudo(config, method)
  if hasattr(method, 'check'):
    method.check(config)


def _check_pseudo(config, method):
  """Pseudo labels that nothing reads, or that no rule can make."""
  for stream in ('source', 'target'):
    if config[stream].get('labels') and stream not in method.STREAMS:
      raise UserError(
        f'config.{stream}.labels={config[stream].labels}: {config.method} does '
        f'not read the {stream}.'
      )
  if 'pseudo' in config:
    given = config.pseudo.to_dict()
    rules.settings(given.pop('rule'), given)


def bounds(flat: dict) -> None:
  """Refuses numbers that are too small or too large; {key: value}."""
  for key, (least, most) in _BOUNDS.items():
    value = flat.get(key)
    values = value if isinstance(value, tuple) else (value,)
    for v in values if value is not None else ():
      if not (least <= v and (most is None or v <= most)):
        most = '' if most is None else f' and at most {most}'
        raise UserError(f'config.{key}={value} must be at least {least}{most}.')
