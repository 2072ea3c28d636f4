"""What is refused, what is left behind, and what labels.json says."""

import dataclasses
import errno
import json
import sys

import numpy as np
import prepared
import pytest
import trained

from jaxuda import export, labels
from jaxuda.exporting import check, exporter, formats
from jaxuda.utils.errors import UserError


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'data'))


def network(*overrides, spec='source_only'):
  return trained.network(spec, 'eval.size=64x96', *overrides)


def refused(folder, run, kind='onnx', **settings):
  """The sentence, after which nothing is written."""
  before = sorted(folder.rglob('*'))
  with pytest.raises(UserError) as caught:
    exporter.export_run(run, folder / 'out', kind, **settings)
  assert sorted(folder.rglob('*')) == before
  return str(caught.value)


@pytest.fixture
def written(monkeypatch):
  """written(change) replaces all that compiles by constants.

  The run predicts the same everywhere, the file what `change` makes of it.
  Returns the shapes of the images that were compared.
  """
  form = formats.load('onnx')

  def patch(change=lambda outputs: outputs):
    shapes = []

    def expected(image):
      p = np.full((*image.shape[:3], 19), 0.01, np.float32)
      p[..., 3], p[:, :, ::2, 5] = 0.8, 0.9
      return p

    def found(image):
      shapes.append(image.shape)
      p = expected(image)
      return change({'ids': p.argmax(-1), 'probabilities': p})

    monkeypatch.setattr(check, 'reference', lambda program: expected)
    monkeypatch.setattr(form, 'write', lambda program, path: path.touch())
    monkeypatch.setattr(form, 'load', lambda path: found)
    return shapes

  return patch


def test_labels_json(written, tmp_path):
  written()
  run = network('eval.flip=True')
  exporter.export_run(run, tmp_path / 'out', 'onnx', probabilities=False)
  assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
    'labels.json',
    'model.onnx',
  ]
  assert [path.name for path in tmp_path.iterdir()] == ['out']
  said = json.loads((tmp_path / 'out' / 'labels.json').read_text())
  assert said['class_space'] == 'cityscapes19'
  assert said['classes'][13] == {
    'index': 13,
    'id': 26,  # in Cityscapes' label files
    'name': 'car',
    'color': [0, 0, 142],
  }
  assert said['input']['shape'] == [1, 64, 96, 3]
  assert said['outputs'] == {'ids': {'type': 'uint8', 'shape': [1, 64, 96]}}
  assert said['run']['step'] == 7 and said['run']['flip'] is True


def test_a_table_s_place_is_not_told(tmp_path):
  path = tmp_path / 'harbour.toml'
  path.write_text('classes = [{ name = "a", id = 4 }, { name = "b", id = 2 }]')
  said = labels.describe(labels.space(str(path)))
  assert said['class_space'] == 'harbour.toml'
  assert [(c['index'], c['id']) for c in said['classes']] == [(0, 4), (1, 2)]


@pytest.mark.parametrize('size', [(32, 48), (96, 70)])
def test_any_size_is_tried_at_sizes_that_the_file_takes(
  size, written, tmp_path
):
  shapes = written()
  run = trained.network('source_only', f'eval.size={size}')
  exporter.export_run(run, tmp_path / 'out', 'onnx', size='any')
  assert all(min(shape[1:3]) >= 64 for shape in shapes)
  assert {shape[1:3] for shape in shapes} >= (
    {(64, 64), (64, 73)} if size == (32, 48) else {size, (145, 106)}
  )


@pytest.mark.parametrize('broken', [False, True])
def test_the_target_s_image_is_as_the_run_has_read_it(
  broken, written, tmp_path, monkeypatch, capsys
):
  """Whatever files have come since; without it patches do."""
  written()
  example = prepared.noise(0)

  class Records:
    def parse(self, index):
      return example

  def opened(*arguments, resumed):
    assert resumed
    if broken:
      raise UserError('it is damaged')
    return Records()

  monkeypatch.setattr(exporter.specs, 'is_prepared', lambda folder: True)
  monkeypatch.setattr(exporter, 'open_records', opened)
  exporter.export_run(network(), tmp_path / 'out', 'onnx')
  shown = 'coloured patches' if broken else 'an image of streets/city'
  assert f'({shown})' in capsys.readouterr().out


def test_a_full_disk(written, tmp_path, monkeypatch):
  written()

  def write(program, path):
    path.touch()
    raise OSError(errno.ENOSPC, 'No space left on device', str(path))

  monkeypatch.setattr(formats.load('onnx'), 'write', write)
  sentence = refused(tmp_path, network())
  assert sentence.endswith('model.onnx: cannot write: no space is left.')


def test_the_folder_that_one_is_in(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=r'--output=\. is the folder you are'):
    exporter.export_run(network(), '.', 'onnx')


def test_an_output_that_is_there(tmp_path):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / 'mine').touch()
  assert 'is there and not an empty folder' in refused(tmp_path, network())
  (tmp_path / 'out' / 'mine').unlink()
  (tmp_path / 'out').rmdir()
  (tmp_path / 'out').touch()
  assert 'is there and not an empty folder' in refused(tmp_path, network())


@pytest.mark.parametrize(
  ('spec', 'override', 'size', 'words'),
  [
    ('source_only', 'eval.window=(32,32)', 'any', 'slides windows'),
    ('hrda', 'eval.split=val', 'any', 'slides windows'),
    ('hrda', 'eval.split=val', (63, 96), 'sides that divide by 2'),
  ],
)
def test_sizes_that_a_network_does_not_take(
  spec, override, size, words, tmp_path
):
  run = network(override, spec=spec)
  assert words in refused(tmp_path, run, size=size)


def test_a_run_without_a_size(tmp_path):
  run = network()
  config = run.config.copy_and_resolve_references()
  run = dataclasses.replace(run, config=config)
  with run.config.unlocked(), run.config.ignore_type():
    run.config.eval.size = run.config.target.size = None
  assert '--size=HxW, or --size=any' in refused(tmp_path, run)


def test_a_package_that_is_missing(tmp_path, monkeypatch):
  monkeypatch.delitem(sys.modules, 'jaxuda.exporting.formats.onnx', False)
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  sentence = refused(tmp_path, network())
  assert sentence.startswith('--format=onnx needs the package onnxruntime: pip')


def roll(outputs):
  return outputs | {'ids': np.roll(outputs['ids'], 1, 2)}


def shift(outputs):
  return outputs | {'probabilities': outputs['probabilities'] + 2e-3}


def spoil(outputs):
  p = outputs['probabilities'].copy()
  p[0, 0, 0, 0] = np.nan
  return outputs | {'probabilities': p}


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    (roll, 'ids equal on 0 pixels of 6,144, 0 ties'),
    (shift, 'probabilities within 2e-03'),
    (spoil, 'probabilities within nan'),
  ],
)
def test_a_file_that_predicts_something_else(change, words, written, tmp_path):
  written(change)
  sentence = refused(tmp_path, network())
  assert sentence.startswith('model.onnx does not predict what the run does: ')
  assert words in sentence


def test_a_primitive_without_an_operator(tmp_path, monkeypatch):
  form = formats.load('onnx')

  def translate(*arguments):
    raise NotImplementedError('sort')

  monkeypatch.setattr(form, 'translate', translate)
  sentence = refused(tmp_path, network())
  assert sentence.startswith('--format=onnx has no operator for sort')


def test_ties_are_told_from_differences():
  p = np.zeros((1, 1, 4, 3), np.float32)
  p[..., 0], p[..., 1] = 0.5, [0.5, 0.4995, 0.25, 0.25]
  found = {
    'ids': np.array([[[1, 1, 1, 0]]], np.uint8),
    'probabilities': p + np.float32(0.25),
  }
  compared = check.compare(lambda image: p, lambda image: found, [None])
  assert compared == check.Agreement(4, 3, 2, pytest.approx(0.25))
  assert not compared.equal


def test_a_run_that_predicts_nan_is_not_equal():
  p = np.full((1, 1, 2, 3), np.nan, np.float32)
  found = {'ids': p.argmax(-1)}
  compared = check.compare(lambda image: p, lambda image: found, [None])
  assert compared == check.Agreement(2, 2, 0, None) and not compared.equal


@pytest.mark.parametrize(
  ('flags', 'words'),
  [
    ([], '--workdir is needed'),
    (['--workdir=x', '--output=y'], '--format is needed'),
    (['--format=torch'], 'stablehlo'),
    (
      ['--workdir=x', '--output=y', '--format=onnx', '--size=full'],
      '--size=full',
    ),
    (
      ['--workdir=x', '--output=y', '--format=onnx', '--size=9'],
      'neither HEIGHTxWIDTH',
    ),
  ],
)
def test_wrong_flags(flags, words):
  with pytest.raises(UserError, match=words):
    export.main(['export', *flags])


def test_what_cannot_be_is_told_before_a_run_is_read(tmp_path, monkeypatch):
  (tmp_path / 'mine').touch()
  flags = ['--workdir=none', f'--output={tmp_path}', '--format=onnx']
  with pytest.raises(UserError, match='not an empty folder'):
    export.main(['export', *flags])
  monkeypatch.setitem(sys.modules, 'onnx', None)
  with pytest.raises(UserError, match='needs the package onnx:'):
    export.main(['export', *flags])


def test_the_flag_lists_the_formats():
  from jaxuda.utils import names

  assert sorted(export.FORMATS) == names.modules(formats)
