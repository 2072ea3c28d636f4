"""Pseudo labels that a run writes, and the command that writes them."""

import csv
import io
import json
import os
import re
import shlex
import signal

import jax
import numpy as np
import pytest
import tiny_runs
from PIL import Image

from jaxuda import experiment, pseudo_label
from jaxuda import input as input_lib
from jaxuda.datasets import builder, features, images
from jaxuda.evaluation import inference
from jaxuda.input import records
from jaxuda.utils.cli import run_cli
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

CITY = ('streets/city', tiny_runs.SIZE, 'train')


def write(finished_run, folder, *more):
  arguments = ['pseudo_label', f'--workdir={finished_run.workdir}', *more]
  assert pseudo_label.main([*arguments, f'--output={folder}']) == 0
  return folder


@pytest.fixture(scope='module')
def predicted(finished_run, streets_data):
  """(probabilities f32[6, H, W, C], enlarged; the images) of the split."""
  run = experiment.load(finished_run.workdir)
  city = input_lib.open_records(*CITY, streets_data)
  pixels = [
    np.asarray(Image.open(io.BytesIO(city.parse(i)['image'])))
    for i in range(len(city))
  ]
  predict = jax.jit(
    lambda image: inference.probabilities(
      run.params,
      run.batch_stats,
      image,
      net=run.net,
      size=tiny_runs.SIZE,
      upsample='probabilities',
    )
  )
  return np.concatenate([predict(image[None]) for image in pixels]), pixels


def stored_labels(folder):
  """u8[6, H, W] class indices, as any reader of the records finds them."""
  given = records.open_pseudo_labels(folder, *CITY, 'cityscapes19')
  stream = input_lib.Stream(given, 'cityscapes19', 6, shuffle=False)
  batch = next(input_lib.train_batches({'target': stream}, seed=0))['target']
  return batch['label'], batch['image'], given


def test_what_is_written(half, predicted):
  p, pixels = predicted
  label, image, given = stored_labels(half)
  np.testing.assert_array_equal(image, pixels)
  likeliest, confidence = p.argmax(-1), p.max(-1)
  thresholds = json.loads((half / 'thresholds.json').read_text())
  assert len(thresholds) == 19
  unsure = 0
  with open(half / 'coverage.csv') as file:
    rows = list(csv.DictReader(file))
  for c, (name, limit) in enumerate(thresholds.items()):
    mine = np.sort(confidence[likeliest == c])
    median = mine[min(round(mine.size / 2), mine.size - 1)] if mine.size else 0
    assert limit == pytest.approx(median, abs=1e-5)
    clear = (likeliest == c) & (abs(confidence - limit) > 1e-5)
    expected = np.where(confidence >= limit, c, 255)
    np.testing.assert_array_equal(label[clear], expected[clear])
    unsure += (likeliest == c).sum() - clear.sum()
    row = rows[c]
    assert row['class'] == name and float(row['threshold']) == limit
    assert int(row['predicted']) == pytest.approx(mine.size, abs=2)
    assert int(row['kept']) == (label == c).sum()
  assert unsure < 0.02 * label.size
  assert 0.4 < (label != 255).mean() < 0.6
  assert rows[-1]['class'] == 'all'
  assert int(rows[-1]['predicted']) == label.size
  # Records as data.prepare writes them: ids, checksums, the images' own bytes.
  first = given.parse(0)
  sure = np.asarray(Image.open(io.BytesIO(first['confidence'])))
  assert sure.dtype == np.uint8
  assert abs(sure / 255 - confidence[0]).max() <= 0.5 / 255 + 1e-5
  assert 'soft' not in first
  ids = np.asarray(Image.open(io.BytesIO(first['label'])))
  assert (
    set(np.unique(ids)) <= {0, *range(7, 34)} and first['label_full'] == b''
  )
  sums = json.loads((half / builder.CHECKSUMS).read_text())
  assert sums['train'][0] == features.checksum(first)
  picture = Image.open(half / 'pseudo_labels.png')
  assert picture.width > 3 * picture.height / 2
  assert sorted(p.name for p in half.parent.iterdir()) == ['half']


def test_the_other_rules(finished_run, tmp_path, predicted):
  everything = write(finished_run, tmp_path / 'all', '--rule=argmax')
  label, _, _ = stored_labels(everything)
  assert (label != 255).all()

  soft = write(
    finished_run,
    tmp_path / 'soft',
    '--rule=balanced',
    '--portion=0.5',
    '--soft=0.25',
    '--scales=1.0',
    '--noflip',
    '--stride=1',
  )
  given = records.open_pseudo_labels(soft, *CITY, 'cityscapes19')
  assert given.soft == 19
  with pytest.raises(UserError, match='soft labels of cityscapes19, not of'):
    records.open_pseudo_labels(soft, *CITY, 'synthia16')
  augment = input_lib.Augment(flip=True, scale=(0.5, 1.5), crop=(24, 40))
  stream = input_lib.Stream(given, 'cityscapes19', 6, augment)
  batch = next(input_lib.train_batches({'target': stream}, seed=0))['target']
  assert batch['soft'].shape == (6, 24, 40, 19)
  kept = batch['label'] != 255
  assert 0 < kept.mean() < 1
  # Image, label and shares have moved together.
  top = batch['soft'].argmax(-1)[kept]
  assert (top == batch['label'][kept]).mean() > 0.97  # but for equal shares
  total = batch['soft'].sum(-1, dtype=int)[kept]
  assert abs(total - 255).max() <= 9


def test_labels_of_their_own_size(finished_run, streets_data, tmp_path):
  """Images of one size are labelled by a network that sees another."""
  source = records.open_records(*CITY, streets_data)
  larger = (48, 96)

  def enlarge(stored, method):
    picture = Image.open(io.BytesIO(stored))
    return picture.resize(larger[::-1], method)

  examples = [source.parse(i) for i in range(2)]
  for e in examples:
    e['image'] = images.encode_image(enlarge(e['image'], Image.BICUBIC), None)
    e['label'] = images.encode_label(enlarge(e['label'], Image.NEAREST))
  builder.write(
    'streets/city',
    larger,
    tmp_path / 'data',
    None,
    counts={'train': 2},
    has={'label': ['train']},
    generate={'train': examples}.__getitem__,
    metadata={},
  )
  folder = write(
    finished_run,
    tmp_path / 'large',
    '--size=48x96',
    f'--data_dir={tmp_path / "data"}',
  )
  given = records.open_pseudo_labels(
    folder, 'streets/city', larger, 'train', ''
  )
  ids = Image.open(io.BytesIO(given.parse(0)['label']))
  assert ids.size == larger[::-1]


def test_a_stop_leaves_nothing(finished_run, tmp_path, monkeypatch):
  """SIGTERM, Ctrl-C and a full disk, while the third label is written."""
  encode = images.encode_label
  arguments = ['pseudo_label', f'--workdir={finished_run.workdir}']
  folder = tmp_path / 'deep' / 'labels'
  arguments += [f'--output={folder}', '--rule=argmax']

  def stop_with(event):
    done = []

    def encode_or_stop(label):
      done.append(label)
      if len(done) == 3:
        event()
      return encode(label)

    monkeypatch.setattr(images, 'encode_label', encode_or_stop)

  def full():
    raise OSError(28, 'No space left on device')

  for event, code in (
    (lambda: os.kill(os.getpid(), signal.SIGTERM), 143),
    (full, 2),
  ):
    stop_with(event)
    with pytest.raises(SystemExit) as e:
      run_cli(pseudo_label.main, arguments)
    assert e.value.code == code
    assert not list(tmp_path.iterdir())
  # A process that was killed could not clean up: the next one does.
  monkeypatch.undo()
  stale = folder.with_name('.labels.partial')
  stale.mkdir(parents=True)
  (stale / 'half').write_text('half')
  assert pseudo_label.main(arguments) == 0
  assert [p.name for p in folder.parent.iterdir()] == ['labels']


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (['--rule=best'], "rule='best' is none of argmax, median, balanced"),
    (['--rule=argmax', '--portion=0.3'], 'the rule argmax does not read it'),
    (['--portion=half'], 'flag --portion=half'),
    (['--scales=none'], '--scales takes numbers from 0.1 to 10'),
    (['--input=small'], "size 'small' is neither HEIGHTxWIDTH"),
    (['--size=31x31'], 'is prepared|prepared'),
    (['--checkpoint=7'], '7'),
    (['--output=/dev/null'], '/dev/null is there already: delete it or give'),
    (['more'], "unexpected argument 'more'; see --help"),
    (['--workdir=/nowhere'], '/nowhere is not a run: it has no config.json'),
  ],
)
def test_one_sentence(arguments, words, finished_run, capsys, monkeypatch):
  def refuse(*_):
    raise UserError('it is not prepared')

  monkeypatch.setattr(
    'jaxuda.datasets.prepare.ensure', refuse
  )  # else it would be rendered
  given = ['pseudo_label', f'--workdir={finished_run.workdir}', *arguments]
  with pytest.raises(SystemExit) as e:
    run_cli(pseudo_label.main, given)
  said = capsys.readouterr().err
  assert e.value.code == 2 and said.startswith('error: ')
  assert re.search(words, said), said
  assert not (finished_run.workdir / 'pseudo_labels').exists()


def test_labels_that_do_not_fit(half, finished_run, tmp_path):
  spec, _, split = CITY
  with pytest.raises(UserError, match=r'of streets/city, train, at 32x64, not'):
    records.open_pseudo_labels(half, spec, (96, 192), split, 'cityscapes19')
  with pytest.raises(
    UserError, match=f'{tmp_path} holds no pseudo labels; `py'
  ):
    records.open_pseudo_labels(tmp_path, *CITY, 'cityscapes19')
  # The remedy is their own command.
  given = records.open_pseudo_labels(half, *CITY, 'cityscapes19')
  assert (
    given.broken(0, 'is bad')
    .args[0]
    .endswith(
      f'--output={half} --rule=median --scales=1.0 --flip=False '
      '--upsample=probabilities --portion=0.5 --cap=1.0'
    )
  )


def test_the_stored_command_writes_them_again(half, tmp_path):
  """All settings are in it, and flags that the command has."""
  metadata = json.loads((half / 'metadata.json').read_text())
  python, module, name, *arguments = shlex.split(metadata['pseudo']['command'])
  assert [python, module, name] == ['python', '-m', 'jaxuda.pseudo_label']
  again = tmp_path / 'again'
  moved = [
    a.replace(f'--output={half}', f'--output={again}') for a in arguments
  ]
  assert pseudo_label.main([name, *moved]) == 0
  for file in ('coverage.csv', 'thresholds.json', builder.CHECKSUMS):
    assert (again / file).read_bytes() == (half / file).read_bytes()
