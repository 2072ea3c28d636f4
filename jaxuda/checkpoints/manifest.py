"""What a checkpoint must hold: shape, dtype and crc32 of every array.

A manifest is stored beside the arrays and is itself sealed, so that a flipped
bit anywhere is found, and named, before it becomes a number. It has the step,
so that a copied folder is not taken for another one.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxuda.utils import sealed
from jaxuda.utils.errors import UserError


def flatten(tree: Any) -> dict[str, Any]:
  """Return leaves by path: {'segmenter/params/conv1/kernel': leaf, ...}."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_name(path): leaf for path, leaf in leaves}


def path_name(path: tuple) -> str:
  """Return a jax key path with slashes: the same for a dict and a dataclass."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def make(
  step: int,
  state: Any,
  metrics: Mapping[str, float | None],
  extra: Mapping[str, Any],
) -> dict[str, Any]:
  """Return the manifest of a state, as it will read back from JSON.

  Args:
    step: of the state.
    state: pytree of arrays; copied to the host one by one.
    metrics: name -> number or None.
    extra: JSON-able notes.
  """
  leaves = {name: describe(x) for name, x in flatten(state).items()}
  return with_metrics({'step': step, 'extra': extra, 'leaves': leaves}, metrics)


def with_metrics(
  manifest: Mapping[str, Any], metrics: Mapping[str, float | None]
) -> dict[str, Any]:
  """Return a manifest with other metrics, sealed."""
  metrics = {k: None if v is None else float(v) for k, v in metrics.items()}
  content = {k: v for k, v in manifest.items() if k != sealed.KEY}
  return sealed.seal(content | {'metrics': metrics})


def describe(array: Any) -> list:
  """Return [shape, dtype name, crc32] of an array on any device."""
  array = np.asarray(array)
  data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  return [list(array.shape), str(array.dtype), zlib.crc32(data)]


def check_same_tree(
  leaves: Mapping[str, list], abstract_state: Any, where: str
) -> None:
  """Compare a checkpoint's arrays with those that the program expects.

  Args:
    leaves: 'leaves' of a manifest.
    abstract_state: pytree of arrays or jax.ShapeDtypeStruct.
    where: the checkpoint, for the message.

  Raises:
    UserError: paths, shapes or dtypes differ; lists the first five.
  """
  stored = {name: (*leaf[0], leaf[1]) for name, leaf in leaves.items()}
  wanted = {
    name: (*leaf.shape, str(leaf.dtype))
    for name, leaf in flatten(abstract_state).items()
  }
  differing = [
    name
    for name in dict.fromkeys([*wanted, *stored])
    if stored.get(name) != wanted.get(name)
  ]
  if not differing:
    return
  lines = [
    f'  {name}: stored {_type_name(stored.get(name))}, '
    f'expected {_type_name(wanted.get(name))}'
    for name in differing[:5]
  ]
  if len(differing) > 5:
    lines.append(f'  and {len(differing) - 5} more')
  raise UserError(
    f'{where} holds other arrays than this config builds:\n'
    + '\n'.join(lines)
    + '\nuse the config that the run was made with, or another --workdir'
  )


def _type_name(shape_and_dtype: tuple | None) -> str:
  """Return 'float32[3,3,64]' of (3, 3, 64, 'float32'), 'nothing' of None."""
  if shape_and_dtype is None:
    return 'nothing'
  *shape, dtype = shape_and_dtype
  return f'{dtype}[{",".join(map(str, shape))}]'
