"""Files of PyTorch tensors: read and written without PyTorch, or its code."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxuda.torch_weights import pth
from jaxuda.utils import files
from jaxuda.utils.errors import UserError

SAFETENSORS = '.safetensors'
_STATE = 'state_dict.'  # what mmcv's checkpoints hold beside an optimizer
SUFFIXES = (SAFETENSORS, '.pth', '.pt', '.bin')


def is_weights_file(path: str | pathlib.Path) -> bool:
  """Return whether a path has a suffix of SUFFIXES and is not a folder."""
  path = pathlib.Path(path)
  return path.suffix in SUFFIXES and not path.is_dir()


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Return the tensors of a file, in torch's layout.

  Nested dicts are flattened with dots, the `module.` that data-parallel
  training puts before its keys is left out, and 16-bit floats become 32-bit
  ones, which hold them exactly. Of a checkpoint with a `state_dict` (mmcv's)
  that alone is read, without its optimizer.

  Raises:
    UserError: there is no such file, it is not what its suffix says, it would
      run code, or a tensor is not stored in full, of another type, there twice
      or not finite.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path} does not exist.')
  if path.suffix not in SUFFIXES:
    raise UserError(f'{path} is none of {", ".join(SUFFIXES)}.')
  load = _safetensors if path.suffix == SAFETENSORS else _torch
  tensors: dict[str, np.ndarray] = {}
  checked: dict[int, np.ndarray] = {}  # by identity: tied weights are one array
  found = load(path)
  inner = [each for each in found if each[0].startswith(_STATE)]
  for key, tensor in inner or found:
    key = key.removeprefix(_STATE)
    key = re.sub(r'(^|\.)(module\.)+', r'\1', key)
    if key in tensors:
      raise UserError(f'{path} has {key} twice.')
    if id(tensor) not in checked:
      checked[id(tensor)] = _checked(tensor, key, path)
    tensors[key] = checked[id(tensor)]
  if not tensors:
    raise UserError(f'{path} holds no tensors.')
  return tensors


def _checked(tensor: np.ndarray, key: str, path: pathlib.Path) -> np.ndarray:
  if tensor.dtype == np.int64 and tensor.shape == ():
    return tensor  # num_batches_tracked
  if tensor.dtype.name not in ('float32', 'float16', 'bfloat16'):
    raise UserError(
      f'{path}: {key} is {tensor.dtype}, not a float of 16 or 32 bits.'
    )
  tensor = tensor.astype(np.float32, copy=False)
  if not np.isfinite(tensor).all():
    raise UserError(f'{path}: {key} has values that are not finite.')
  return tensor


def _safetensors(path):
  import ml_dtypes  # noqa: F401  teaches NumPy bfloat16
  import safetensors

  try:
    with safetensors.safe_open(path, 'numpy') as file:
      return [(key, file.get_tensor(key)) for key in file.keys()]  # noqa: SIM118
  except Exception as e:  # the library's own errors have no common base
    raise UserError(
      f'{path} is not a safetensors file ({_first_line(e)}).'
    ) from None


def _torch(path):
  try:
    return pth.read(path)
  except Exception as e:  # any damage or trick: zip's, struct's, NumPy's, ours
    reason = _first_line(e) if isinstance(e, ValueError) else 'it is damaged'
    raise UserError(
      f'{path} is not a file of PyTorch tensors, or holds code, which is not '
      f'run ({reason}).'
    ) from None


def _first_line(error: Exception) -> str:
  """Return what fits into a sentence of ours, without control characters."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  line = ''.join(c if c.isprintable() else '?' for c in lines[0])
  return line[:200].rstrip('.')


def write(path: str | pathlib.Path, content: Mapping[str, Any]) -> None:
  """Write arrays of float32 or int64; in a .pth, nested dicts stay nested.

  Raises:
    UserError: the suffix is none of SUFFIXES, or the file cannot be written;
      nothing is left behind.
  """
  path = pathlib.Path(path)
  if path.suffix not in SUFFIXES:
    raise UserError(f'{path} is none of {", ".join(SUFFIXES)}.')

  def write_to(file):
    if path.suffix != SAFETENSORS:
      return pth.write(file, content)
    import safetensors.numpy

    arrays = {k: np.array(v, order='C') for k, v in pth.flatten(content)}
    try:
      safetensors.numpy.save_file(arrays, file)
    except safetensors.SafetensorError as e:  # of a full disk
      raise OSError(_first_line(e)) from e

  files.write(path, write_to)
