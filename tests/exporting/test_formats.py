"""Every kind of network in every format, against what `predict` computes."""

import functools

import jax
import numpy as np
import pytest
import trained
from photo_files import noise

from jaxuda.evaluation import inference
from jaxuda.exporting import formats
from jaxuda.exporting.program import Program

pytestmark = pytest.mark.slow

SIZE, ODD = (64, 96), (75, 66)
TIE = 1e-3
PLAIN = 'model.decoder.multi_level=False'
NETWORKS = {
  'resnet': ('source_only', 'eval.scales=(1.0,1.5)', 'eval.flip=True'),
  'efficientnet': ('source_only:encoder=efficientnet_lite',),
  'vgg16': ('source_only:encoder=vgg16', PLAIN, 'model.encoder.width=8'),
  'mit': (
    'source_only:encoder=mit',
    PLAIN,
    'model.encoder.size=b0',
    'model.decoder.width=32',
  ),
  'dinov2': ('source_only:encoder=dinov2', PLAIN, 'model.encoder.size=s'),
  'hrda': ('hrda', 'eval.window=(64,64)'),
}


def network(name):
  """A run that predicts several classes."""
  spec, *overrides = NETWORKS[name]
  return trained.network(spec, f'eval.size={SIZE}', *overrides)


def probabilities(run, image):
  compute = functools.partial(
    inference.probabilities,
    net=run.net,
    size=image.shape[1:3],
    **inference.protocol(run.config.eval),
  )
  return np.asarray(jax.jit(compute)(run.params, run.batch_stats, image))


def assert_predicts(outputs, p):
  """The ids are the likeliest classes, whatever either is of a tie."""
  *_, second, first = np.sort(p, -1).transpose(3, 0, 1, 2)
  clear = first - second > TIE
  assert clear.mean() > 0.2
  ids = np.asarray(outputs['ids'])
  assert ids.dtype == np.uint8 and len(np.unique(ids)) > 1
  np.testing.assert_array_equal(ids[clear], p.argmax(-1)[clear])
  if 'probabilities' in outputs:
    np.testing.assert_allclose(outputs['probabilities'], p, atol=1e-3)


def written(run, folder, kind, size):
  """The function of a file that is exported."""
  program = Program(run, size, inference.protocol(run.config.eval), True)
  form = formats.load(kind)
  form.write(program, folder / form.FILE)
  return form.load(folder / form.FILE)


@pytest.mark.parametrize('name', ['efficientnet', 'vgg16', 'hrda'])
def test_onnx(name, tmp_path):
  run, image = network(name), noise(*SIZE)[None]
  predict = written(run, tmp_path, 'onnx', SIZE)
  assert_predicts(predict(image), probabilities(run, image))


@pytest.mark.parametrize('name', ['resnet', 'mit', 'dinov2'])
def test_onnx_of_any_size(name, tmp_path):
  """Also of sides that no stride divides."""
  run, image = network(name), noise(*ODD)[None]
  predict = written(run, tmp_path, 'onnx', None)
  assert_predicts(predict(image), probabilities(run, image))
  assert predict(noise(*SIZE)[None])['ids'].shape == (1, *SIZE)


def test_stablehlo_of_any_size(tmp_path):
  run, image = network('vgg16'), noise(*ODD)[None]
  predict = written(run, tmp_path, 'stablehlo', None)
  assert_predicts(predict(image), probabilities(run, image))
