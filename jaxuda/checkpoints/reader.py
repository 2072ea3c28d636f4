"""How checkpoints are found and read; every array is verified on the way.

Only this file and manager.py, which writes them, know orbax.
"""

import asyncio
import json
import logging as python_logging
import math
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from jaxuda.checkpoints import manifest as manifest_lib
from jaxuda.utils import files, sealed
from jaxuda.utils.errors import UserError


def quieten() -> None:
  """Mute orbax's logs: what it logs with tracebacks it also raises."""
  python_logging.getLogger('absl').addFilter(_not_from_orbax)
  python_logging.getLogger('asyncio').addFilter(_not_of_orbax)
  warnings.filterwarnings('ignore', 'coroutine .* was never awaited')
  asyncio.set_event_loop_policy(_Policy())


class _Loop(asyncio.SelectorEventLoop):
  """A loop that hears nothing any more when it is closed.

  When one of orbax's writes fails, it closes its loop while others go on;
  tensorstore then prints a traceback for each that ends.
  """

  def call_soon_threadsafe(self, *args, **kwargs):
    try:
      return super().call_soon_threadsafe(*args, **kwargs)
    except RuntimeError:
      if not self.is_closed():
        raise


class _Policy(asyncio.DefaultEventLoopPolicy):
  _loop_factory = _Loop


def _not_from_orbax(record: python_logging.LogRecord) -> bool:
  return '/orbax/' not in record.pathname


def _not_of_orbax(record: python_logging.LogRecord) -> bool:
  # asyncio's messages about orbax's reads name tensorstore, which does them;
  # those about its writes name the folder that is not finished.
  text = record.getMessage()
  return 'tensorstore' not in text and ocp.utils.TMP_DIR_SUFFIX not in text


class DamagedError(Exception):
  """A checkpoint that does not read back as it was written."""


def restore_part(
  directory: str | pathlib.Path,
  step: int | str = 'latest',
  parts: Sequence[str] = ('segmenter/params', 'segmenter/batch_stats'),
  best_of: str = 'miou',
) -> tuple[int, dict[str, Any], dict[str, Any]]:
  """Read parts of a checkpoint, without the network that made it.

  Nothing on disk is changed, so this may run during training.

  Args:
    directory: the checkpoints directory of a run.
    step: a number, 'latest' or 'best'.
    parts: paths into the state; the default is what a prediction needs.
    best_of: the metric that 'best' means.

  Returns:
    The step; nested dicts of NumPy arrays, from the root of the state down,
    with these parts only; the notes that were saved.

  Raises:
    UserError: no such checkpoint or part, or it is damaged.
  """
  directory = pathlib.Path(directory).resolve()
  warn_of_strays(directory)
  step = resolve(
    directory,
    step,
    lambda: best(metric_of_each_step(directory, best_of)),
  )
  folder = directory / str(step)
  try:
    manifest = read_manifest(folder)
    return (
      step,
      read_arrays(folder, manifest['leaves'], parts),
      manifest['extra'],
    )
  except DamagedError as e:
    if not folder.exists():
      raise UserError(
        f'{folder} was replaced by the training while it was read: run again'
      ) from None
    raise UserError(damage_sentence({step: str(e)})) from None


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
  """Return the verified manifest of a checkpoint.

  Raises:
    DamagedError: it is unreadable or not what was written.
  """
  try:
    handler = ocp.JsonCheckpointHandler()
    manifest = handler.restore(epath.Path(folder / 'extra'))
    whole = sealed.is_whole(manifest)
  except (MemoryError, PermissionError):
    raise
  except Exception as e:
    raise DamagedError(f'{folder}/extra: {first_line(e)}') from e
  if not whole:
    raise DamagedError(f'{folder}/extra: its crc32 differs')
  step = manifest.get('step', folder.name)  # in those of older versions
  if str(step) != folder.name:
    raise DamagedError(f'{folder}: this is a copy of the one of step {step}')
  return manifest


def add_metrics(
  folder: pathlib.Path, metrics: Mapping[str, float | None]
) -> None:
  """Replace the metrics of a checkpoint; its arrays are not touched.

  Raises:
    DamagedError: as read_manifest.
    UserError: the new manifest cannot be written; the old one stays.
  """
  manifest = manifest_lib.with_metrics(read_manifest(folder), metrics)
  # orbax's name for it.
  files.write_text(folder / 'extra' / 'metadata', json.dumps(manifest))


def read_arrays(
  folder: pathlib.Path,
  leaves: Mapping[str, list],
  parts: Sequence[str] | None = None,
) -> dict[str, Any]:
  """Return the verified arrays of a checkpoint, nested, on the host.

  On the host, so that trouble with a device is not taken for damage, and the
  devices need not be those that saved it.

  Raises:
    DamagedError: unreadable, or an array is not what was written.
    UserError: the state has no such part.
  """
  quieten()
  handler = ocp.PyTreeCheckpointHandler()
  path = epath.Path(folder / 'state')
  try:
    tree = handler.metadata(path).tree
    if parts is not None:
      tree = _cut(tree, parts, folder)
    to_host = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree
    )
    arrays = handler.restore(
      path,
      args=ocp.args.PyTreeRestore(
        tree, restore_args=to_host, partial_restore=True
      ),
    )
    read = manifest_lib.flatten(arrays)
  except (MemoryError, PermissionError, UserError):
    raise
  except Exception as e:
    raise DamagedError(f'{path}: {first_line(e)}') from e
  for name, leaf in leaves.items():
    if parts is None or any(f'{name}/'.startswith(f'{p}/') for p in parts):
      if name not in read:
        raise DamagedError(f'{path}: {name} is gone')
      if manifest_lib.describe(read[name]) != leaf:
        raise DamagedError(f'{path}: {name} is not what was saved')
  return arrays


def _cut(
  tree: Mapping[str, Any], parts: Sequence[str], folder: pathlib.Path
) -> dict[str, Any]:
  """Return parts of nested dicts, at their places."""
  cut = {}
  for part in parts:
    node, target = tree, cut
    *parents, last = part.split('/')
    for key in parents:
      node, target = node.get(key) or {}, target.setdefault(key, {})
    if node.get(last) is None:
      raise UserError(f'{folder} holds no {part}')
    target[last] = node[last]
  return cut


def metric_of_each_step(
  directory: pathlib.Path, best_of: str
) -> dict[int, float | None]:
  """Return step -> the metric that it was saved with, None if not known."""
  metric = {}
  for step in steps(directory):
    try:
      manifest = read_manifest(directory / str(step))
      metric[step] = manifest['metrics'].get(best_of)
    except DamagedError:
      metric[step] = None
  return metric


def steps(directory: pathlib.Path) -> list[int]:
  """Return the steps with a finished checkpoint, ascending."""
  if not directory.is_dir():
    return []
  return sorted(int(p.name) for p in directory.iterdir() if _is_step(p))


def warn_of_strays(directory: pathlib.Path) -> None:
  """Warn of what lies in the directory and is not a checkpoint."""
  if not directory.is_dir():
    return
  strays = [
    p.name
    for p in sorted(directory.iterdir())
    if not _is_step(p)
    and not p.name.startswith(('damaged-', '.'))
    and ocp.utils.TMP_DIR_SUFFIX not in p.name
  ]
  if strays:
    logging.warning(
      '%s: ignored %s: not checkpoints', directory, ', '.join(strays)
    )


def best(metric: Mapping[int, float | None]) -> int | None:
  """Return the step of the largest finite metric, the last one of a tie."""
  finite = {
    s: m for s, m in metric.items() if m is not None and math.isfinite(m)
  }
  return max(finite, key=lambda s: (finite[s], s), default=None)


def resolve(
  directory: pathlib.Path, step: int | str, best_step: Callable[[], int | None]
) -> int:
  """Return the step that 'latest', 'best' or a number means.

  Raises:
    UserError: there is no such checkpoint; lists those that exist.
  """
  there = steps(directory)
  if not there:
    raise UserError(
      f'{directory} holds no checkpoint: train first (python -m jaxuda.main), '
      'or give the --workdir of a trained run'
    )
  if step == 'latest':
    return there[-1]
  listed = ', '.join(map(str, there))
  if step == 'best':
    chosen = best_step()
    if chosen is None:
      raise UserError(
        f'{directory} holds no best checkpoint, as none was saved with a '
        f'finite metric: take latest or one of the steps {listed}'
      )
    return chosen
  if step not in there:
    raise UserError(
      f'{directory} holds no checkpoint of step {step}: take latest, best or '
      f'one of the steps {listed}'
    )
  return step


def _is_step(path: pathlib.Path) -> bool:
  """Return whether this is a folder of a step, with something in it.

  An aborted copy leaves an empty one, which orbax would take for the latest.
  """
  name = path.name
  return (
    name.isdecimal()
    and name == str(int(name))
    and path.is_dir()
    and any((path / item).exists() for item in ('state', 'extra'))
  )


def damage_sentence(problems: Mapping[int, str]) -> str:
  """Return the message about damaged checkpoints, by their steps."""
  steps = ', '.join(map(str, problems))
  return f'damaged checkpoint of step {steps}: {"; ".join(problems.values())}'


def first_line(error: Exception) -> str:
  """Return the type and the first line of an error, cut to a line's length."""
  return f'{type(error).__name__}: {error}'.splitlines()[0][:200]
