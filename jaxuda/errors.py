"""The one error that users see: a sentence, not a traceback."""

import sys
from collections.abc import Callable


class UserError(ValueError):
  """Bad input: the message says what is wrong, where, and what mends it."""


def exit_with_sentence(main: Callable[..., int | None], *args) -> None:
  """Runs `main(*args)`; a UserError becomes one line on stderr and exit 2."""
  try:
    sys.exit(main(*args))
  except UserError as e:
    print(f'error: {e}', file=sys.stderr)
    sys.exit(2)
