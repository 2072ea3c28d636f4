"""Checkpoints: the latest and the best are kept, every array is verified.

Only this file and reader.py know orbax. A checkpoint is a folder named by its
step:

  <directory>/<step>/state   the arrays of the train state
  <directory>/<step>/extra   JSON: the manifest (manifest.py) with the metrics

orbax writes in the background and renames the finished folder into place, so
a killed run leaves whole checkpoints only. What orbax lets through (a flipped
bit restores as other numbers, another dtype is cast, NaN is best, a full disk
is reported late) is dealt with here.
"""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from jaxuda.checkpoints import manifest as manifest_lib
from jaxuda.checkpoints import reader
from jaxuda.utils import files, hosts, sharding
from jaxuda.utils.errors import UserError


class Checkpoints:
  """The checkpoints of one training run; one writer per directory.

  Every process of a run creates one and calls the same methods in the same
  order. Use it as a context manager, or call `close`.

  Attributes:
    failed: step -> reason of every save that could not be written. Training
      goes on after such a save; the caller prints them at the end, and raises
      where the last save is among them.
  """

  def __init__(
    self,
    directory: str | pathlib.Path,
    best_of: str = 'miou',
    keep_latest: int = 2,
    keep_every: int | None = None,
  ):
    """Open a directory, and create it if needed.

    Args:
      directory: usually <workdir>/checkpoints.
      best_of: the metric whose largest finite value marks the best.
      keep_latest: how many of the newest stay: two, so that there is one to
        fall back to when a disk damages the newest.
      keep_every: those of every so many steps stay, too; None for none.
    """
    reader.quieten()
    self.failed: dict[int, str] = {}
    self._directory = pathlib.Path(directory).resolve()
    self._best_of = best_of
    self._keep_latest, self._keep_every = keep_latest, keep_every
    self._saving: int | None = None
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(lightweight_initialize=True),
    )
    self._remove_unfinished()
    reader.warn_of_strays(self._directory)
    # Its keys are also what may be pruned.
    self._metric = reader.metric_of_each_step(self._directory, best_of)

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *exc_info) -> None:
    self.close()

  def all_steps(self) -> list[int]:
    """Return the steps with a finished checkpoint, ascending."""
    return reader.steps(self._directory)

  def latest_step(self) -> int | None:
    """Return the newest finished step, or None."""
    return max(self.all_steps(), default=None)

  def best_step(self) -> int | None:
    """Return the finished step of the largest finite metric, or None."""
    return reader.best(
      {step: self._metric.get(step) for step in self.all_steps()}
    )

  def metric(self, step: int) -> float | None:
    """Return the metric that a step was saved with; None if it has none."""
    return self._metric.get(step)

  def save(
    self,
    step: int,
    state: Any,
    metrics: Mapping[str, float | None] | None = None,
    extra: Mapping[str, Any] | None = None,
  ) -> None:
    """Start writing a checkpoint, once the one before is written.

    A step that has a checkpoint keeps it, and is given the metrics if it was
    saved without. A save that fails (a full disk) becomes a warning and an
    entry of `failed`; what is on disk stays.

    Args:
      step: the number of updates behind `state`.
      state: pytree of arrays, each of them whole on every process. The caller
        may donate it right after the call.
      metrics: name -> number; NaN and None are never best.
      extra: JSON-able notes that `restore` hands back.
    """
    self.wait()
    if step in self.all_steps():
      if self.metric(step) is None and metrics:
        self._add_metrics(step, metrics)
      return
    manifest = manifest_lib.make(step, state, metrics or {}, extra or {})
    self._metric[step] = manifest['metrics'].get(self._best_of)
    self._saving = step
    try:
      self._free_name(step)
      # Without `force` orbax skips steps below any digit-named stray folder.
      saved = self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), extra=ocp.args.JsonSave(manifest)
        ),
        force=True,
      )
      if not saved:
        raise RuntimeError('orbax declined to save')
    except Exception as e:
      self._note_failure(e)

  def wait(self) -> None:
    """Block until the save in flight is on disk, or has failed."""
    if self._saving is None:
      return
    try:
      self._manager.wait_until_finished()
      if jax.process_index() == 0 and self._saving not in self.all_steps():
        raise RuntimeError('orbax finished without writing it')
      self._prune()
    except Exception as e:
      self._note_failure(e)
    self._saving = None
    sharding.barrier('checkpoint written')

  def close(self) -> None:
    """Wait, then release orbax's threads."""
    self.wait()
    self._manager.close()

  def restore(
    self, step: int | str, abstract_state: Any
  ) -> tuple[Any, dict[str, Any]]:
    """Read a checkpoint back, onto whatever devices there are now.

    Args:
      step: a number, 'latest' or 'best'. When the latest is damaged, the
        newest whole one is taken with a warning, and the damaged ones are
        renamed to damaged-<step>.
      abstract_state: pytree of arrays or jax.ShapeDtypeStruct with shardings.

    Returns:
      The state, equal to the bit, with the shardings asked for; the notes.

    Raises:
      UserError: no such checkpoint; it is damaged; or its tree, a shape or a
        dtype differs from abstract_state.
    """
    self.wait()
    candidates = [reader.resolve(self._directory, step, self.best_step)]
    if step == 'latest':
      candidates = self.all_steps()[::-1]
    problems = {}
    for candidate in candidates:
      folder = self._directory / str(candidate)
      problem = None
      try:
        manifest = reader.read_manifest(folder)
        manifest_lib.check_same_tree(
          manifest['leaves'], abstract_state, str(folder)
        )
        arrays = manifest_lib.flatten(
          reader.read_arrays(folder, manifest['leaves'])
        )
      except reader.DamagedError as e:
        problem = str(e)
      if sharding.any_process(problem is not None):
        problems[candidate] = problem or f'{folder}: read by another process'
        continue
      self._set_aside(problems, candidate)
      return _place(arrays, abstract_state), manifest['extra']
    raise UserError(reader.damage_sentence(problems))

  def _add_metrics(
    self, step: int, metrics: Mapping[str, float | None]
  ) -> None:
    """Add the score of a step that was saved before it was known."""
    try:
      if jax.process_index() == 0:
        reader.add_metrics(self._directory / str(step), metrics)
      self._metric[step] = metrics.get(self._best_of)
      self._prune()
    except (OSError, UserError, reader.DamagedError) as e:
      logging.warning('the score of step %d was not noted (%s)', step, e)
    sharding.barrier('metrics written')

  def _prune(self) -> None:
    """Remove all but the latest, the best and every so many-th.

    Not orbax's preservation policies: they would rank by a metrics file that
    has no checksum, and delete in place, so that a kill leaves half a
    checkpoint under its number. Here it first loses its name.
    """
    ours = [step for step in self.all_steps() if step in self._metric]
    keep = {
      *ours[-self._keep_latest :],
      reader.best({step: self._metric[step] for step in ours}),
      *(s for s in ours if self._keep_every and s % self._keep_every == 0),
    }
    if jax.process_index() == 0:
      for step in set(ours) - keep:
        path = self._directory / str(step)
        path.rename(path.with_name(f'{step}{ocp.utils.TMP_DIR_SUFFIX}-old'))
      self._remove_unfinished()

  def _free_name(self, step: int) -> None:
    """Move away what has the step's name and is not a checkpoint."""
    path = self._directory / str(step)
    if jax.process_index() == 0 and path.exists():
      moved = files.set_aside(path)
      logging.warning('%s is not a checkpoint: renamed to %s', path, moved.name)
      self._manager.reload()

  def _note_failure(self, error: Exception) -> None:
    """Note a failed save and make the directory ready for the next one."""
    if hosts.is_lost(error):
      raise error  # no matter of disks
    step, self._saving = self._saving, None
    self.failed[step] = reader.first_line(error)
    self._remove_unfinished()  # orbax would leave it on the full disk
    self._manager.reload()
    if step not in self.all_steps():
      del self._metric[step]
    logging.warning(
      'the checkpoint of step %d was not written (%s); training goes on; the '
      'last good one in %s is of step %s',
      step,
      self.failed[step],
      self._directory,
      self.latest_step(),
    )

  def _remove_unfinished(self) -> None:
    if jax.process_index() == 0:
      for path in self._directory.glob(f'*{ocp.utils.TMP_DIR_SUFFIX}*'):
        shutil.rmtree(path, ignore_errors=True)

  def _set_aside(self, problems: Mapping[int, str], instead: int) -> None:
    """Rename damaged checkpoints, now that a whole one has been read."""
    if not problems:
      return
    for step in problems:
      self._metric.pop(step, None)
      if jax.process_index() == 0:
        files.set_aside(self._directory / str(step))
    sharding.barrier('damaged checkpoints set aside')
    self._manager.reload()
    logging.warning(
      '%s; renamed to damaged-*, going on from step %d',
      reader.damage_sentence(problems),
      instead,
    )


def _place(arrays: Mapping[str, np.ndarray], abstract_state: Any) -> Any:
  """Put host arrays, by path, onto the devices that abstract_state names."""

  def place(path, leaf):
    array = arrays[manifest_lib.path_name(path)]
    if getattr(leaf, 'sharding', None) is None:
      return jnp.asarray(array)
    return jax.make_array_from_callback(
      array.shape, leaf.sharding, lambda index: array[index]
    )

  return jax.tree_util.tree_map_with_path(place, abstract_state)
