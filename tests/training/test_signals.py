"""SIGTERM and Ctrl-C: stop at a step, at once when asked twice."""

import os
import signal
import socket
import textwrap
import time

import numpy as np
import pytest
from small_state import run_child

from jaxuda import checkpoints
from jaxuda.utils import signals


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_first_signal_sets_a_flag_and_handlers_come_back(number, capfd):
  before = signal.getsignal(number)
  with signals.StopSignal() as stop:
    assert not stop.requested and not stop.requested_at(0)
    os.kill(os.getpid(), number)
    assert stop._received.wait(60)
    assert stop.requested and stop.requested_at(1)
    assert list(stop.until_requested(range(3))) == []
  assert signal.getsignal(number) is before
  assert f'{number.name}: saving at the next step' in capfd.readouterr().err


def test_until_requested_passes_all_when_not_asked():
  with signals.StopSignal() as stop:
    assert list(stop.until_requested(range(3))) == [0, 1, 2]


def test_other_signals_are_left_alone():
  received = []
  before = signal.signal(signal.SIGUSR1, lambda *_: received.append(1))
  with signals.StopSignal() as stop:
    os.kill(os.getpid(), signal.SIGUSR1)
    assert received and not stop.requested
  signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_second_signal_exits_even_inside_native_code(number):
  """As when XLA compiles for minutes: no Python handler runs meanwhile."""
  child = run_child(
    """
    import jax, jax.numpy as jnp
    from jaxuda.utils import signals
    with signals.StopSignal():
      x = jnp.ones((1500, 1500))
      slow = jax.jit(
        lambda x: jax.lax.fori_loop(0, 10**6, lambda i, x: x @ x, x)
      )
      print('on', flush=True)
      slow(x).block_until_ready()
    """
  )
  assert child.stdout.readline() == 'on\n'
  child.send_signal(number)
  assert child.stderr.readline() == '\n'
  assert 'a second one stops at once' in child.stderr.readline()
  child.send_signal(number)  # at once: the same one, as `timeout -s INT` sends
  time.sleep(1.2)
  assert child.poll() is None
  child.send_signal(number)
  _, said = child.communicate(timeout=60)
  assert said == f'\n{signal.Signals(number).name} again: stopping at once\n'
  assert child.returncode == 128 + number


# What a library makes of the exception: nothing, another error, or a callback
# of the collector, in which it is lost.
SWALLOWED = {
  'imported': 'sys.path.insert(0, sys.argv[1]); import slow; wait()',
  'unwound': 'wait()',
  'swallowed': """
try: wait()
except BaseException: pass
return 0""",
  'turned': """
try: wait()
except BaseException as e: raise RuntimeError('in a callback') from e""",
  'collected': """
gc.callbacks.append(lambda *_: wait())
gc.collect()
time.sleep(60)""",
}


@pytest.mark.parametrize('body', SWALLOWED)
def test_a_command_ends_with_one_sentence(body, tmp_path):
  """And with the signal's status, whatever becomes of what is raised.

  What is imported is imported whole.
  """
  (tmp_path / 'slow.py').write_text(
    "import time; print('on', flush=True); time.sleep(0.7)\n"
    "open(__file__ + '.whole', 'w').close()"
  )
  child = run_child(
    f"""
import gc, sys, time
from jaxuda.utils import cli
def wait():
  print('on', flush=True)
  time.sleep(2 if {body == 'collected'} else 60)
def main():
{textwrap.indent(SWALLOWED[body].strip(), '  ')}
cli.run_cli(main)
""",
    tmp_path,
  )
  assert child.stdout.readline() == 'on\n'
  child.send_signal(signal.SIGINT)
  _, said = child.communicate(timeout=30)
  assert (tmp_path / 'slow.py.whole').exists() == (body == 'imported')
  assert child.returncode == 130
  assert said == '\nSIGINT: stopping; nothing is left half-written\n'


@pytest.mark.parametrize('status', [0, 2, 143])
def test_a_signal_at_the_end_changes_no_status(status):
  """Libraries' threads may take seconds to end."""
  child = run_child(
    f"""
    import atexit, time
    from jaxuda.utils import cli
    atexit.register(lambda: (print('on', flush=True), time.sleep(2)))
    cli.run_cli(lambda: {status})
    """
  )
  assert child.stdout.readline() == 'on\n'
  child.send_signal(signal.SIGTERM)
  assert child.communicate(timeout=30)[1] == ''
  assert child.returncode == status


@pytest.mark.slow
def test_processes_stop_and_save_at_the_same_step(tmp_path):
  """One of two processes is signalled; both save that step together."""
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  code = """
    import sys, time, jax
    port, index, folder = sys.argv[1:]
    jax.distributed.initialize(f'localhost:{port}', 2, int(index))
    import jax.numpy as jnp
    from jaxuda import checkpoints
    from jaxuda.training import workdir
    from jaxuda.utils import signals
    mesh = jax.make_mesh((2,), ('data',))
    whole = jax.NamedSharding(mesh, jax.P())
    update = jax.jit(
      lambda s: {'step': s['step'] + 1, 'x': s['x'] + 2},
      donate_argnums=0, out_shardings=whole
    )
    with (
      workdir.open_workdir(folder, {}) as resumed,
      checkpoints.Checkpoints(folder + '/checkpoints') as manager,
      signals.StopSignal() as stop,
    ):
      state = jax.jit(
        lambda: {'step': 0, 'x': jnp.ones(9)}, out_shardings=whole)()
      if resumed:
        abstract = jax.tree.map(
          lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole),
          state)
        state, _ = manager.restore('latest', abstract)
      start = int(state['step'])
      for i in range(start, start + 2000):
        if stop.requested_at(i):
          manager.save(i, state)
          break
        if i - start == 5:
          manager.save(i, state)
          print('on', flush=True)
        state = update(state)
        time.sleep(0.01)
      manager.wait()
      assert not manager.failed
      print(resumed, i, manager.latest_step())
  """
  for resumed in (False, True):
    children = [run_child(code, port, i, tmp_path) for i in range(2)]
    while (line := children[0].stdout.readline()) != 'on\n':
      assert line, children[0].stderr.read()
    children[1].send_signal(signal.SIGTERM)
    outputs = [child.communicate(timeout=120) for child in children]
    assert [c.returncode for c in children] == [0, 0], outputs
    steps = [out.split()[-3:] for out, _ in outputs]
    assert steps[0] == steps[1]
    assert steps[0][0] == str(resumed) and steps[0][1] == steps[0][2]
  step, state, _ = checkpoints.restore_part(
    tmp_path / 'checkpoints', parts=('step', 'x')
  )
  assert step == state['step'] == int(steps[0][1])
  np.testing.assert_array_equal(state['x'], np.full(9, 1 + 2 * step))
