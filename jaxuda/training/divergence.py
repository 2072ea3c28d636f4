"""How a training that has diverged ends: with a sentence and a bundle."""

import json
import math
import pathlib

import jax

from jaxuda import config as config_lib
from jaxuda import input as input_lib
from jaxuda.training.explosion import Explosion
from jaxuda.utils import files
from jaxuda.utils.errors import UserError

FILE = 'diverged.json'  # in a run's folder
STEPS = 5  # in a row of an exploded loss, then training ends


class Divergence:
  """Watches the steps of a training, and ends it.

  Attributes:
    explosion: the running scale of the losses.
  """

  def __init__(self, config, workdir: pathlib.Path, streams: dict):
    """Have seen no step.

    Args:
      config: the experiment's.
      workdir: the run's folder.
      streams: that it reads, for the names of a batch's images.
    """
    self._config, self._workdir, self._streams = config, workdir, streams
    self.explosion = Explosion(config.max_loss_ratio)
    self._last: dict = {}

  def add(self, measured: dict) -> None:
    """Look at what a step measured; nothing moves to the host."""
    self.explosion.add(measured)
    self._last = measured

  def refuse(self, done: int, skipped_in_row: jax.Array | int) -> None:
    """End a run at its limit, before its state is scored or saved.

    Args:
      done: steps done.
      skipped_in_row: how many of the last ones were skipped.

    Raises:
      UserError: it has diverged; what was known then is in diverged.json.
    """
    skipped, exploded = int(skipped_in_row), self.explosion.in_row
    last = done == self._config.steps
    if skipped >= self._config.max_nonfinite_steps:
      what = f'the gradients of {skipped} steps in a row before step {done} '
      what += 'were not finite'
      key = 'max_nonfinite_steps'
    elif exploded >= (1 if last else STEPS):
      what = f'the loss of {exploded} steps in a row before step {done} was '
      what += f'far beyond its running scale of {self.explosion.scale:.3g}'
      key = 'max_loss_ratio'
    else:
      return
    path = self._write(what, done, max(skipped, exploded))
    raise UserError(
      f'training diverged: {what}; {path} has the details. The checkpoints in '
      f'{self._workdir} are from before; lower config.optim.lr in another '
      f'--workdir, or raise config.{key}.'
    )

  @property
  def may_be_exploding(self) -> bool:
    """Whether the last step's loss was nonsense: no state to keep."""
    return self.explosion.in_row > 0

  def _write(self, what, done, in_row) -> pathlib.Path:
    """Write what is known of the steps at which it happened."""
    path = self._workdir / FILE
    if jax.process_index() > 0:
      return path
    first = max(0, done - in_row)
    batches = {
      step: input_lib.batch_names(self._streams, self._config.seed, step)
      for step in range(first, min(done, first + STEPS))
    }
    content = {
      'what': what,
      'step': done,
      'scale': _number(self.explosion.scale),
      'last step': jax.device_get(self._last),
      'batches from there on': batches,
      'config': config_lib.to_json(self._config),
    }
    files.write_text(path, json.dumps(content, indent=1, default=_number))
    return path


def _number(value):
  """Return a number of a device; as a text where JSON has no such number."""
  number = float(value)
  return number if math.isfinite(number) else str(number)
