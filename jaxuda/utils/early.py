"""Ctrl-C in the first second of a command, while its modules are imported.

`install` is called where the packages of the commands begin; utils/signals.py
takes over from here. A signal that the parent ignores stays ignored.
"""

import os
import signal
import sys

_COMMANDS = ('jaxuda', 'data', 'benchmarks')


def install() -> None:
  """Let Ctrl-C end this process with a sentence, where it is a command."""
  # Python's own handler is there only where the parent does not ignore it.
  ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
  if ours and _is_command(sys.orig_argv):
    signal.signal(signal.SIGINT, _end)


def _end(number, frame):
  """End at once: nothing has been begun, or all is done."""
  del frame
  os.write(2, b'\nSIGINT: stopped\n')
  os._exit(128 + number)


def _is_command(argv) -> bool:
  """Return whether a command line is `python -m jaxuda.main` or `jaxuda`."""
  if '-m' in argv[1:]:
    module = argv[argv.index('-m') + 1 :][:1]
    return bool(module) and module[0].partition('.')[0] in _COMMANDS
  return len(argv) > 1 and os.path.basename(argv[1]) == 'jaxuda'
