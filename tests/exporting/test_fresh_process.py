"""The programs of docs/export.md, in processes that do not import jaxuda."""

import re
import subprocess
import sys

import numpy as np
import pytest
import tiny
from photo_files import noise, save
from PIL import Image

from jaxuda import experiment, export, labels, predict
from jaxuda.models import segmenter

pytestmark = pytest.mark.slow

SIZE = (64, 96)
PAGE = (tiny.ROOT / 'docs' / 'export.md').read_text()
ASKED = """
import sys
assert 'jaxuda' not in sys.modules
np.save('ids.npy', ids)
"""


def program(title):
  """The program of a section of the page."""
  return re.search(rf'\n## {title}\n\n```python\n(.*?)```', PAGE, re.DOTALL)[1]


@pytest.fixture
def run(monkeypatch):
  config = tiny.config('source_only', f'eval.size={SIZE}', 'eval.flip=True')
  drawn = tiny.drawn(segmenter.abstract(experiment.segmenter(config)))
  found = experiment.from_variables(
    config, drawn['params'], drawn['batch_stats'], 7
  )
  monkeypatch.setattr(experiment, 'load', lambda *arguments: found)
  return found


@pytest.mark.parametrize(
  ('kind', 'title', 'flags'),
  [
    ('stablehlo', 'StableHLO', ['--size=any', '--noprobabilities']),
    ('savedmodel', 'SavedModel', []),
    ('onnx', 'ONNX', []),
  ],
)
def test_a_program_of_the_page(
  kind, title, flags, run, tmp_path, monkeypatch, capsys
):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'data'))
  monkeypatch.chdir(tmp_path)
  save(tmp_path / 'street.png', noise(*SIZE))
  images = ['--images=street.png', '--output=predicted']
  assert predict.main(['predict', '--workdir=runs/mine', *images]) == 0
  [line] = re.findall(rf'^python -m .*--format={kind}$', PAGE, re.MULTILINE)
  assert export.main([*line.split()[2:], *flags]) == 0
  said = capsys.readouterr().out
  assert 'ids equal on' in said and 'milliseconds' in said

  done = subprocess.run(
    [sys.executable, '-I', '-c', program(title) + ASKED],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  ids, expected = (
    np.load('ids.npy'),
    np.asarray(Image.open('predicted/street_ids.png')),
  )
  assert ids.shape == SIZE and len(np.unique(ids)) > 1
  assert (ids == expected).mean() > 0.999  # all but ties, which others count
  colors = np.asarray(Image.open('street_color.png'))
  np.testing.assert_array_equal(colors, labels.colorize(ids, run.space))
