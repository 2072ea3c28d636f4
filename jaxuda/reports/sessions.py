"""When, where and by which command a run was trained, and where time went.

A run may be trained in several sessions, one for each process that went on with
it. They are no function of the config, and so lie beside metrics.csv, in
<run>/sessions.json.
"""

import contextlib
import datetime
import pathlib
import shlex
import sys
import time
from collections.abc import Iterator
from importlib import metadata

import jax

from jaxuda.utils import files, sealed
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError

FILE = 'sessions.json'
PACKAGES = ('jaxuda', 'jax', 'jaxlib', 'flax', 'optax')

_SESSION = {
  'began': sealed.TEXT,
  'command': {'type': 'string'},
  'device': sealed.TEXT,
  'processes': sealed.COUNT,
  'versions': sealed.named(sealed.TEXT),
  'steps': {'type': 'array', 'items': sealed.COUNT},
  'seconds': sealed.NUMBER,
  'of_which': sealed.named(sealed.NUMBER),
}
_FORM = sealed.form(
  {'sessions': {'type': 'array', 'items': sealed.form(_SESSION, {})}}, {}
)


class Session:
  """One session of a run; only the first process writes.

  Attributes:
    seconds: what time went into: 'compiling', 'training', 'waiting for data',
      'evaluating', 'saving', 'drawing'.
  """

  def __init__(self, workdir: pathlib.Path, mesh: jax.sharding.Mesh):
    """Note what does not change.

    Args:
      workdir: the run's folder.
      mesh: of all devices.
    """
    self._path = workdir / FILE
    self._began = time.monotonic()
    self.seconds: dict[str, float] = {}
    self._before = self._read_before()
    self._facts = {
      'began': datetime.datetime.now().astimezone().isoformat('T', 'seconds'),
      'command': shlex.join(_command()),
      'device': f'{mesh.size} x {mesh.devices.flat[0].device_kind}',
      'processes': jax.process_count(),
      'versions': versions(),
    }

  def _read_before(self):
    """Return the sessions before; a damaged file of them is set aside."""
    try:
      return read(self._path.parent)
    except UserError as e:
      if jax.process_index() == 0:
        moved = files.set_aside(self._path)
        print0(f'note: {e} It is {moved.name} now.')
      return []

  @contextlib.contextmanager
  def time(self, what: str) -> Iterator[None]:
    """Add the time of a block to `seconds`."""
    start = time.monotonic()
    try:
      yield
    finally:
      self.add(what, time.monotonic() - start)

  def add(self, what: str, seconds: float) -> None:
    """Add seconds to what they went into."""
    self.seconds[what] = self.seconds.get(what, 0.0) + seconds

  def write(self, first: int, last: int) -> None:
    """Write this session behind those before it; a full disk is no matter.

    Args:
      first, last: steps at its start and its end.
    """
    if jax.process_index() > 0:
      return
    whole = {
      **self._facts,
      'steps': [first, last],
      'seconds': round(time.monotonic() - self._began, 1),
      'of_which': {k: round(s, 1) for k, s in self.seconds.items()},
    }
    with contextlib.suppress(UserError):
      sealed.write(self._path, {'sessions': [*self._before, whole]})


def read(workdir: pathlib.Path) -> list[dict]:
  """Return the sessions of a run; none where there is no such file.

  Raises:
    UserError: it is damaged.
  """
  path = workdir / FILE
  if not path.exists():
    return []
  mend = 'delete it; it says no more than when and where the run was trained'
  return sealed.read(path, _FORM, mend)['sessions']


def versions() -> dict[str, str]:
  """Return the versions of what computes."""
  found = {'python': sys.version.split()[0]}
  for name in PACKAGES:
    with contextlib.suppress(metadata.PackageNotFoundError):
      found[name] = metadata.version(name)
  return found


def _command() -> list[str]:
  """Return this process's command, as one types it."""
  module = getattr(sys.modules['__main__'], '__spec__', None)
  if module is None:
    return sys.argv
  return ['python', '-m', module.name.removesuffix('.__main__'), *sys.argv[1:]]
