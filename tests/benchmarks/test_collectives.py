"""What devices tell each other is counted as a program's text has it."""

import json
import math
import subprocess
import sys

import jax
import pytest
import tiny

from benchmarks.perf import collectives, scaling_model
from jaxuda import config as config_lib
from jaxuda import experiment, state
from jaxuda.utils.errors import UserError

# Two sums that do not wait for one another, one that waits for both, a loop of
# three with two in a row, and a branch.
TEXT = """\
HloModule step

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%body (p: (s32[], f32[5])) -> (s32[], f32[5]) {
  %p = (s32[], f32[5]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[5]{0} get-tuple-element(%p), index=1
  %one = f32[5]{0} all-reduce(%x), channel_id=4, to_apply=%add
  %two = f32[5]{0} all-reduce(%one), channel_id=5, to_apply=%add
  ROOT %t = (s32[], f32[5]{0}) tuple(%i, %two)
}

%condition (p.1: (s32[], f32[5])) -> pred[] {
  %p.1 = (s32[], f32[5]{0}) parameter(0)
  ROOT %go = pred[] constant(true)
}

%taken (q: bf16[4,8]) -> bf16[4,8] {
  %q = bf16[4,8]{1,0} parameter(0)
  ROOT %all = bf16[4,8]{1,0} all-gather(%q), channel_id=6, dimensions={0}
}

%left (r: bf16[4,8]) -> bf16[4,8] {
  ROOT %r = bf16[4,8]{1,0} parameter(0)
}

ENTRY %main (u: f32[3], v: f32[7]) -> f32[5] {
  %u = f32[3]{0} parameter(0)
  %v = f32[7]{0} parameter(1)
  %first = (f32[3]{0}, f32[3]{0}) all-reduce(%u, %u), to_apply=%add
  %second = f32[7]{0} all-reduce(%v), channel_id=2, to_apply=%add
  %joined = f32[2]{0} custom-call(%first, %second), custom_call_target="f"
  %third = f32[2]{0} all-reduce(%joined), channel_id=3, to_apply=%add
  %start = (s32[], f32[5]{0}) custom-call(%third), custom_call_target="g"
  %loop = (s32[], f32[5]{0}) while(%start), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
  %w = bf16[4,8]{1,0} custom-call(%u), custom_call_target="h"
  %either = bf16[4,8]{1,0} conditional(%u, %w, %w), \
branch_computations={%taken, %left}
  ROOT %end = f32[5]{0} get-tuple-element(%loop), index=1
}
"""


def test_collectives_by_hand():
  program = collectives.Program(TEXT)
  # 3 outside and 2 in each turn of the loop; floats of 4 bytes.
  reduced = collectives.Total(3 + 3 * 2, 4 * (2 * 3 + 7 + 2 + 3 * 2 * 5))
  gathered = collectives.Total(1, 2 * 4 * 8)
  assert program.totals() == {'all-reduce': reduced, 'all-gather': gathered}
  # One of the first two, the third, and all of the loop's.
  assert program.depth() == 1 + 1 + 3 * 2


def test_the_cost_by_hand():
  """100 MB within a host of 8, an eighth of it between two hosts."""
  found = {
    'tflop_of_a_device': 4.945,  # at half of 989 TFLOP/s: 10 ms
    'collectives': {'all-reduce': {'count': 7, 'bytes': 100e6}},
    'depth': 50,
  }
  machine = scaling_model.MACHINES['H100']
  within = 2 * 7 / 8 * 100e6 / 450e9
  alone = scaling_model.cost(found, machine, 8)
  assert alone == pytest.approx((10e-3, within, 50 * 10e-6))
  assert scaling_model.cost(found, machine, 8, images=4)[0] == 4 * alone[0]
  two = scaling_model.cost(found, machine, 16)
  assert two.moving == pytest.approx(within + 100e6 / 8 / 50e9)
  assert two.waiting == pytest.approx(50 * 20e-6)
  assert two.efficiency == pytest.approx(10e-3 / sum(two))


SMALL = (
  *('model.encoder.blocks=(1,1,1,1)', 'model.encoder.width=4'),
  *('discriminator.width=4', 'source.size=(64,96)', 'target.size=(48,80)'),
)


def _small_step_of(title, devices, folder):
  """Return what the command finds: a program, which makes devices of one."""
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'benchmarks.perf.scaling_model'),
      *(f'--experiments={title}', f'--devices={devices}'),
      *(f'--more={";".join(SMALL)}', f'--results={folder}'),
    ],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  stored = json.loads((folder / 'scaling_model.json').read_text())
  found = stored['rows'][title]
  sums = found['collectives']['all-reduce']['count']
  assert f'| {title} | {sums} | {found["depth"]} | 2 | H100 |' in done.stdout
  return found


def test_moments_wait_for_one_another(tmp_path):
  """Of 13 layers: mean, variance and, in turn, both gradients together."""
  layers = 1 + 4 * 3  # the blocks are as deep as their way without a shortcut
  found = _small_step_of('ADVENT', 8, tmp_path)
  assert found['depth'] == 3 * layers + 1  # the first kernel's gradient
  # On two devices as on eight.
  assert _small_step_of('ADVENT', 2, tmp_path) == found


def test_the_gradients_of_each_domain_are_told(tmp_path):
  """Without batch norm's moments next to nothing waits."""
  found = _small_step_of('ADVENT, bn_mode=running', 8, tmp_path)
  config = config_lib.load('configs/advent.py', SMALL)
  abstract = state.abstract(*experiment.build(config))
  # A momentum for each weight that is trained; Adam has two.
  momenta = jax.tree.leaves(abstract.segmenter.opt_state)
  judges = jax.tree.leaves(abstract.discriminators.params)
  gradients = sum(4 * math.prod(x.shape) for x in [*momenta, *judges])
  told = found['collectives']['all-reduce']['bytes']
  assert 1 < told / (2 * gradients) < 1.01  # and losses and statistics
  assert found['depth'] < 5


def test_an_unknown_experiment_is_refused():
  with pytest.raises(UserError, match="'ADVENTT' is none of ADVENT; "):
    scaling_model.main(['scaling_model', '--experiments=ADVENTT'])
