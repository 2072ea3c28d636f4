"""Reads and writes files of PyTorch tensors, and runs no code of theirs.

`.safetensors` needs the small library of that name; `.pth` needs torch, which
is optional and only then imported.
"""

import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxuda import layout
from jaxuda.errors import UserError

SAFETENSORS = '.safetensors'
SUFFIXES = (SAFETENSORS, '.pth', '.pt', '.bin')


def is_weights_file(path: str | pathlib.Path) -> bool:
  """Whether a path has the suffix of a file of tensors."""
  return pathlib.Path(path).suffix in SUFFIXES


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """The tensors of a file, in torch's layout.

  Nested dicts are flattened with dots, the `module.` that data-parallel
  training puts before its keys is left out, and 16-bit floats become 32-bit
  ones, which hold them exactly.

  Raises:
    UserError: no such file, it is not what its suffix says, it would run code,
      or a tensor is not stored in full, of another type or not finite.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path} does not exist.')
  if path.suffix not in SUFFIXES:
    raise UserError(f'{path} is none of {", ".join(SUFFIXES)}.')
  load = _safetensors if path.suffix == SAFETENSORS else _torch
  tensors = {}
  for key, tensor in load(path).items():
    key = re.sub(r'(^|\.)module\.', r'\1', key)
    if key in tensors:
      raise UserError(f'{path} has {key} twice.')
    tensors[key] = _checked(tensor, f'{path}: {key}')
  if not tensors:
    raise UserError(f'{path} holds no tensors.')
  return tensors


def _checked(tensor: np.ndarray, what: str) -> np.ndarray:
  if tensor.dtype.kind in 'iu':
    return tensor
  if tensor.dtype.name not in ('float32', 'float16', 'bfloat16'):
    raise UserError(f'{what} is {tensor.dtype}, not a float of 16 or 32 bits.')
  tensor = tensor.astype(np.float32)
  if not np.isfinite(tensor).all():
    raise UserError(f'{what} has values that are not finite.')
  return tensor


def _safetensors(path):
  import ml_dtypes  # noqa: F401  teaches NumPy bfloat16
  import safetensors

  try:
    with safetensors.safe_open(path, 'numpy') as file:
      return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
  except Exception as e:  # the library's own errors have no common base
    raise UserError(
      f'{path} is no safetensors file ({_first_line(e)}).'
    ) from None


def _torch(path):
  try:
    import torch
  except ImportError:
    raise UserError(
      f'{path} is read with PyTorch, which is not installed: pip install '
      'torch, or convert the file to .safetensors where it is.'
    ) from None
  size = path.stat().st_size
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
      unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > size:  # torch stores, and never compresses
      raise UserError(
        f'{path} is no PyTorch file: it unpacks to {unpacked:,}'
        f' bytes, more than its own {size:,}.'
      )
  try:
    content = torch.load(path, map_location='cpu', weights_only=True)
  except Exception as e:  # pickle's, zip's, torch's own: any damage or trick
    raise UserError(
      f'{path} is no file of PyTorch tensors, or holds code, which is not run '
      f'({_first_line(e)}).'
    ) from None
  found, total = {}, 0
  for key, tensor in _flatten(content):
    if not isinstance(tensor, torch.Tensor):
      continue  # a step count, a learning rate
    total += tensor.numel() * tensor.element_size()
    if total > size or tensor.is_sparse or tensor.is_quantized:
      raise UserError(f'{path}: {key} is not stored in full.')
    if tensor.dtype == torch.bfloat16:
      tensor = tensor.float()  # NumPy has no such type
    found[key] = tensor.detach().numpy()
  return found


def _flatten(value, prefix=''):
  """(key, leaf) of nested dicts and lists."""
  if isinstance(value, list | tuple):
    value = dict(enumerate(value))
  if not isinstance(value, Mapping):
    yield prefix, value
    return
  for key, inner in value.items():
    yield from _flatten(inner, f'{prefix}.{key}' if prefix else str(key))


def _first_line(error: Exception) -> str:
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0].rstrip('.')


def write(path: str | pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes tensors; in a .pth, nested dicts stay nested.

  Raises:
    UserError: the suffix is none of SUFFIXES, torch is missing, or the file
      cannot be written; nothing is left behind.
  """
  path = pathlib.Path(path)
  if path.suffix == SAFETENSORS:
    import safetensors.numpy

    flat = {k: np.array(v, order='C') for k, v in _flatten(content)}
    layout.write(path, lambda file: safetensors.numpy.save_file(flat, file))
    return
  if path.suffix not in SUFFIXES:
    raise UserError(f'{path} is none of {", ".join(SUFFIXES)}.')
  try:
    import torch
  except ImportError:
    raise UserError(
      f'{path} is written with PyTorch, which is not installed: pip install '
      f'torch, or write {path.with_suffix(SAFETENSORS).name}.'
    ) from None

  def tensors(value):
    if isinstance(value, Mapping):
      return {key: tensors(inner) for key, inner in value.items()}
    return torch.from_numpy(np.array(value, order='C'))

  layout.write(path, lambda file: torch.save(tensors(content), file))
