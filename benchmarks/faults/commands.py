"""Every command on one run and one dataset, for faults at any moment."""

import pathlib
import shutil

from benchmarks.faults import process, subjects
from jaxuda.utils import files

METHOD = 'dacs'
_RUN, _NEW = '--workdir=runs/run', '--output=new/out'
# What each makes, it makes below NEW.
COMMANDS = {
  'train': subjects.training(METHOD, 'new/run'),
  'evaluate': ['evaluate', _RUN],
  'predict': ['predict', _RUN, _NEW, '--images=city'],
  'pseudo_label': ['pseudo_label', _RUN, _NEW],
  'export': ['export', _RUN, '--output=new/out', '--format=stablehlo'],
  'weights': ['weights', 'export', _RUN, '--output=new/out.pth'],
  'analyze': ['analyze', 'qualitative', '--workdirs=runs/run', _NEW],
  'report': ['report', 'runs/run', '--output=new/report.html'],
  'compare': ['compare', 'runs/run', 'runs/other', _NEW],
  'prepare': ['prepare', 'city.toml', '--size=40x80', '--data_dir=new/data'],
  'verify': ['verify', 'city.toml'],
}
NEW = 'new'


def keep_whole(place: pathlib.Path) -> None:
  """Train what the commands work on, and keep a copy of the place.

  Args:
    place: a folder with data.
  """
  subjects.train(place, METHOD, 'runs/run')
  shutil.copytree(place / 'runs/run', place / 'runs/other')
  shutil.copytree(place, _whole(place))


def put_back(place: pathlib.Path) -> None:
  """Put back what there was before a command."""
  files.remove(place)
  shutil.copytree(_whole(place), place)


def straight(place: pathlib.Path, name: str) -> process.Ended:
  """Run a command that nothing harms, and leave what it makes.

  Args:
    place: a folder that `keep_whole` has seen.
    name: of the command.

  Raises:
    UserError: it fails.
  """
  for _ in range(2):  # the first one compiles
    put_back(place)
    ended = process.run(place, *COMMANDS[name])
    subjects.refuse_failed(name, ended)
  return ended


def _whole(place):
  return place.with_name(f'{place.name}-whole')
