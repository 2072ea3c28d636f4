"""Several runs scored together: counts by hand, the command, refusals."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import run_folders
import tiny

from jaxuda import experiment
from jaxuda.evaluation import counting, ensemble, evaluator
from jaxuda.models.decoders import deeplab_v2
from jaxuda.models.ensemble import Ensemble
from jaxuda.models.segmenter import Outputs
from jaxuda.utils import sealed
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

SIZE, LABEL = (40, 64), (44, 70)
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (2, *SIZE, 3), np.uint8)
TRUE = RNG.integers(0, 19, (2, *LABEL), np.uint8)
TRUE[:, :9] = 255
MIX = (0.3, 0.7)
DECODER = deeplab_v2.Decoder(19, (), (), 0, summed=False)


@dataclasses.dataclass(frozen=True)
class Maps:
  """In a segmenter's place: its logits have a grid and weights of their own."""

  stride: int
  align_corners: bool
  num_classes: int = 19
  decoder: deeplab_v2.Decoder = DECODER

  def apply(self, variables, image, train):
    del train
    x = jnp.asarray(image, jnp.float32)[:, :: self.stride, :: self.stride] / 32
    shift = variables['batch_stats']['shift']
    main = jnp.sin(x @ variables['params']['mix'] + shift) * 4
    return Outputs({'main': main}, {}, 'none')


NETS = (Maps(8, True), Maps(9, False))
PARAMS = tuple({'mix': RNG.standard_normal((3, 19), 'f4')} for _ in NETS)
STATS = tuple({'shift': RNG.standard_normal(19, 'f4')} for _ in NETS)


def small_logits(image):
  """f64[B, h, w, C] of each network."""
  for net, params, stats in zip(NETS, PARAMS, STATS, strict=True):
    variables = {'params': params, 'batch_stats': stats}
    outputs = net.apply(variables, image, train=False)
    yield np.asarray(outputs.logits['main'], np.float64)


def resize(x, aligned):
  """torch's bilinear interpolation to LABEL, an axis after the other."""
  for axis, side in enumerate(LABEL, 1):
    n, at = x.shape[axis], np.arange(side)
    at = at * (n - 1) / (side - 1) if aligned else (at + 0.5) * n / side - 0.5
    lines = [np.interp(at, np.arange(n), line) for line in np.eye(n)]
    x = np.moveaxis(np.tensordot(x, np.array(lines), (axis, 0)), -1, axis)
  return x


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def mean(of, image=IMAGE):
  """The weighted mean of what is upsampled."""
  return sum(
    weight * resize(of(small), net.align_corners)
    for weight, net, small in zip(MIX, NETS, small_logits(image), strict=True)
  )


def test_counts():
  """A+E's own protocol, mirrored images too, and BDL's protocol."""
  plain = mean(lambda x: x)
  mirrored = mean(lambda x: x, IMAGE[:, :, ::-1])[:, :, ::-1]
  by_hand = {
    'plain': ({}, plain),
    'flip': ({'flip': True}, softmax(plain) + softmax(mirrored)),
    'bdl': ({'upsample': 'probabilities'}, mean(softmax)),
  }
  mesh = jax.make_mesh((1,), ('data',))
  expected = {}
  for name, (settings, maps) in by_hand.items():
    config = tiny.config('minent').eval
    config.update(settings)
    count = counting.make_count(Ensemble(NETS, MIX), config, mesh)
    found = np.asarray(count(PARAMS, STATS, IMAGE, TRUE), np.int64)
    expected[name] = np.zeros((19, 19), np.int64)
    known = TRUE != 255
    np.add.at(expected[name], (TRUE[known], maps.argmax(-1)[known]), 1)
    assert found.sum() == known.sum()
    assert abs(found - expected[name]).sum() <= 6  # float32's ties
  # One of the two alone, or the other protocol, would be seen.
  for small, net in zip(small_logits(IMAGE), NETS, strict=True):
    alone = resize(small, net.align_corners).argmax(-1)
    assert (alone != plain.argmax(-1)).mean() > 0.05
  assert abs(expected['plain'] - expected['flip']).sum() > 50
  assert abs(expected['plain'] - expected['bdl']).sum() > 50


@pytest.fixture
def pair(finished_run, tmp_path):
  """Folders of two runs: the finished one, and as it was at step 8."""
  folders = [tmp_path / 'advent', tmp_path / 'minent']
  for folder in folders:
    shutil.copytree(finished_run.workdir, folder)
  shutil.rmtree(folders[1] / 'checkpoints' / '9')
  yield folders


def test_all_the_weight_on_one_run_is_its_score(pair, finished_run):
  """The command line: its flags are for all runs; what it prints and writes."""
  path = pair[1] / 'config.json'
  config = run_folders.read(path)
  config['eval'].update(scales=[0.7], flip=True, split='train')
  sealed.write(path, config)
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'jaxuda.evaluate'),
      f'--workdir={pair[0]},{pair[1]}',
      *('--mix=2,0', '--scales=1.0', '--noflip', '--split=val'),
    ],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  folder = pair[0] / 'evaluation' / 'val-9-with=minent-8-mix=1,0'
  assert done.stdout.splitlines()[-1] == f'scores and figures: {folder}'
  assert '1 advent + 0 minent' in done.stdout
  found, alone = (
    run_folders.read(path / 'scores.json')
    for path in (folder, finished_run.workdir)
  )
  assert alone.items() <= found.items()
  assert found['ensemble'] == [
    {'run': str(pair[0]), 'step': 9, 'weight': 1.0},
    {'run': str(pair[1]), 'step': 8, 'weight': 0.0},
  ]
  assert len(list(folder.glob('*.png'))) == 3


def test_scores_are_not_written_over(pair):
  """Two runs of one name; refused before anything is computed."""
  other = pair[0].parent / 'elsewhere' / 'minent'
  shutil.copytree(pair[1], other)
  members = [
    ensemble.Member(path, experiment.load(path), 0.5)
    for path in (pair[0], other)
  ]
  record = ensemble.record(members)
  folder = pair[0] / 'evaluation' / 'val-9-with=minent-8-mix=0.5,0.5'
  folder.mkdir(parents=True)
  scores = folder / 'scores.json'
  whole = run_folders.read(pair[0] / 'scores.json')
  elsewhere = whole | {'ensemble': [record[0], record[1] | {'run': 'x'}]}
  different = r'has the scores of different .*away'
  for content, told in (
    ('{', 'is damaged'),
    ('[]', 'is damaged'),
    (json.dumps(whole), different),
    (json.dumps(elsewhere), different),
  ):
    scores.write_text(content)
    with pytest.raises(UserError, match=told):
      evaluator.evaluate_run(ensemble.join(members), pair[0], record)
    assert scores.read_text() == content
  scores.write_text(json.dumps(whole | {'ensemble': record}))
  ensemble.check_free(folder, record)


@pytest.mark.parametrize(
  ('mix', 'count'),
  [('0.5', 2), ('1,1,1', 2), ('a,b', 2), ('-1,2', 2), ('0,0', 2), ('1,1', 1)]
  + [(text, 2) for text in ('nan,1', 'inf,1', '', ',')],
)
def test_bad_mix(mix, count):
  with pytest.raises(UserError, match=r'--mix=.* must have a weight for each'):
    ensemble.weights(mix.split(',') if mix else [], count)


def test_weights_are_over_their_sum():
  assert ensemble.weights(['2', '1', '1'], 3) == (0.5, 0.25, 0.25)
  assert ensemble.weights(None, 4) == (0.25,) * 4


def test_bad_workdirs(tmp_path):
  for text in (f'{tmp_path},', f'{tmp_path},{tmp_path}/', ','):
    with pytest.raises(UserError, match='several different ones'):
      ensemble.folders(text)
  folder = tmp_path / 'lr=1,2'
  folder.mkdir()
  assert ensemble.folders(str(folder)) == [folder]
  assert ensemble.folders('a,b') == [pathlib.Path('a'), pathlib.Path('b')]


@pytest.mark.parametrize(
  ('override', 'said'),
  [
    ('classes=synthia16', 'has classes=cityscapes19 and runs/b has'),
    ('eval.size=32x64', 'has eval.size=.*and runs/b has'),
    ('eval.name=camvid', 'has eval.name=streets/city and runs/b'),
    (
      'eval.missing_class_iou=zero',
      'has eval.missing_class_iou=excluded and runs/b',
    ),
    ('eval.flip=True', '--flip sets it for all'),
  ],
)
def test_runs_that_do_not_belong_together(override, said):
  """Both are named; batch size and network may differ."""
  ours, close, other = (
    experiment.from_variables(tiny.config('minent', *given), {}, {}, 3)
    for given in (
      (),
      ('eval.batch_size=1', 'model.encoder.width=8'),
      (override,),
    )
  )
  members = [
    ensemble.Member(pathlib.Path(f'runs/{name}'), run, 0.5)
    for name, run in (('a', ours), ('b', close))
  ]
  joined = ensemble.join(members)
  assert joined.net.members == (ours.net, close.net)
  assert joined.net.mix == (0.5, 0.5) and joined.params == ({}, {})
  with pytest.raises(UserError, match=f'^runs/a .*{said}'):
    ensemble.join([members[0], members[1]._replace(run=other)])
