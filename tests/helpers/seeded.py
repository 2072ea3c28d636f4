"""What the recorded steps start from, which follows from a seed; NumPy alone.

The script that records steps in float64 (reference/float64/write.py) runs where
PyTorch is, and jax is not.
"""

import zlib

import numpy as np


def rng(text: str) -> np.random.Generator:
  """The generator that a text names."""
  return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def tensor(seed: int, key: str, shape: tuple[int, ...]) -> np.ndarray:
  """The initial value of the tensor of that name in a torch checkpoint."""
  if key.endswith(('running_mean', 'num_batches_tracked')):
    return np.zeros(shape, np.float32)
  if key.endswith('running_var'):
    return np.ones(shape, np.float32)
  n = rng(f'{seed}/{key}').standard_normal(shape)
  if len(shape) == 1:
    n = 1 + 0.1 * n if key.endswith('weight') else 0.05 * n
  else:
    n = n * np.sqrt(1 / np.prod(shape[1:]))
  return n.astype(np.float32)


def images(seed: int, count: int, size) -> tuple[np.ndarray, np.ndarray]:
  """u8[count, h, w, 3] and labels u8[count, h, w]."""
  g = np.random.Generator(np.random.PCG64(seed))
  h, w = size
  coarse = (h // 8 + 1, w // 8 + 1)
  found = []
  for _ in range(count):
    a = g.integers(0, 256, (*coarse, 3))
    a = np.kron(a, np.ones((8, 8, 1)))[:h, :w]
    a = np.clip(a + g.integers(-20, 21, (h, w, 3)), 0, 255).astype(np.uint8)
    y = g.integers(0, 20, coarse)
    y = np.kron(np.where(y == 19, 255, y), np.ones((8, 8)))[:h, :w]
    found.append((a, y.astype(np.uint8)))
  return tuple(np.stack(part) for part in zip(*found, strict=True))


def change(key: str, before: np.ndarray, after: np.ndarray) -> list[float]:
  """[sum, L2 norm, dot with the probe] of the change of a torch tensor."""
  moved = np.asarray(after, np.float64) - np.asarray(before, np.float64)
  probe = rng(f'probe/{key}').standard_normal(moved.size)
  return [moved.sum(), np.linalg.norm(moved), moved.ravel() @ probe]
