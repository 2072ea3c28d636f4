"""What is refused before anything is written."""

import jax

from jaxuda import experiment, labels, methods
from jaxuda.models import segmenter
from jaxuda.pseudo_labels import rules
from jaxuda.training import start
from jaxuda.utils import memory, settings, sharding
from jaxuda.utils.errors import UserError


def check(config, mesh: jax.sharding.Mesh) -> None:
  """Refuse settings that cannot work.

  Args:
    config: an experiment's.
    mesh: of the devices that share each batch.

  Raises:
    UserError: names the key, and what it may be.
  """
  experiment.segmenter(config)
  method = methods.load(config.method)
  parts = config.grad_accum_steps
  for stream in method.streams:
    size = config[stream].batch_size
    sharding.check_batch(f'{stream}.batch_size', size, mesh, parts)
    _check_sides(stream, config, size // parts)
  # Each process evaluates its own batches.
  sharding.check_batch(
    'eval.batch_size', config.eval.batch_size, mesh.local_mesh
  )
  _check_sides('eval', config, 1)
  labels.space(config.eval.classes or config.classes)
  if config.eval.network == 'ema' and method.ema is None:
    raise UserError(f'config.eval.network=ema: {config.method} has no teacher.')
  weight = settings.Setting(1.0, 'the weight of a term')
  for term, given in config.loss_weights.items():
    settings.check(f'loss_weights.{term}', given, weight)
  _check_pseudo_labels(config, method)
  method.check(config)
  start.check_stage(config)


def _check_sides(key, config, at_once):
  """Refuse images that the encoder cannot take, or for which is no memory."""
  divisor = segmenter.sides_divide_by(config)
  given = config[key]
  cropped = 'crop' in given and any(given.crop)
  size = given.crop if cropped else given.size
  name = f'{key}.crop' if cropped else f'{key}.size'
  detail = config.model.detail
  if size and any(a < b for a, b in zip(size, detail, strict=True)):
    raise UserError(
      f'config.{name}={size} is smaller than config.model.detail={detail}, '
      'which is cropped from it.'
    )
  if size and any(side % divisor for side in size):
    raise UserError(
      f'config.{name}={size}: the encoder {config.model.encoder.name} takes '
      f'sides that are divisible by {divisor}.'
    )
  classes = len(labels.space(config.classes).classes)
  memory.check_fits(f'config.{name}', size, at_once, classes)


def _check_pseudo_labels(config, method):
  """Refuse pseudo labels that nothing reads, or that no rule can make."""
  for stream in ('source', 'target'):
    s = config[stream]
    for key in ('labels', 'labels_stage'):
      if s.get(key) and stream not in method.streams:
        raise UserError(
          f'config.{stream}.{key}: {config.method} does not read the {stream}.'
        )
  if config.target.labels or config.target.labels_stage:
    for head in segmenter.heads(config):
      if f'seg_target_{head}' not in config.loss_weights:
        raise UserError(
          'config.target.labels: the config file must weigh their cross '
          f'entropy, loss_weights.seg_target_{head}, as configs/common.py '
          f'does; --config.loss_weights.seg_target_{head}=1.0 then changes it.'
        )
  if 'pseudo' in config:
    rules.of_config(config.pseudo)
