"""docs/export.md in one folder: its commands, then its programs.

Those run in processes that do not import jaxuda, on a photograph of another
size than the files'.
"""

import functools
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
import trained
from photo_files import noise, save
from PIL import Image

from jaxuda import experiment, export, labels, predict
from jaxuda.evaluation import inference

pytestmark = pytest.mark.slow

SIZE, PHOTO = (64, 96), (90, 150)
TIE = 1e-3
PAGE = (tiny.ROOT / 'docs' / 'export.md').read_text()
TITLES = {'stablehlo': 'StableHLO', 'savedmodel': 'SavedModel', 'onnx': 'ONNX'}
# One of the files takes any size, and has no probabilities.
FLAGS = {'savedmodel': ['--size=any', '--noprobabilities']}
ASKED = """
import sys
assert 'jaxuda' not in sys.modules
np.save('ids.npy', ids)
"""


def program(title):
  """The program of a section of the page."""
  return re.search(rf'\n## {title}\n\n```python\n(.*?)```', PAGE, re.DOTALL)[1]


def commands():
  """The arguments of the page's commands."""
  found = re.findall(r'^python -m (jaxuda\.export .*)$', PAGE, re.MULTILINE)
  return [line.split() for line in found]


def expected(run, image):
  """Class indices, and where they are no ties, by JAX alone."""
  compute = jax.jit(
    functools.partial(
      inference.probabilities,
      net=run.net,
      size=image.shape[:2],
      **inference.protocol(run.config.eval),
    )
  )
  p = np.asarray(compute(run.params, run.batch_stats, image[None]))[0]
  *_, second, first = np.moveaxis(np.sort(p, -1), -1, 0)
  return p.argmax(-1).astype(np.uint8), first - second > TIE


def resized(array, size, method=Image.Resampling.NEAREST):
  return np.asarray(Image.fromarray(array).resize(size[::-1], method))


def assert_equal(ids, wanted, clear):
  """On all pixels but ties; several classes are predicted."""
  assert ids.shape == wanted.shape and len(np.unique(ids)) > 1
  assert clear.mean() > 0.5
  np.testing.assert_array_equal(ids[clear], wanted[clear])


def assert_predicts(kind, wanted, clear):
  """A program of the page, and what its labels.json says of the classes."""
  done = subprocess.run(
    [sys.executable, '-I', '-c', program(TITLES[kind]) + ASKED],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  ids = np.load('ids.npy')
  assert_equal(ids, wanted, clear)
  colors = np.asarray(Image.open('street_color.png'))
  space = labels.space('cityscapes19')
  np.testing.assert_array_equal(colors, labels.colorize(ids, space))


def test_the_page(tmp_path, monkeypatch, capsys):
  run = trained.network('source_only', f'eval.size={SIZE}')
  monkeypatch.setattr(experiment, 'load', lambda *arguments: run)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'data'))
  monkeypatch.chdir(tmp_path)
  photo = noise(*PHOTO)
  save(tmp_path / 'street.png', photo)
  small = resized(photo, SIZE, Image.Resampling.BICUBIC)
  save(tmp_path / 'small.png', small)

  at_size = expected(run, small)
  images = ['--images=small.png', '--output=predicted', '--ids_only']
  assert predict.main(['predict', '--workdir=runs/mine', *images]) == 0
  assert_equal(np.asarray(Image.open('predicted/small_ids.png')), *at_size)

  kinds = [command[-1].removeprefix('--format=') for command in commands()]
  assert kinds == [*TITLES]
  for kind, command in zip(kinds, commands(), strict=True):
    assert export.main([*command, *FLAGS.get(kind, [])]) == 0
    said = capsys.readouterr().out
    assert 'ids equal on' in said and 'milliseconds' in said
    shape = json.loads((tmp_path / f'exported/{kind}/labels.json').read_text())
    sides = [None, None] if kind in FLAGS else [*SIZE]
    assert shape['input']['shape'] == [1, *sides, 3]
  assert sorted(os.listdir('exported')) == sorted(kinds)
  enlarged = [resized(array, PHOTO) for array in at_size]
  for kind in kinds:
    wanted = expected(run, photo) if kind in FLAGS else enlarged
    assert_predicts(kind, *wanted)
