"""What a run says and what it leaves behind."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import run_folders
import tiny
import tiny_runs
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from data.streets import render
from jaxuda import config as config_lib
from jaxuda import experiment, labels
from jaxuda.evaluation import evaluator
from jaxuda.training import log
from jaxuda.utils import metrics_csv
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

CLASSES = labels.space('cityscapes19').classes
TERMS = ('seg_source_main', 'adv_main', 'd_main')
EVALUATIONS = (4, 8, 9)


@pytest.fixture(scope='module')
def rows(finished_run):
  return metrics_csv.read_metrics(finished_run.workdir / 'metrics.csv')


@pytest.fixture(scope='module')
def events(finished_run):
  """Everything in the TensorBoard files: nothing is sampled."""
  read = event_accumulator.EventAccumulator(
    str(finished_run.workdir), size_guidance={event_accumulator.TENSORS: 0}
  )
  return read.Reload()


def scalars(events, tag):
  assert events.SummaryMetadata(tag).plugin_data.plugin_name == 'scalars'
  return {
    e.step: np.frombuffer(e.tensor_proto.tensor_content, np.float32).item()
    if e.tensor_proto.tensor_content
    else e.tensor_proto.float_val[0]
    for e in events.Tensors(tag)
  }


def test_the_folder(finished_run):
  folder = finished_run.workdir
  names = {p.name for p in folder.iterdir()}
  events = {name for name in names if name.startswith('events.out.tfevents')}
  assert len(events) == 2  # that of the start, and that of the numbers
  assert names - events - {'.lock'} == {
    'config.json',
    'metrics.csv',
    'checkpoints',
    'figures',
    'scores.json',
    'unlabelled',
    'sessions.json',
    'report.html',
  }
  figures = folder / 'figures'
  assert [p.name for p in sorted(figures.glob('*.png'))] == [
    'confusion.png',
    'entropy.png',
    'qualitative.png',
  ]
  for path in figures.glob('*.png'):
    assert min(Image.open(path).size) > 100
  assert {p.name for p in (figures / 'panels').iterdir()} == {
    f'{i}-{kind}.png'
    for i in (1, 2)
    for kind in ('image', 'after', 'truth', 'entropy')
  }
  config = json.loads((folder / 'config.json').read_text())
  assert config['method'] == 'advent_patch' and config['steps'] == 9
  assert config_lib.read_run(folder).patch.size == 32


def test_metrics(rows, finished_run):
  steps = [(r['step'], 'eval/mIoU' in r) for r in rows]
  assert steps == [
    (2, False), (4, False), (4, True), (6, False), (8, False), (8, True),
    (9, True),
  ]  # fmt: skip
  for row in rows:
    if 'eval/mIoU' not in row:
      assert all(np.isfinite(row[f'loss/{term}']) for term in TERMS)
      assert row['grad_norm/segmenter'] > 0 and row['skipped'] == 0
      # Of the last step, 0-based: 2.5e-4 or what the config has in its place.
      rate = config_lib.read_run(finished_run.workdir).optim.lr
      expected = rate * (1 - (row['step'] - 1) / 100) ** 0.9
      assert row['optim/lr'] == pytest.approx(expected, rel=1e-5)
    else:
      shares = [v for k, v in row.items() if k.startswith('share/')]
      assert sum(shares) == pytest.approx(1) and len(shares) == 19
      assert ('target/ensv' in row) == (row['step'] > 4)
      assert 0 < row['source/mIoU'] < 1
  scores = json.loads((finished_run.workdir / 'scores.json').read_text())
  assert scores['images'] == 3
  mean = scores['means']['mIoU']  # to six places
  assert rows[-1]['eval/mIoU'] == pytest.approx(mean, abs=1e-6)
  for name, value in scores['iou'].items():
    logged = rows[-1][f'iou/{name.replace(" ", "_")}']
    assert np.isnan(logged) if value is None else abs(logged - value) < 1e-6
  counts = np.array(scores['confusion'])
  labelled = [
    render.render('city', i, tiny_runs.SIZE, 'val')[1] for i in (0, 1, 2)
  ]
  known = labels.id_map('cityscapes', 'cityscapes19')[np.stack(labelled)]
  expected = np.bincount(known[known != 255], minlength=19)
  np.testing.assert_array_equal(counts.sum(1), expected)


def test_scalars_are_those_of_the_table(rows, events):
  trained = [row for row in rows if 'eval/mIoU' not in row]
  for name in (*(f'loss/{term}' for term in TERMS), 'grad_norm/segmenter'):
    assert scalars(events, name) == {r['step']: r[name] for r in trained}
  means = scalars(events, 'eval/mIoU')
  assert list(means) == list(EVALUATIONS)
  assert means[9] == pytest.approx(rows[-1]['eval/mIoU'])
  rates = scalars(events, 'speed/images_per_s')
  assert list(rates) == [2, 4, 6, 8] and min(rates.values()) > 0


def test_texts(events, finished_run):
  """The config, to the letter, and each parameter with its shape."""
  [config] = events.Tensors('config')
  text = config.tensor_proto.string_val[0].decode()
  stored = run_folders.read(finished_run.workdir / 'config.json')
  assert json.loads(text) == stored
  [shapes] = events.Tensors('parameters')
  text = shapes.tensor_proto.string_val[0].decode()
  assert '| encoder/conv1/kernel' in text and 'Total: ' in text


def test_panels(events):
  """Input, prediction, ground truth, entropy of the first and last image."""
  assert events.SummaryMetadata('panels').plugin_data.plugin_name == 'images'
  found = {
    e.step: e.tensor_proto.string_val[2:] for e in events.Tensors('panels')
  }
  assert list(found) == list(EVALUATIONS)
  height, width = tiny_runs.SIZE
  for index, png in zip((0, 2), found[9], strict=True):
    panel = np.asarray(Image.open(io.BytesIO(png)))
    assert panel.shape == (height, 4 * width + 12, 3)
    image, label = render.render('city', index, tiny_runs.SIZE, 'val')
    np.testing.assert_array_equal(panel[:, :width], image)
    ids = labels.id_map('cityscapes', 'cityscapes19')[label]
    truth = panel[:, 2 * (width + 4) : 3 * width + 8]
    expected = labels.colorize(ids, labels.space('cityscapes19'))
    np.testing.assert_array_equal(truth, expected)


def test_what_it_says(finished_run):
  said = finished_run.said
  [device] = jax.devices()
  assert f'advent_patch on 1 x {device.device_kind}, 1 process' in said
  state = tiny_runs.state(finished_run.workdir)
  counts = [
    sum(np.size(leaf) for leaf in jax.tree.leaves(state[network]['params']))
    for network in ('segmenter', 'discriminators')
  ]
  assert (
    f'segmenter {counts[0]:,} parameters, discriminators {counts[1]:,}' in said
  )
  progress = [line for line in said.splitlines() if line.startswith('step ')]
  assert [line[:8] for line in progress] == [
    f'step {step}/9' for step in (2, 4, 6, 8)
  ]
  for line in progress:
    for term in TERMS:
      assert re.search(rf'  {term} \d+\.\d{{4}}\b', line)
    assert re.search(r'  \d+\.\d images/s  ETA \d+:\d\d$', line)
  assert re.search(r'^compiled, and one step done, in \d+ s$', said, re.M)
  [share] = re.findall(
    r'^data: training spent (.*)% of its time waiting', said, re.M
  )
  assert 0 <= float(share) <= 100


def test_tables(finished_run, rows):
  """One at each evaluation and one at the end, with a row a class."""
  said = finished_run.said
  for step in EVALUATIONS:
    assert f'evaluation at step {step}, 3 images' in said
  for name in CLASSES:
    assert len(re.findall(rf'^  {name} +[\d.n/a]+ *$', said, re.M)) == 4
  # At step 8 a class of which there is no pixel is not counted as zero.
  row = next(r for r in rows if r['step'] == 8 and 'eval/mIoU' in r)
  table = said.split('evaluation at step 8')[1].split('evaluation')[0]
  for name in CLASSES:
    value = row[f'iou/{name.replace(" ", "_")}']
    shown = re.search(rf'^  {name} +(\S+)', table, re.M)[1]
    assert shown == ('n/a' if np.isnan(value) else f'{100 * value:.1f}')
  mean = 100 * rows[-1]['eval/mIoU']
  *_, start, last = said.splitlines()
  assert last == f'mIoU {mean:.1f} (last checkpoint, 3 images)'
  assert start.startswith('trained from random weights, where papers start')
  figures = re.findall('^figure: (.*)$', said, re.M)
  assert figures == [
    str(finished_run.workdir / 'figures' / f'{name}.png')
    for name in ('confusion', 'entropy', 'qualitative')
  ]


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [(0, '0:00'), (59.6, '1:00'), (125, '2:05'), (3723, '1:02:03')],
)
def test_duration(seconds, text):
  assert log.duration(seconds) == text


def test_evaluate_repeats_the_scores_on_two_devices(finished_run, tmp_path):
  """The command line: the same table, JSON and figures."""
  folder = tmp_path / 'run'
  shutil.copytree(finished_run.workdir, folder)
  done = subprocess.run(
    [sys.executable, '-m', 'jaxuda.evaluate', f'--workdir={folder}'],
    cwd=tiny.ROOT,
    env=os.environ | tiny.virtual_devices(2),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  written = folder / 'evaluation' / 'val-9'
  assert done.stdout.splitlines()[-1] == f'scores and figures: {written}'
  found, trained = (
    run_folders.read(path / 'scores.json') for path in (written, folder)
  )
  assert found == trained | {
    'step': 9,
    'network': 'segmenter',
    'dataset': 'streets/city',
    'split': 'val',
    'scales': [1.0],
    'flip': False,
    'window': [0, 0],
    'average': 'probabilities',
    'upsample': 'logits',
    'missing_class_iou': 'excluded',
  }
  assert {p.stem for p in written.glob('*.png')} == {
    'confusion',
    'entropy',
    'qualitative',
  }
  mean = 100 * trained['means']['mIoU']
  assert re.search(rf'^  mIoU +{mean:.1f}', done.stdout, re.M)


def test_evaluate_without_the_source(finished_run, tmp_path, capsys):
  """The scores come first; how they were made is in the folder's name."""
  run = experiment.load(finished_run.workdir)
  run.config.eval.update(scales=(0.5, 1.0), flip=True)
  run.config.source.name = 'gta5'
  evaluator.evaluate_run(run, tmp_path)
  [folder] = (tmp_path / 'evaluation').iterdir()
  assert folder.name == 'val-9-scales=0.5,1.0-flip'
  found = json.loads((folder / 'scores.json').read_text())
  assert found['scales'] == [0.5, 1.0] and found['flip'] is True
  assert len(list(folder.glob('*.png'))) == 3
  said = capsys.readouterr().out
  table, _, rest = said.partition('entropy.png shows the target alone: gta5 is')
  assert '  mIoU ' in table and rest.strip().endswith(str(folder))


def test_evaluate_in_a_folder_that_cannot_be_written(
  finished_run, tmp_path, capsys
):
  (tmp_path / 'evaluation').write_text('a file')
  with pytest.raises(
    UserError, match=r'cannot write .*/evaluation/val-9/scores'
  ):
    evaluator.evaluate_run(experiment.load(finished_run.workdir), tmp_path)
  assert '  mIoU ' in capsys.readouterr().out


def test_steps_behind_the_checkpoint_were_not_evaluated(tmp_path, capsys):
  """On the processes, too, that read before the first one truncates."""
  rows = metrics_csv.MetricsCsv(tmp_path / 'metrics.csv')
  for step in (4, 8):
    rows.append(step, {'eval/mIoU': 0.5})
  ours = log.Log(tmp_path, 9, 4)
  ours._first = False
  ours.resume(5, 3)
  assert 'has lost 2 of the rows' in capsys.readouterr().out
  assert ours.evaluated == {4}
  assert len(metrics_csv.read_metrics(rows.path)) == 2
  ours._first = True
  ours.close()
