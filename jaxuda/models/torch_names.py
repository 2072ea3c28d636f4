"""How PyTorch files name what our networks hold.

Our modules are named as those of AdaptSegNet and ADVENT, so that their name of
a tensor follows from a path of ours (`plain_name`). Each `Layout` says what its
files call that instead; it stands in the file of the network that it is for.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

_LEAVES = {
  'kernel': 'weight',
  'scale': 'weight',
  'mean': 'running_mean',
  'var': 'running_var',
}
_PARTS = ('encoder', 'decoder', 'attention')  # of a segmenter


class Layout(NamedTuple):
  """How the tensors of a kind of file are named.

  Attributes:
    name: as `inspect` prints it and `export --layout` takes it.
    about: whose files these are.
    marks: regexes, each of which some key of such a file matches; the first
      layout that has all of its marks is the file's.
    rename: a plain name to the file's; None for what the file never holds.
    unused: regex of keys -> why nothing reads them.
    fresh: of a file without a decoder, why parameters that have no name in it
      keep their initial values.
    discriminator: regex of the keys of the discriminator in a file that holds
      both networks.
    suffixes: of a discriminator's own file, by its name, behind the
      segmenter's.
    settings: of config.model, with dots: what such files are for and no shape
      tells.
    prefixes: what stands before the names of a part of ours, as 'encoder'.
    teacher: what stands before all names of the teacher, in a file that holds
      both networks and has them in its 'state_dict'.
    deepest_first: regex of plain names of kernels whose inputs are the maps of
      all levels, ours from the finest, the file's from the deepest.
    told: {setting of config.model: value}, what a network's keys tell of it.
  """

  name: str
  about: str
  marks: tuple[str, ...]
  rename: Callable[[str], str | None]
  unused: Mapping[str, str] = {}
  fresh: str = ''
  discriminator: str = ''
  suffixes: Mapping[str, str] = {}
  settings: Mapping[str, str] = {}
  prefixes: Mapping[str, str] = {}
  teacher: str = ''
  deepest_first: str = ''
  told: Callable[[Iterable[str]], dict[str, Any]] = lambda _: {}

  def key(self, path: tuple[str, ...]) -> str | None:
    """Return the file's name of a variable; None for what it never holds."""
    if self.fresh and path[0] == 'decoder':
      return None
    name = self.rename(plain_name(path))
    return name and self.prefixes.get(path[0], '') + name


def plain_name(path: tuple[str, ...]) -> str:
  """Return ADVENT's name of a parameter or statistic of ours.

  ('encoder', 'layer1_0', 'conv1', 'kernel') -> 'layer1.0.conv1.weight'.
  """
  *modules, leaf = (name for name in path if name not in _PARTS)
  modules = [re.sub(r'_(\d+)$', r'.\1', name) for name in modules]
  return '.'.join([*modules, _LEAVES.get(leaf, leaf)])


def unchanged(name: str) -> str:
  """Return the plain name: what files of AdaptSegNet and ADVENT have."""
  return name


def in_order(*replacements: tuple[str, str | Callable | None]) -> Callable:
  """Return a rename by the first (regex, replacement) whose regex matches.

  A replacement of None stands for a name that is in no file, a function is
  another rename; a name that none matches stays as it is.
  """

  def rename(name):
    for pattern, replacement in replacements:
      if not re.match(pattern, name):
        continue
      if callable(replacement):
        return replacement(name)
      return replacement and re.sub(pattern, replacement, name, count=1)
    return name

  return rename


def as_trained(layout: Layout) -> Layout:
  """Return the layout of what DAFormer, HRDA and MIC save while they train.

  That is the student, its teacher, and the encoder of ImageNet.
  """
  parts = ('encoder', 'decoder', 'attention')
  return layout._replace(
    name=f'{layout.name}_trained',
    about=f'{layout.about}, with the teacher',
    marks=tuple(f'model\\.{mark}' for mark in layout.marks),
    prefixes={p: f'model.{layout.prefixes.get(p, "")}' for p in parts},
    unused={
      **{f'model\\.{rule}': why for rule, why in layout.unused.items()},
      r'ema_model\.': 'the teacher starts as a copy of the student',
      r'imnet_model\.': "ImageNet's encoder",
    },
    teacher='ema_model.',
  )


HEADLESS = 'the file holds an encoder without our heads'
