"""Losses that are finite and nonsense, against a NumPy loop; and the bundle."""

import contextlib
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_runs
from jax.sharding import SingleDeviceSharding

from jaxuda import main
from jaxuda.training import explosion
from jaxuda.utils import metrics_csv
from jaxuda.utils.cli import run_cli


def watched(losses, limit=100.0):
  """In NumPy: the scale, and how many were beyond the limit last."""
  scale, in_row = None, 0
  for loss in losses:
    if not np.isfinite(loss):
      continue
    if scale is None:
      scale = loss
    beyond = loss > min(limit * max(scale, 0.01), 1e6)
    in_row = in_row + 1 if beyond else 0
    scale += 0.01 * (min(loss, 10 * scale) - scale)
  return scale, in_row


@pytest.mark.parametrize(
  ('losses', 'in_row'),
  [
    ([3.0] * 50, 0),
    ([3.0] * 50 + [299.0], 0),
    ([3.0] * 50 + [301.0], 1),
    ([3.0] * 50 + [301.0, 2.0, 500.0], 1),
    ([3.0] * 50 + [3.0 * 8.0**i for i in range(8)], 5),
    ([3.0] * 9 + [np.nan, 1e30, np.inf, 1e30], 2),
    ([3e20, 3e20, 3e20], 3),  # from the first step on
    ([1e-6] * 500 + [0.9], 0),
  ],
)
def test_what_is_beyond_the_scale(losses, in_row):
  seen = explosion.Explosion(100.0)
  for loss in losses:
    # Two terms of it, one that is none, and a measurement.
    seen.add(
      {
        'loss/seg_source_main': jnp.float32(0.75 * loss),
        'loss/seg_target_main': jnp.float32(0.25 * loss),
        'loss/d_main': jnp.float32(1e20),
      }
    )
  scale, expected = watched(losses)
  assert seen.in_row == in_row == expected
  assert seen.scale == pytest.approx(scale, rel=1e-4)
  # To the bit after a restart.
  again = explosion.Explosion(100.0)
  stored = json.loads(json.dumps(seen.to_json()))
  again.restore(stored, SingleDeviceSharding(jax.devices()[0]))
  for each in (seen, again):
    each.add({'loss/seg_source_main': jnp.float32(0.1)})
  assert again.to_json() == seen.to_json()


def test_never():
  seen = explosion.Explosion(None)
  for loss in (1.0, 1e30, 1e30):
    seen.add({'loss/seg_source_main': jnp.float32(loss)})
  assert seen.in_row == 0


def diverge(path, streets_data, *settings):
  """Run the command line until it gives up; return its error."""
  arguments = tiny_runs.command(path, streets_data, *settings)
  said = io.StringIO()
  with pytest.raises(SystemExit) as caught, contextlib.redirect_stderr(said):
    run_cli(main.main, ['main', *arguments])
  assert caught.value.code == 2 and 'Traceback' not in said.getvalue()
  assert not (path / 'scores.json').exists()
  assert f'{path}/diverged.json has the details' in said.getvalue()
  return said.getvalue()


@pytest.mark.slow
def test_gradients_that_are_not_finite(streets_data, tmp_path):
  """Stops at the limit; the checkpoints from before stay."""
  path = tmp_path / 'run'
  for _ in range(2):  # and again: it does not go on from there
    said = diverge(
      path,
      streets_data,
      'optim.lr=1e30',
      'max_nonfinite_steps=3',
      'checkpoint_every=1',
      'log_every=1',
      'steps=100',
    )
    assert said.startswith(
      'error: training diverged: the gradients of 3 steps in a row before step '
    )
    assert 'lower config.optim.lr in another --workdir, or raise' in said
    rows = metrics_csv.read_metrics(path / 'metrics.csv')
    assert 1 < len(rows) < 10 and rows[-1]['skipped'] == 2
    assert tiny_runs.state(path)['skipped'] == 2


@pytest.mark.slow
def test_divergence_that_no_log_line_shows(streets_data, tmp_path):
  """What is past the limit is not scored, saved or called a success."""
  path = tmp_path / 'run'
  said = diverge(
    path,
    streets_data,
    'optim.lr=1e30',
    'max_nonfinite_steps=3',
    'checkpoint_every=2',
    'log_every=100',
  )
  assert 'training diverged: the gradients of 3' in said
  assert tiny_runs.state(path)['skipped'] < 3


@pytest.mark.slow
def test_an_explosion_ends_a_run(streets_data, tmp_path, capsys):
  """The checkpoints are from before; the bundle says what was seen."""
  path = tmp_path / 'run'
  said = diverge(
    path,
    streets_data,
    'optim.lr=1e4',
    'checkpoint_every=1',
    'log_every=100',
    'steps=100',
  )
  assert said.startswith('error: training diverged: the loss of 5 steps ')
  assert 'is not saved: its loss is far beyond' in capsys.readouterr().out
  bundle = json.loads((path / 'diverged.json').read_text())
  state = tiny_runs.state(path)
  assert state['step'] <= bundle['step'] - 5
  assert bundle['last step']['loss/seg_source_main'] > 1e3
  assert bundle['config']['optim']['lr'] == 1e4
  batches = bundle['batches from there on']
  assert [int(step) for step in batches] == [
    bundle['step'] - 5 + i for i in range(5)
  ]
  assert len(batches[str(bundle['step'] - 1)]['source']) == 2
