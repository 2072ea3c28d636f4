"""What the command lines have in common: one style, one way to end.

A command is a module with `main(argv) -> exit status`. Its flags are absl's, in
a FlagValues of its own; other arguments are known by their place.
"""

import functools
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence

from absl import flags

from jaxuda.utils import memory, names, signals
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def run_cli(main: Callable[..., int | None], *args) -> None:
  """Run `main(*args)` and exit with its status.

  A UserError becomes its message on stderr and status 2. A signal becomes a
  sentence and 128 + its number (Ctrl-C: 130), whatever libraries make of it. A
  reader that has left the pipe (`| head`) ends the program without a word.
  """
  memory.keep_freed()
  memory.collect_rarely()
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='backslashreplace')  # names that are no UTF-8
  stop = signals.Unwinding(ends=True)
  try:
    with stop:
      status = main(*args)
  except BaseException as e:
    if stop.number is None:
      status = _status(e)
  if stop.number is not None:
    # Everything is cleaned up; what threads would say now is of no interest.
    sys.stdout.flush()
    os._exit(128 + stop.number)
  sys.exit(status)


def _status(error: BaseException) -> int:
  """Return the exit status of an error, and say what it is, or raise it."""
  if isinstance(error, BrokenPipeError):
    # Python would complain once more when it flushes stdout at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141  # 128 + SIGPIPE
  if sentence := _sentence(error):
    print(f'error: {names.printable(sentence)}', file=sys.stderr)
    return 2
  if isinstance(error, KeyboardInterrupt):  # of an inner signals.Unwinding
    return 128 + signal.SIGINT
  raise error


def _sentence(error: BaseException) -> str:
  """Return what is said of an error, '' where Python is to show it."""
  if isinstance(error, UserError):
    return str(error)
  name, line = type(error).__name__, ' '.join(str(error).split())[:200]
  # XLA's errors of an accelerator and of the host have several types.
  if isinstance(error, MemoryError) or line.startswith('RESOURCE_EXHAUSTED'):
    return (
      f'out of memory ({line or name}): make the batch or the images smaller, '
      "the config's batch_size, size or crop, or --size, --window and "
      '--batch_size.'
    )
  if type(error).__module__ == 'flax.errors' and name.startswith('ScopeParam'):
    return (
      "the weights do not fit the network that the run's config.json describes "
      f'({line}): put the file back that belongs to them.'
    )
  return ''


class Flags:
  """The flags of one command.

  Attributes:
    values: as absl keeps them; `values.NAME` is a flag's value once `parse` has
      read a command line.
  """

  def __init__(self):
    """Define no flag yet."""
    self.values = flags.FlagValues()
    self.values.set_gnu_getopt(True)  # flags may come behind their places
    define = functools.partial
    self.text = define(flags.DEFINE_string, flag_values=self.values)
    self.number = define(flags.DEFINE_float, flag_values=self.values)
    self.integer = define(flags.DEFINE_integer, flag_values=self.values)
    self.boolean = define(flags.DEFINE_bool, flag_values=self.values)
    self.list = define(flags.DEFINE_list, flag_values=self.values)
    self.enum = define(flags.DEFINE_enum, flag_values=self.values)

  def parse(
    self,
    argv: Sequence[str],
    doc: str,
    places: Sequence[str] = (),
    more: bool = False,
  ) -> list[str] | None:
    """Read a command line.

    Args:
      argv: the command and its arguments.
      doc: what --help prints before the flags.
      places: names of the arguments that are not flags, all required.
      more: whether the last of them may be given several times.

    Returns:
      Those arguments; None where help was asked for, and printed: nothing more
      is to be done.

    Raises:
      UserError: an unknown flag, a bad value, an argument that has no place, or
        one that is missing.
    """
    if wants_help(argv):
      print(f'{doc}\n{self.values.get_help(include_special_flags=False)}')
      return None
    given = self.read(argv)
    again = len(given) - len(places) if more else 0
    return placed(given, [*places, *places[-1:] * again])

  def read(self, argv: Sequence[str]) -> list[str]:
    """Read a command line; return its arguments that are not flags.

    Raises:
      UserError: an unknown flag, or a bad value.
    """
    try:
      return self.values(argv)[1:]
    except flags.Error as e:
      raise UserError(str(e)) from e

  def require(self, *names: str) -> None:
    """Raise UserError where one of these flags has no value."""
    for name in names:
      if not self.values[name].value:
        raise UserError(f'--{name} is needed; see --help.')


def placed(given: Sequence[str], places: Sequence[str]) -> list[str]:
  """Return the arguments that are not flags, one for each place.

  Raises:
    UserError: there are more, or fewer.
  """
  if len(given) > len(places):
    extra = given[len(places)]
    raise UserError(f'unexpected argument {extra!r}; see --help.')
  if len(given) < len(places):
    raise UserError(f'{places[len(given)]} is needed; see --help.')
  return list(given)


def wants_help(argv: Sequence[str]) -> bool:
  """Return whether a command line asks for help."""
  return not {'--help', '-h', '-?', '--helpfull'}.isdisjoint(argv)


def define_checkpoint(command: Flags) -> None:
  """Define the flags that say which network of a run is meant."""
  command.text('checkpoint', 'latest', 'latest, best or a step.')
  command.enum(
    'network',
    None,
    ['segmenter', 'ema'],
    "The run's segmenter, or its teacher; default: the run's eval.network.",
  )


def define_averaging(command: Flags) -> None:
  """Define the flags that say which views a prediction averages."""
  command.list(
    'scales',
    None,
    "Input scales that are averaged: 0.7,1.0; default: the run's.",
  )
  command.boolean(
    'flip', None, "Average with the mirrored input, too; default: the run's."
  )


def print_if_best(checkpoint: str) -> None:
  """Print what 'best' means, where that checkpoint is asked for."""
  if checkpoint == 'best':
    print0('oracle-selected: this checkpoint was chosen by target labels.')


def parse_scales(texts: Sequence[str] | None) -> tuple[float, ...] | None:
  """Return the numbers of a --scales flag, None where it is not given.

  Raises:
    UserError: they are not numbers, or out of bounds.
  """
  try:
    scales = tuple(float(text) for text in texts) if texts else None
  except ValueError:
    scales = (0.0,)
  if scales and not all(0.1 <= scale <= 10 for scale in scales):
    raise UserError(
      f'--scales takes numbers from 0.1 to 10, not {",".join(texts)!r}.'
    )
  return scales
