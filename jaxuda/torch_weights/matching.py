"""Tensors of a PyTorch file and variables of a network, matched one by one."""

import dataclasses
import re
import shlex
from collections.abc import Mapping

import numpy as np

from jaxuda.models.norm import COUNTER
from jaxuda.models.torch_names import Layout, plain_name
from jaxuda.torch_weights import layouts
from jaxuda.utils.errors import UserError

Path = tuple[str, ...]

_NONE = np.empty(0)


@dataclasses.dataclass(frozen=True)
class Match:
  """Where every tensor of a file and every variable of a network went.

  Attributes:
    layout: of the file.
    arrays: path -> what the file has for it, in our layout.
    unused: key of the file -> why nothing reads it.
    fresh: plain name of ours -> why it keeps its initial value.
  """

  layout: Layout
  arrays: dict[Path, np.ndarray]
  unused: dict[str, str]
  fresh: dict[str, str]

  @property
  def complete(self) -> bool:
    """Whether the file has all of the network."""
    return not self.fresh

  def describe(self) -> str:
    """Return a line of counts and reasons."""
    parts = [f'{self.layout.name}: {len(self.arrays)} tensors']
    for verb, reasons in (('unused', self.unused), ('fresh', self.fresh)):
      for reason in sorted(set(reasons.values())):
        count = sum(r == reason for r in reasons.values())
        parts.append(f'{count} {verb} ({reason})')
    return ', '.join(parts)


_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}  # of kernels, by their dimensions
_FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}


def to_torch(path: Path, array: np.ndarray) -> np.ndarray:
  """Return a variable as torch has it.

  A convolution's kernel [h, w, in, out] becomes [out, in, h, w], a dense
  layer's [in, out] becomes [out, in]; others stay as they are.
  """
  return _transposed(path, array, _TO_TORCH)


def from_torch(path: Path, array: np.ndarray) -> np.ndarray:
  """Return the inverse of `to_torch`."""
  return _transposed(path, array, _FROM_TORCH)


def reorder_levels(
  layout: Layout, path: Path, array: np.ndarray, axis: int = 1
) -> np.ndarray:
  """Turn the order of the levels that a kernel reads, where the file's differs.

  Args:
    layout: of the file.
    path: of the variable.
    array: of the variable.
    axis: of the kernel's inputs, four levels of equally many channels.
  """
  rule = layout.deepest_first
  if not (rule and array.ndim == 4 and re.fullmatch(rule, plain_name(path))):
    return array
  return np.concatenate(np.split(array, 4, axis)[::-1], axis)


def _transposed(path, array, orders):
  is_kernel = path[-1] == 'kernel' and array.ndim in orders
  return array.transpose(orders[array.ndim]) if is_kernel else array


def match(
  wanted: Mapping[Path, tuple[int, ...]],
  tensors: Mapping[str, np.ndarray],
  where: object,
  unused: str | None = None,
  fresh: str | None = None,
  part: str = 'segmenter',
) -> Match:
  """Find a network's variables in a file's tensors; nothing is left over.

  Args:
    wanted: path -> shape of every parameter and statistic, in our layout; a
      path starts below 'params' and 'batch_stats'.
    tensors: of torch_files.read.
    where: names the file.
    unused: a regex of whole keys of the file that nothing needs to read.
    fresh: a regex of whole plain names (torch_names) that may keep their
      initial values, also where the file has another shape for them.
    part: 'segmenter' or 'discriminator', which of them `wanted` is.

  Raises:
    UserError: the layout is unknown; the keys tell of another network, whose
      settings are named; or a tensor has no counterpart or another shape, and
      both sides are listed.
  """
  layout = layouts.detect(tensors, where)
  rest, reasons = _split(tensors, layout, part)
  arrays, missing, kept, shapes = {}, [], {}, []
  for path, shape in wanted.items():
    name, key = plain_name(path), layout.key(path)
    found = key in rest
    tensor = from_torch(path, rest.pop(key, _NONE))
    tensor = reorder_levels(layout, path, tensor, axis=-2)
    if found and tensor.shape == shape:
      arrays[path] = tensor
    elif _matches(fresh, name):
      kept[name] = 'config.init_fresh'
      if found:
        reasons[key] = f'of shape {_shape(path, tensor.shape)}'
    elif found:
      has, needs = (_shape(path, each) for each in (tensor.shape, shape))
      shapes.append(f'{key} is {has}, not {needs}')
    elif path[-1] == COUNTER:  # files before torch 0.4.1, or of frozen norms
      arrays[path] = np.zeros((), np.int64)
    elif key is None:
      kept[name] = layout.fresh or 'such files have none'
    else:
      missing.append(key)
  why = {key: _unread_because(layout, key, unused) for key in rest}
  reasons |= {key: reason for key, reason in why.items() if reason}
  unread = [key for key, reason in why.items() if not reason]
  if missing or unread or shapes or not arrays:
    if wants := _other_network(layout, tensors, wanted):
      raise UserError(f'{where} ({layout.name}) {wants}.')
    sides = (missing, unread, shapes)
    raise UserError(_differences(where, layout, *sides, part))
  return Match(layout, arrays, reasons, kept)


def _other_network(layout, tensors, wanted):
  """Return which settings a file's keys tell, where the config has others."""
  ours = layout.told(filter(None, map(layout.key, wanted)))
  theirs = layout.told(tensors)
  others = [key for key in theirs if ours.get(key) != theirs[key]]
  if not others or not ours.keys() >= theirs.keys():  # of another encoder
    return ''
  has = ', '.join(f'model.{key}={ours[key]}' for key in others)
  flags = ' '.join(
    f'--config.model.{key}={shlex.quote(repr(theirs[key]).replace(" ", ""))}'
    for key in others
  )
  return f'is of another network; the config has {has}: set {flags}'


def _unread_because(layout, key, unused):
  """Return why nothing needs to read a key; None if something must."""
  if _matches(unused, key):
    return 'config.init_unused'
  return _reason(layout, key)


def _reason(layout, key):
  """Return why nothing reads a key of such a file; None if something must."""
  for rule, why in layout.unused.items():
    if re.match(rule, key):
      return why
  of_norm = layout.fresh and key.endswith(COUNTER)
  return 'a frozen norm counts nothing' if of_norm else None


def _split(tensors, layout, part):
  """Return the tensors of one network in a file; the others with reasons."""
  mine, reasons = {}, {}
  for key, tensor in tensors.items():
    of_other = layout.discriminator and (
      bool(re.match(layout.discriminator, key)) != (part == 'discriminator')
    )
    if of_other and not _reason(layout, key):
      reasons[key] = f"not the {part}'s"
    else:
      mine[key] = tensor
  return mine, reasons


def _matches(rule: str | None, name: str) -> bool:
  try:
    return rule is not None and bool(re.fullmatch(rule, name))
  except re.error as e:
    raise UserError(
      f'config.init_fresh and config.init_unused take regexes: {rule!r}: {e}.'
    ) from None


def _differences(where, layout, left, unread, shapes, part) -> str:
  parts = [
    f'{title} {_some(names)}'
    for title, names in (
      ('only the network has', left),
      ('only the file has', unread),
      ('other shapes:', shapes),
    )
    if names
  ]
  counters = [key for key in unread if key.endswith(COUNTER)]
  hint = ''
  if part == 'segmenter':
    hint = (
      ' Exceptions are regexes in config.init_unused (of the file) and '
      'config.init_fresh (of the network).'
    )
  if counters and counters == unread:
    hint = ' Its batch norm was not frozen: config.bn_mode=batch.'
  return (
    f'{where} ({layout.name}) does not fit the {part} of the config: '
    f'{"; ".join(parts) or "nothing in it is known"}.{hint}'
  )


def _shape(path, shape) -> tuple[int, ...]:
  """Return a variable's shape as torch has it."""
  return to_torch(path, np.empty(shape, np.bool_)).shape


def _some(names: list[str], limit: int = 8) -> str:
  more = f' and {len(names) - limit} more' if len(names) > limit else ''
  return ', '.join(names[:limit]) + more
