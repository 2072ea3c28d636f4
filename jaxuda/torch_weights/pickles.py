"""The pickles inside of PyTorch's files, read without running anything.

A pickle is a program for a stack machine whose calls can do anything. This
machine knows the instructions of plain containers and of tensors alone: names
stay names, nothing is imported, and the only "calls" are those of `_CALLS`,
each a few lines below.
"""

import dataclasses
import math
import pickletools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

# Instructions, and what calls copy; a checkpoint with optimizer has 100,000.
_MOST = 1_000_000
_TYPES = {
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'DoubleStorage': np.float64,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}


@dataclasses.dataclass(frozen=True)
class Name:
  """A module and a name in it, as a pickle gives them: never imported."""

  module: str
  name: str

  def __str__(self):
    return f'{self.module}.{self.name}'


@dataclasses.dataclass(frozen=True)
class Storage:
  """Numbers of one type under a key, which a file stores elsewhere."""

  key: str
  dtype: np.dtype
  size: int


@dataclasses.dataclass(frozen=True)
class View:
  """A tensor: some numbers of a storage, in a shape; the unit is a number."""

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  def __post_init__(self):
    numbers = (self.offset, *self.shape, *self.strides)
    if (
      not all(type(n) is int and 0 <= n < 2**63 for n in numbers)
      or len(self.shape) != len(self.strides)
      or len(self.shape) > 32
    ):
      raise ValueError('a tensor has an impossible shape')
    if self.count > self.storage.size:
      raise ValueError('a tensor is not stored in full')
    last = self.offset + sum(
      (n - 1) * stride
      for n, stride in zip(self.shape, self.strides, strict=True)
    )
    if self.count and last >= self.storage.size:
      raise ValueError('a tensor reaches beyond what is stored')

  @property
  def count(self) -> int:
    """How many numbers it has."""
    return math.prod(self.shape)


def load(stream: Any, storages: dict[str, Storage] | None = None) -> Any:
  """Return what the pickle at a stream's position holds, and move behind it.

  Tensors are `View`s and names are `Name`s. Whatever else is no plain value or
  container is refused.

  Args:
    stream: has read and readline; a claim of many bytes must not reserve them.
    storages: filled with every storage that the pickle names, by key.

  Raises:
    ValueError: it calls something, uses another instruction, or is damaged.
      Damage may show as other errors of Python, too.
  """
  storages = {} if storages is None else storages
  stack: list[Any] = []
  marks: list[int] = []  # heights of the stack
  memo: dict[int, Any] = {}
  work = 0
  for opcode, argument, _ in pickletools.genops(stream):
    name = opcode.name
    work += 1 + (_copied(stack) if name in ('REDUCE', 'NEWOBJ') else 0)
    if work > _MOST:
      raise ValueError(f'it has more than {_MOST:,} instructions')
    if name == 'STOP':
      return stack.pop()
    if name == 'MARK':
      marks.append(len(stack))
    elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
      memo[argument] = stack[-1]
    elif name == 'MEMOIZE':
      memo[len(memo)] = stack[-1]
    elif name in ('GET', 'BINGET', 'LONG_BINGET'):
      stack.append(memo[argument])
    elif name == 'BINPERSID':
      storage = _storage(*stack.pop())
      if storages.setdefault(storage.key, storage) != storage:
        raise ValueError(f'it has two storages {storage.key}')
      stack.append(storage)
    elif name in _VALUES:
      stack.append(_VALUES[name](argument))
    elif name in _OF_MARK:
      items = stack[marks[-1] :]
      del stack[marks.pop() :]
      _OF_MARK[name](stack, items)
    elif name in _OF_STACK:
      _OF_STACK[name](stack)
    elif name not in ('PROTO', 'FRAME'):
      raise ValueError(f'it has the instruction {name}')
  raise ValueError('it ends early')


def _copied(stack) -> int:
  """Return how many things a call copies: the same list may be in each."""
  arguments = stack[-1] if stack else ()
  sized = [a for a in arguments if isinstance(a, list | tuple)]
  return sum(map(len, sized))


def _text(latin: str) -> str:
  """Return a text of Python 2, whose bytes pickletools reads as Latin-1."""
  try:
    return latin.encode('latin-1').decode()
  except UnicodeDecodeError:
    return latin


_VALUES: dict[str, Callable[[Any], Any]] = (
  {
    'NONE': lambda _: None,
    'NEWTRUE': lambda _: True,
    'NEWFALSE': lambda _: False,
    'EMPTY_TUPLE': lambda _: (),
    'EMPTY_LIST': lambda _: [],
    'EMPTY_DICT': lambda _: {},
    'EMPTY_SET': lambda _: [],
    'GLOBAL': lambda both: Name(*both.split(' ', 1)),
  }
  | dict.fromkeys(['STRING', 'BINSTRING', 'SHORT_BINSTRING'], _text)
  | dict.fromkeys(
    [
      'INT',
      'BININT',
      'BININT1',
      'BININT2',
      'LONG',
      'LONG1',
      'LONG4',
      'FLOAT',
      'BINFLOAT',
      'UNICODE',
      'BINUNICODE',
      'SHORT_BINUNICODE',
      'BINUNICODE8',
      'BINBYTES',
      'SHORT_BINBYTES',
      'BINBYTES8',
    ],
    lambda value: value,
  )
)


def _set(target, pairs):
  """Put pairs into a dict, whose keys are plain, so that nothing is called."""
  if type(target) is not dict:
    raise ValueError('it is damaged')
  for key, value in pairs:
    if not isinstance(key, str | int | float | bytes | None):
      raise ValueError('it has a key that is no text or number')
    target[key] = value


def _pairs(items):
  return zip(items[::2], items[1::2], strict=True)


def _extend(target, items):
  if type(target) is not list:
    raise ValueError('it is damaged')
  target.extend(items)


def _dict(items):
  made: dict = {}
  _set(made, _pairs(items))
  return made


_OF_MARK: dict[str, Callable[[list, list], None]] = {
  'TUPLE': lambda stack, items: stack.append(tuple(items)),
  'LIST': lambda stack, items: stack.append(items),
  'DICT': lambda stack, items: stack.append(_dict(items)),
  'APPENDS': lambda stack, items: _extend(stack[-1], items),
  'ADDITEMS': lambda stack, items: _extend(stack[-1], items),
  'SETITEMS': lambda stack, items: _set(stack[-1], _pairs(items)),
}


def _tuple(stack, size):
  items = tuple(stack[-size:])
  del stack[-size:]
  stack.append(items)


def _append(stack):
  item = stack.pop()
  _extend(stack[-1], [item])


def _set_item(stack):
  value, key = stack.pop(), stack.pop()
  _set(stack[-1], [(key, value)])


def _name(stack):
  name, module = stack.pop(), stack.pop()
  stack.append(Name(str(module), str(name)))


def _build(stack):
  """Drop the attributes of a dict: the `_metadata` of a state dict."""
  stack.pop()
  if type(stack[-1]) is not dict:
    raise ValueError('it sets attributes')


def _storage(kind, storage, key, location, size, view=None):
  """Return the storage that a "persistent id" of torch means."""
  if kind != 'storage' or view is not None:
    raise ValueError('it has a storage of another kind')
  if (
    not isinstance(storage, Name)
    or storage.module not in ('torch', 'torch.cuda')
    or storage.name not in _TYPES
  ):
    raise ValueError(f'it names {storage}')
  if type(key) is not str or type(size) is not int or size < 0:
    raise ValueError('it is damaged')
  return Storage(key, np.dtype(_TYPES[storage.name]), size)


def _call(stack):
  arguments, what = stack.pop(), stack.pop()
  if str(what) not in _CALLS or not isinstance(what, Name):
    raise ValueError(f'it calls {what}')
  stack.append(_CALLS[str(what)](*arguments))


_OF_STACK: dict[str, Callable[[list], Any]] = {
  'TUPLE1': lambda stack: _tuple(stack, 1),
  'TUPLE2': lambda stack: _tuple(stack, 2),
  'TUPLE3': lambda stack: _tuple(stack, 3),
  'APPEND': _append,
  'SETITEM': _set_item,
  'STACK_GLOBAL': _name,
  'BUILD': _build,
  'REDUCE': _call,
  'NEWOBJ': _call,
}


def _view(storage, offset, shape, strides, *_):
  if not isinstance(storage, Storage):
    raise ValueError('it has a tensor without a storage')
  return View(storage, offset, tuple(shape), tuple(strides))


def _ordered(pairs=()):
  made: dict = {}
  _set(made, pairs)
  return made


_CALLS: dict[str, Callable] = {
  'collections.OrderedDict': _ordered,
  'torch.Size': tuple,
  'torch._utils._rebuild_tensor': _view,
  'torch._utils._rebuild_tensor_v2': _view,
  'torch._utils._rebuild_parameter': lambda data, *_: data,
  'torch._utils._rebuild_parameter_with_state': lambda data, *_: data,
}
