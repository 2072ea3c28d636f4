"""Files of PyTorch tensors: read and written without running code of theirs.

`.safetensors` needs the small library of that name; `.pth` needs torch, which
is optional and imported only then.
"""

import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxuda.utils import files
from jaxuda.utils.errors import UserError

SAFETENSORS = '.safetensors'
_TORCH = (2, 10)  # before it, torch.load(weights_only=True) has known holes
_MOST = 300_000  # entries of a file; a checkpoint with its optimizers has 3,000
SUFFIXES = (SAFETENSORS, '.pth', '.pt', '.bin')


def is_weights_file(path: str | pathlib.Path) -> bool:
  """Return whether a path has a suffix of SUFFIXES and is no folder."""
  path = pathlib.Path(path)
  return path.suffix in SUFFIXES and not path.is_dir()


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Return the tensors of a file, in torch's layout.

  Nested dicts are flattened with dots, the `module.` that data-parallel
  training puts before its keys is left out, and 16-bit floats become 32-bit
  ones, which hold them exactly.

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
  tensors = {}
  for key, tensor in load(path):
    key = re.sub(r'(^|\.)module\.', r'\1', key)
    if key in tensors:
      raise UserError(f'{path} has {key} twice.')
    tensors[key] = _checked(tensor, key, path)
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
  tensor = tensor.astype(np.float32)
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
      f'{path} is no safetensors file ({_first_line(e)}).'
    ) from None


def _torch(path):
  torch = _import_torch(f'{path} is read', 'convert it to .safetensors')
  size = path.stat().st_size
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
      if unpacked > size:  # torch stores, and never compresses
        raise ValueError(f'it unpacks to {unpacked:,} bytes')
    content = torch.load(path, map_location='cpu', weights_only=True)
    found, total = [], 0
    for key, tensor in _flatten(content):
      if not isinstance(tensor, torch.Tensor):
        continue  # a step count, a learning rate
      total += tensor.numel() * tensor.element_size()
      if total > size or tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(f'{key} is not stored in full')
      if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()  # NumPy has no such type
      found.append((key, tensor.detach().cpu().numpy()))
  except Exception as e:  # pickle's, zip's, torch's own: any damage or trick
    raise UserError(
      f'{path} is no file of PyTorch tensors, or holds code, which is not run '
      f'({_first_line(e)}).'
    ) from None
  return found


def _import_torch(what: str, instead: str):
  """Return torch, if it is installed and its weights_only can be trusted."""
  try:
    import torch
  except ImportError:
    raise UserError(
      f'{what} with PyTorch, which is not installed: pip install '
      f'"torch>={_TORCH[0]}.{_TORCH[1]}", or {instead}.'
    ) from None
  version = tuple(int(n) for n in re.findall(r'\d+', torch.__version__)[:2])
  if version < _TORCH:
    raise UserError(
      f'{what} with PyTorch, whose {torch.__version__} may run code that a '
      f'file holds: pip install "torch>={_TORCH[0]}.{_TORCH[1]}".'
    )
  return torch


def _flatten(value):
  """Yield (key, leaf) of nested dicts and lists, which may hold themselves."""
  todo = [('', value)]
  for _ in range(_MOST):
    if not todo:
      return
    prefix, value = todo.pop()
    if isinstance(value, list | tuple):
      value = dict(enumerate(value))
    if not isinstance(value, Mapping):
      yield prefix, value
      continue
    for key, inner in reversed(value.items()):
      todo.append((f'{prefix}.{key}' if prefix else str(key), inner))
  raise ValueError(f'it holds more than {_MOST:,} things')


def _first_line(error: Exception) -> str:
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0].rstrip('.')


def write(path: str | pathlib.Path, content: Mapping[str, Any]) -> None:
  """Write tensors; in a .pth, nested dicts stay nested.

  Raises:
    UserError: the suffix is none of SUFFIXES, torch is missing, or the file
      cannot be written; nothing is left behind.
  """
  path = pathlib.Path(path)
  if path.suffix not in SUFFIXES:
    raise UserError(f'{path} is none of {", ".join(SUFFIXES)}.')
  if path.suffix == SAFETENSORS:
    import safetensors.numpy

    tensors = {k: np.array(v, order='C') for k, v in _flatten(content)}

    def save(file):
      safetensors.numpy.save_file(tensors, file)

  else:
    torch = _import_torch(
      f'{path} is written', f'write {path.with_suffix(SAFETENSORS).name}'
    )

    def nested(value):
      if isinstance(value, Mapping):
        return {key: nested(inner) for key, inner in value.items()}
      return torch.from_numpy(np.array(value, order='C'))

    def save(file):
      torch.save(nested(content), file)

  def write_to(file):
    try:
      save(file)
    except OSError:
      raise
    except Exception as e:  # both libraries have their own for a full disk
      raise OSError(_first_line(e)) from e

  files.write(path, write_to)
