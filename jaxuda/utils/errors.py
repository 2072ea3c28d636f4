"""The one error that users see: a sentence, not a traceback."""

import os
import sys
from collections.abc import Callable


class UserError(ValueError):
  """Bad input: the message says what is wrong, where, and what mends it."""


def exit_with_sentence(main: Callable[..., int | None], *args) -> None:
  """Runs `main(*args)`; a UserError becomes one line on stderr and exit 2.

  A reader that has left the pipe (`| head`) ends the program without a word.
  """
  try:
    sys.exit(main(*args))
  except BrokenPipeError:
    # Python would complain once more when it closes stdout.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)  # 128 + SIGPIPE
  except UserError as e:
    print(f'error: {e}', file=sys.stderr)
    sys.exit(2)
