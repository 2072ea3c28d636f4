"""What the command lines have in common."""

from collections.abc import Sequence

from absl import flags

from jaxuda.utils.errors import UserError


def parse(given: flags.FlagValues, argv: Sequence[str], doc: str) -> bool:
  """Reads a command line into its flags.

  Args:
    given: the flags, which nobody has parsed yet.
    argv: the command and its arguments.
    doc: what --help prints before the flags.

  Returns:
    False where help was asked for and printed, and there is nothing to do.

  Raises:
    UserError: an unknown flag, a bad value, or an argument that is no flag.
  """
  if not {'--help', '-h'}.isdisjoint(argv):
    print(f'{doc}\n{given.get_help(include_special_flags=False)}')
    return False
  try:
    extra = given(argv)[1:]
  except flags.Error as e:
    raise UserError(str(e)) from e
  if extra:
    raise UserError(f'unexpected argument {extra[0]!r}; see --help.')
  return True
