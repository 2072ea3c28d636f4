"""What is refused, what is left behind, and what labels.json says."""

import json
import sys

import numpy as np
import pytest
import tiny

from jaxuda import experiment, export
from jaxuda.exporting import check, exporter, formats
from jaxuda.models import segmenter
from jaxuda.utils.errors import UserError


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'data'))


def network(*overrides, spec='source_only'):
  config = tiny.config(spec, 'eval.size=64x96', *overrides)
  drawn = tiny.drawn(segmenter.abstract(experiment.segmenter(config)))
  return experiment.from_variables(
    config, drawn['params'], drawn['batch_stats'], 7
  )


def refused(folder, run, kind='onnx', **settings):
  """The sentence, after which nothing is written."""
  before = sorted(folder.rglob('*'))
  with pytest.raises(UserError) as caught:
    exporter.export_run(run, folder / 'out', kind, **settings)
  assert sorted(folder.rglob('*')) == before
  return str(caught.value)


@pytest.mark.slow
def test_labels_json(tmp_path):
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
    'id': 13,
    'name': 'car',
    'color': [0, 0, 142],
  }
  assert said['input']['shape'] == [1, 64, 96, 3]
  assert said['outputs'] == {'ids': {'type': 'uint8', 'shape': [1, 64, 96]}}
  assert said['run']['step'] == 7 and said['run']['flip'] is True


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
  with run.config.unlocked(), run.config.ignore_type():
    run.config.eval.size = run.config.target.size = None
  assert '--size=HxW, or --size=any' in refused(tmp_path, run)


def test_a_package_that_is_missing(tmp_path, monkeypatch):
  monkeypatch.delitem(sys.modules, 'jaxuda.exporting.formats.onnx', False)
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  sentence = refused(tmp_path, network())
  assert sentence.startswith('--format=onnx needs the package onnxruntime: pip')


@pytest.mark.slow
def test_a_file_that_predicts_something_else(tmp_path, monkeypatch):
  form = formats.load('onnx')
  load = form.load

  def wrong(path):
    predict = load(path)
    return lambda image: {
      name: np.roll(array, 1, 1) for name, array in predict(image).items()
    }

  monkeypatch.setattr(form, 'load', wrong)
  assert 'does not predict what the run does' in refused(tmp_path, network())


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


def test_the_flag_lists_the_formats():
  from jaxuda.utils import names

  assert sorted(export.FORMATS) == names.modules(formats)
