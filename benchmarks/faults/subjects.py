"""What faults are tried on: small data of one's own, and runs on it."""

import hashlib
import json
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.faults import experiment, process
from data.streets import render
from jaxuda.utils import files
from jaxuda.utils.errors import UserError

# Each has what the others have not: players, views, a teacher, stages.
METHODS = (
  'dacs',
  'advent',
  'cbst',
  'mic,on=advent_patch',
  'clan',
  'fada',
  'mean_teacher',
  'adaptsegnet',
)
COUNT = 6  # images in each split
PREPARED = 'data'  # where a place has its prepared data
_TOML = """encoding = "cityscapes"

[splits.train]
images = "{domain}/train/*.jpg"
labels = "{domain}/train/*_ids.png"

[splits.val]
images = "{domain}/val/*.jpg"
labels = "{domain}/val/*_ids.png"
"""


class Tried(NamedTuple):
  """One try.

  Attributes:
    what: was done, so that it can be done again.
    fault: what went wrong, '' for nothing.
    note: how it ended, in a word.
    seconds: that it took.
  """

  what: str
  fault: str
  note: str
  seconds: float


def write_data(place: pathlib.Path) -> None:
  """Write two domains of rendered scenes, each with its TOML file."""
  for domain, file in (
    ('game', experiment.SOURCE),
    ('city', experiment.TARGET),
  ):
    for split in ('train', 'val'):
      folder = place / domain / split
      folder.mkdir(parents=True, exist_ok=True)
      for i in range(COUNT):
        image, ids = render.render(domain, i, (48, 96), split)
        Image.fromarray(image).save(folder / f'{i}.jpg')
        Image.fromarray(ids.astype(np.uint8)).save(folder / f'{i}_ids.png')
    (place / file).write_text(_TOML.format(domain=domain))


def training(method: str, workdir: str, *more: str) -> list[str]:
  """Return the words that train a method in a place.

  Args:
    method: of METHODS.
    workdir: the run's folder.
    more: further KEY=VALUE of its config.
  """
  config = f'{process.ROOT}/benchmarks/faults/experiment.py:{method}'
  settings = (f'data_dir={PREPARED}', *more)
  return [
    'train',
    f'--config={config}',
    f'--workdir={workdir}',
    *(f'--config.{setting}' for setting in settings),
  ]


def train(
  place: pathlib.Path, method: str, workdir: str, *more: str
) -> process.Ended:
  """Train a run that is needed, to its end; see `training`.

  Raises:
    UserError: that failed.
  """
  ended = process.run(place, *training(method, workdir, *more))
  refuse_failed(method, ended)
  return ended


def refuse_failed(what: str, *all_ended: process.Ended) -> None:
  """Raise UserError where a command that nothing harms does not end well."""
  for ended in all_ended:
    if wrong := process.fault(ended, statuses=(0,)):
      raise UserError(f'{what} cannot be run at all: {wrong}')


def end_state(workdir: pathlib.Path) -> dict[str, str]:
  """Return a digest of all that a finished run leaves and that is exact.

  Times, and what is drawn, are left out.
  """
  names = ('config.json', 'metrics.csv', 'scores.json', 'start_scores.json')
  paths = [workdir / name for name in names]
  found = {p.name: _digest(p.read_bytes()) for p in paths if p.exists()}
  for file in sorted((workdir / 'unlabelled').glob('*.npz')):
    found[f'unlabelled/{file.name}'] = _array(file)
  steps = [p for p in (workdir / 'checkpoints').iterdir() if p.name.isdecimal()]
  for folder in steps:
    manifest = json.loads((folder / 'extra' / 'metadata').read_text())
    content = json.dumps(manifest, sort_keys=True).encode()
    found[f'checkpoints/{folder.name}'] = _digest(content)
  return found


def difference(expected: dict[str, str], found: dict[str, str]) -> str:
  """Return which files of two end states differ, '' for none."""
  names = sorted({*expected, *found})
  return ', '.join(n for n in names if expected.get(n) != found.get(n))


def straight(
  place: pathlib.Path, method: str, workdir: str, *more: str
) -> tuple[dict[str, str], float]:
  """Return the end state of a run that nobody harms, and its seconds."""
  for _ in range(2):  # the first one compiles
    files.remove(place / workdir)
    ended = train(place, method, workdir, *more)
  return end_state(place / workdir), ended.seconds


def fault_at_end(
  ended: process.Ended, expected: dict[str, str], workdir: pathlib.Path
) -> str:
  """Return what is wrong with a run that has gone on to its end."""
  if wrong := process.fault(ended, statuses=(0,)):
    return wrong
  differing = difference(expected, end_state(workdir))
  return f'ends with other {differing}' if differing else ''


def half_written(place: pathlib.Path) -> list[str]:
  """Return files that no command may leave behind when it has ended."""
  return [
    str(path.relative_to(place))
    for path in place.rglob('*')
    if path.name.endswith(('.tmp', '.partial')) or '.orbax-' in path.name
  ]


def content(folder: pathlib.Path, pattern: str = '**/*') -> dict[str, str]:
  """Return a digest of each file of a folder, and of those below it."""
  return {
    str(path.relative_to(folder)): _digest(path.read_bytes())
    for path in sorted(folder.glob(pattern))
    if path.is_file()
  }


def _array(file):
  """Return a digest of what a reader makes of a file, and not of its bytes."""
  try:
    return _digest(files.read_array(file).tobytes())
  except UserError as e:
    return str(e)


def _digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()[:16]
