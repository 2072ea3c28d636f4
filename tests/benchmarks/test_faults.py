"""How the tries of the fault matrix judge what happens."""

import importlib
import signal

import pytest

from benchmarks.faults import __main__ as faults
from benchmarks.faults import damage, process, stops, subjects
from jaxuda.utils.errors import UserError

TRACEBACK = 'Traceback (most recent call last):\n  File "x"\nValueError: y'


def ended(status=0, out='', err='', peak=2**20):
  return process.Ended(status, out, err, 1.0, peak)


@pytest.mark.parametrize(
  ('how', 'fault'),
  [
    (ended(0, 'step 1'), ''),
    (ended(2, err='error: x is damaged.\n'), ''),
    (ended(75, err='error: process 0 is stuck\n'), 'status 75'),
    (ended(None), 'hangs'),
    (ended(1, err=TRACEBACK), 'prints Traceback (most recent call last): Val'),
    (ended(0, out=TRACEBACK), 'prints Traceback'),
    (ended(0, err='RuntimeError: Event loop is closed'), 'prints Event loop'),
    (ended(2), 'status 2 with 0 errors'),
    (ended(0, err='error: x\n'), 'status 0 with 1 errors'),
    (ended(-11, err='a word'), 'status -11: a word'),
    (ended(0, out='a\x1b[31m'), r"prints ['\x1b']"),
    (ended(0, peak=2**33), 'takes 8.0 GiB'),
  ],
)
def test_judgement(how, fault):
  found = process.fault(how)
  assert found.startswith(fault) and bool(found) == bool(fault)


def test_a_command_that_hangs_is_killed(tmp_path):
  child = process.Child(tmp_path, '--version')
  how = child.end()
  assert how.status == 0 and how.out.startswith('jaxuda ')
  assert how.peak > 2**20 and not process.fault(how)
  child = process.Child(tmp_path, 'train', '--help')
  how = child.end(timeout_s=0.01)
  assert how.status is None and process.fault(how).startswith('hangs')


def test_what_differs():
  assert subjects.difference({'a': '1', 'b': '2'}, {'a': '1', 'b': '2'}) == ''
  assert subjects.difference({'a': '1', 'b': '2'}, {'a': '3', 'c': '2'}) == (
    'a, b, c'
  )


def test_a_silent_difference_is_a_fault():
  reader = damage._Reader(['report'], 'out', None)
  reader.expected = {'a': '1'}
  assert damage._judge(ended(), {'a': '1'}, reader) == ('', 'no difference')
  assert damage._judge(ended(), {'a': '2'}, reader)[1] == 'silent'
  told = ended(out='note: x is damaged')
  assert damage._judge(told, {'a': '2'}, reader) == ('', 'told')
  reader.said = frozenset(['note: x is damaged'])  # as always
  assert damage._judge(told, {'a': '2'}, reader)[1] == 'silent'


def test_a_swallowed_signal_is_a_fault():
  number = signal.SIGTERM
  assert stops._judge(ended(), number, 0.0) == ('', 'had ended')
  assert stops._judge(ended(), number, 9.0)[0].startswith('goes on for 9.0 s')
  told = ended(143, err='SIGTERM: stopping')
  assert stops._judge(told, number, 9.0) == ('', 'stopped')
  mute = stops._judge(ended(143), number, 0.1)
  assert mute[0] == 'says nothing of the signal'


def test_command_line(capsys):
  assert faults.main(['faults', '--help']) == 0
  assert faults.__doc__ in capsys.readouterr().out
  with pytest.raises(UserError, match='none is none of them'):
    faults.main(['faults', '--kinds=none'])
  with pytest.raises(UserError, match='--counts=kills must be KIND=N'):
    faults.main(['faults', '--counts=kills'])
  for kind in faults.KINDS:
    module = importlib.import_module(f'benchmarks.faults.{kind}')
    assert module.PROMISE and callable(module.tries)
