"""What a method takes for given of the source's labels, kept with its run.

  <run>/priors/<name>.npz    an array of Method.priors each

They are found once, at the start of a run: what is trained on them goes on with
the same ones, whatever finds them anew on another machine.
"""

import functools
import pathlib

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import FrozenConfigDict

from jaxuda import methods
from jaxuda.utils import files
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError

FOLDER = 'priors'


def find(config, source: methods.SourceLabels) -> dict[str, np.ndarray]:
  """Return Method.priors, found once for a stream; {} where there are none.

  Args:
    config: an experiment's.
    source: its stream.
  """
  return _find(FrozenConfigDict(config), source)


@functools.lru_cache(maxsize=2)  # a run is checked before it is made
def _find(config, source):
  priors = dict(methods.load(config.method).priors(config, source))
  if jax.process_count() > 1:  # equal on all, to the bit
    priors = multihost_utils.broadcast_one_to_all(priors)
  return priors


def of_run(
  config, source: methods.SourceLabels, workdir: pathlib.Path
) -> dict[str, np.ndarray]:
  """Return those that a run's folder has; or find them, where it has none.

  Args:
    config: of the run.
    source: its stream.
    workdir: its folder.
  """
  try:
    kept = {
      path.stem: files.read_array(path)
      for path in sorted((workdir / FOLDER).glob('*.npz'))
    }
  except UserError as e:
    print0(f'note: {e} The priors of the source are found anew.')
    kept = {}
  return kept or find(config, source)


def keep(priors: dict[str, np.ndarray], workdir: pathlib.Path) -> None:
  """Write priors into a run's folder, all of them or none; once.

  Args:
    priors: of `of_run`.
    workdir: the run's folder.

  Raises:
    UserError: the folder cannot be written.
  """
  folder = workdir.resolve() / FOLDER
  if jax.process_index() > 0 or folder.exists() or not priors:
    return
  with files.whole_folder(folder) as part:
    for name, array in priors.items():
      files.write_array(part / f'{name}.npz', array)
