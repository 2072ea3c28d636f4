"""Pseudo labels from a run to the steps that train on them."""

import csv
import io
import json
import os
import pathlib
import re
import shutil
import signal

import jax
import numpy as np
import pytest
import tiny
import tiny_runs
from PIL import Image

from jaxuda import experiment, methods, pseudo_label
from jaxuda import input as input_lib
from jaxuda.config import loading as config_lib
from jaxuda.datasets import builder, images
from jaxuda.evaluation import inference
from jaxuda.input import inputs, records
from jaxuda.pseudo_labels import rules, writer
from jaxuda.training import checks, stages
from jaxuda.training import workdir as workdir_lib
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError, run_cli

CITY = ('streets/city', tiny_runs.SIZE, 'train')


@pytest.fixture(scope='module', autouse=True)
def quick():
  with tiny_runs.quick_compiles():
    yield


def write(finished_run, folder, *more):
  arguments = ['pseudo_label', f'--workdir={finished_run.workdir}', *more]
  assert pseudo_label.main([*arguments, f'--output={folder}']) == 0
  return folder


@pytest.fixture(scope='module')
def half(finished_run, tmp_path_factory):
  """The folder of `median`, with half of each class."""
  folder = tmp_path_factory.mktemp('labels') / 'half'
  return write(finished_run, folder, '--cap=1')


@pytest.fixture(scope='module')
def predicted(finished_run, streets_data):
  """(probabilities f32[6, H, W, C], enlarged; the images) of the split."""
  run = experiment.load(finished_run.workdir)
  city = input_lib.open_records(*CITY, streets_data)
  pixels = [
    np.asarray(Image.open(io.BytesIO(city.parse(i)['image'])))
    for i in range(len(city))
  ]
  ask = jax.jit(
    lambda image: inference.probabilities(
      run.params,
      run.batch_stats,
      image,
      net=run.net,
      size=tiny_runs.SIZE,
      upsample='probabilities',
    )
  )
  return np.concatenate([ask(image[None]) for image in pixels]), pixels


def stored_labels(folder):
  """u8[6, H, W] class indices, as any reader of the records finds them."""
  given = records.open_pseudo(folder, *CITY, 'cityscapes19')
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
  # Records as data/ writes them: ids, checksums, the images' own bytes.
  first = given.parse(0)
  sure = np.asarray(Image.open(io.BytesIO(first['confidence'])))
  assert sure.dtype == np.uint8
  assert abs(sure / 255 - confidence[0]).max() <= 0.5 / 255 + 1e-5
  assert first['soft'] == b''
  ids = np.asarray(Image.open(io.BytesIO(first['label'])))
  assert (
    set(np.unique(ids)) <= {0, *range(7, 34)} and first['label_full'] == b''
  )
  sums = json.loads((half / builder.CHECKSUMS).read_text())
  assert sums['train'][0] == builder.checksum(first)
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
  given = records.open_pseudo(soft, *CITY, 'cityscapes19')
  assert given.soft == 19
  with pytest.raises(UserError, match='soft labels of cityscapes19, not of'):
    records.open_pseudo(soft, *CITY, 'synthia16')
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
    {'train': 2},
    {'train': examples}.__getitem__,
    [],
  )
  folder = write(
    finished_run,
    tmp_path / 'large',
    '--size=48x96',
    f'--data_dir={tmp_path / "data"}',
  )
  given = records.open_pseudo(folder, 'streets/city', larger, 'train', '')
  ids = Image.open(io.BytesIO(given.parse(0)['label']))
  assert ids.size == larger[::-1]


@pytest.mark.parametrize('page', ['bdl_ssl', 'fada_distill'])
def test_each_page_trains_on_them(page, half, streets_data):
  stream = 'source' if page == 'fada_distill' else 'target'
  sizes = [f'{s}.size=32x64' for s in ('source', 'target')]
  overrides = [*sizes, f'{stream}.labels={half}', f'data_dir={streets_data}']
  config = tiny.config(page, *overrides)
  checks.check(config, sharding.make_mesh())
  names = methods.load(config.method).streams
  folders = stages.pseudo_folders(config, names, pathlib.Path('runs/x'))
  streams = inputs.open_streams(config, names, folders)
  batches = input_lib.train_batches(streams, seed=0)
  one_head = 'model.decoder.multi_level=False'
  current, run = tiny.first_state(page, one_head), tiny.stepper(page, one_head)
  for _ in range(2):
    batch = next(batches)
    assert {'image', 'label'} == set(batch[stream])
    current, measured = run(current, batch, tiny.weights(page))
  terms = {k.removeprefix('loss_') for k in measured if k.startswith('loss_')}
  weights = {k for k in tiny.weights(page) if not k.endswith('_aux')}
  assert terms == weights
  assert all(np.isfinite(v) for v in measured.values())
  assert measured['skipped'] == 0
  # The true labels, which the prepared city has, are nowhere.
  assert (batch[stream]['label'] == 255).mean() > 0.3


def test_a_target_without_pseudo_labels_has_none(streets_data, half):
  """The folder's labels reach their stream alone."""
  sizes = [f'{s}.size=32x64' for s in ('source', 'target')]
  config = tiny.config('advent', *sizes, f'data_dir={streets_data}')
  names = ('source', 'target')

  def batch(folders):
    streams = inputs.open_streams(config, names, folders)
    return next(input_lib.train_batches(streams, seed=0))

  plain, labelled = batch(None), batch({'target': half})
  assert set(plain['target']) == {'image'}
  assert set(labelled['target']) == {'image', 'label'}
  assert tiny.same(labelled['source'], plain['source'])
  np.testing.assert_array_equal(
    labelled['target']['image'], plain['target']['image']
  )
  # Labels that are yet to be made; no true ones in the meantime.
  waiting = batch({'target': half / 'nowhere', 'source': half / 'nowhere'})
  assert set(waiting['target']) == set(waiting['source']) == {'image'}


def test_a_run_is_asked_when_labels_are_missing(
  finished_run, streets_data, tmp_path, capsys
):
  run = shutil.copytree(finished_run.workdir, tmp_path / 'runs' / 'run')
  page = f'{tiny.ROOT}/configs/cbst.py:streets'
  settings = [
    s for s in tiny_runs.SETTINGS if not s.startswith(('patch', 'init'))
  ]
  workdir = tmp_path / 'runs' / 'round'
  arguments = [f'--config={page}', f'--workdir={workdir}'] + [
    f'--config.{s}'
    for s in (
      *settings,
      'steps=2',
      'loss_weights.kld_main=0.01',
      'pseudo.input=32x64',
      f'init={run}',
      f'target.labels={run}',
      f'data_dir={streets_data}',
    )
  ]
  assert tiny_runs.run(*arguments) == 0
  said = capsys.readouterr().out
  [folder] = (run / 'pseudo_labels').iterdir()
  assert f'pseudo labels: {folder}\n' in said
  assert folder.name == 'streets-city-32x64-balanced-input=32,64'
  [row] = [
    row
    for row in workdir_lib.read_metrics(workdir / 'metrics.csv')
    if 'loss_kld_main' in row
  ]
  assert row['loss_kld_main'] > 0 and row['loss_seg_target_main'] > 0
  # They are made once; a process that waited for another finds them there.
  before = folder.stat().st_mtime_ns
  writer.make_for(config_lib.read_run(workdir), 'target', folder)
  assert 'rule balanced' in said
  assert 'rule balanced' not in capsys.readouterr().out
  assert folder.stat().st_mtime_ns == before


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

  monkeypatch.setattr('data.ensure', refuse)  # else it would be rendered
  given = ['pseudo_label', f'--workdir={finished_run.workdir}', *arguments]
  with pytest.raises(SystemExit) as e:
    run_cli(pseudo_label.main, given)
  said = capsys.readouterr().err
  assert e.value.code == 2 and said.startswith('error: ')
  assert re.search(words, said), said
  assert not (finished_run.workdir / 'pseudo_labels').exists()


def test_a_run_without_a_target(finished_run, tmp_path, capsys):
  config = json.loads((finished_run.workdir / 'config.json').read_text())
  del config['target']
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(UserError, match='is a run without a target: nothing to'):
    pseudo_label.main(['pseudo_label', f'--workdir={tmp_path}'])


def test_labels_that_do_not_fit(half, finished_run, tmp_path):
  spec, _, split = CITY
  with pytest.raises(UserError, match=r'of streets/city, train, at 32x64, not'):
    records.open_pseudo(half, spec, (96, 192), split, 'cityscapes19')
  with pytest.raises(
    UserError, match=f'{tmp_path} holds no pseudo labels; `py'
  ):
    records.open_pseudo(tmp_path, *CITY, 'cityscapes19')
  # What has them made again is their own command.
  given = records.open_pseudo(half, *CITY, 'cityscapes19')
  assert (
    given.broken(0, 'is bad')
    .args[0]
    .endswith(
      f'--output={half} --rule=median --scales=1.0 --flip=False '
      '--upsample=probabilities --portion=0.5 --cap=1.0'
    )
  )


@pytest.mark.parametrize(
  ('page', 'override', 'words'),
  [
    ('cbst', 'target.labels=None', r'target\.labels=None: self-training needs'),
    (
      'cbst',
      'grad_accum_steps=2',
      r"grad_accum_steps=2: MRKLD's term is a mean over",
    ),
    ('source_only', 'target.labels=x', 'source_only does not read the target'),
    ('bdl_ssl', 'pseudo.portion=-1.0', 'portion=-1.0 must be from 0 to 1'),
    ('bdl_ssl', 'pseudo.cap=1.5', 'cap=1.5 must be from 0 to 1'),
  ],
)
def test_settings_that_cannot_work(page, override, words):
  config = tiny.config(page, override)
  if page == 'cbst':
    config.loss_weights.kld_main = 0.01
  with pytest.raises(UserError, match=words):
    checks.check(config, sharding.make_mesh())


def test_what_labels_may_name(finished_run, half, tmp_path):
  """A folder of labels, a page, or a run where the page says how."""

  def folder(page, named):
    config = tiny.config(page, f'target.labels={named}')
    return stages.pseudo_folders(config, ['target'], tmp_path / 'run')['target']

  assert folder('advent', half) == half
  run = finished_run.workdir
  name = f'{rules.FOLDER}/streets-city-96x192-median'
  assert folder('bdl_ssl', run) == run / name
  made = folder('bdl_ssl', 'configs/bdl.py:streets')
  assert made == tmp_path / 'bdl-streets-seed=0' / name
  with pytest.raises(UserError, match=r'does not say how .* --workdir='):
    folder('advent', run)
  with pytest.raises(UserError, match='neither a folder of pseudo labels nor'):
    folder('bdl_ssl', tmp_path / 'nothing')


def test_labels_of_an_earlier_checkpoint(finished_run, tmp_path):
  """A run that went on has other labels; they are not taken unseen."""
  run = shutil.copytree(finished_run.workdir, tmp_path / 'run')
  arguments = ['pseudo_label', f'--workdir={run}', '--rule=argmax']
  assert pseudo_label.main([*arguments, '--checkpoint=8']) == 0
  config = tiny.config(
    'bdl_ssl',
    *(f'target.labels={run}', 'pseudo.rule=argmax', 'target.size=32x64'),
  )
  with pytest.raises(
    UserError, match=r'labels of step 8, and .* at step 9: del'
  ):
    stages.pseudo_folders(config, ['target'], tmp_path / 'next')
  [made] = (run / rules.FOLDER).iterdir()
  shutil.rmtree(made)
  assert pseudo_label.main(arguments) == 0
  folders = stages.pseudo_folders(config, ['target'], tmp_path / 'next')
  assert folders == {'target': made}


def test_m0_starts_where_m1_does():
  """`init` of BDL's later stage is also that of the stage before."""
  page = f'{tiny.ROOT}/configs/bdl_ssl.py:streets,init=weights.pth'
  labels = config_lib.load(page).target.labels
  assert labels == 'configs/bdl.py:streets,init=weights.pth'
