"""The files that are read and written in prediction, and its command line."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import tiny
from photo_files import noise, save
from PIL import Image
from predicted import network, plain, written

from jaxuda import experiment, labels, predict
from jaxuda.datasets import photos
from jaxuda.evaluation import predictor
from jaxuda.evaluation.prediction import predict_images
from jaxuda.evaluation.predictor import Predictor
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

SPACE = labels.space('cityscapes19')


def test_images_of_all_kinds_and_sizes(tmp_path):
  folder = tmp_path / 'in'
  rgb = noise(40, 70)
  save(folder / 'rgb.jpg', rgb)
  save(folder / 'one.bmp', noise(1, 1))
  save(folder / 'deep' / 'er' / 'grey.png', rgb, 'L')
  save(folder / 'deep' / 'bits.png', rgb, '1')
  save(folder / 'palette.PNG', rgb, 'P')
  save(folder / 'cmyk.jpeg', rgb, 'CMYK')
  save(folder / 'alpha.webp', noise(40, 70, 4))
  save(folder / 'grey_alpha.png', rgb, 'LA')
  save(folder / 'sixteen.png', noise(40, 70, 0).astype(np.uint16) * 257)
  save(folder / 'tall.png', noise(300, 3))
  exif = Image.Exif()
  exif[0x0112] = 6  # the camera was turned
  save(folder / 'turned.png', rgb, exif=exif)
  (folder / 'notes.txt').write_text('not an image, and not listed')
  (folder / '._rgb.jpg').write_bytes(b'what a Mac leaves behind')
  found = photos.find(folder)
  predict_images(plain(), found, tmp_path / 'out')
  names = {
    'rgb', 'one', 'deep/er/grey', 'deep/bits', 'palette', 'cmyk', 'alpha',
    'grey_alpha', 'sixteen', 'tall', 'turned',
  }  # fmt: skip
  assert {photo.name for photo in found} == names
  sizes = {'one': (1, 1), 'tall': (300, 3), 'turned': (70, 40)}
  for name in names:
    for picture in written(tmp_path / 'out', name).values():
      assert picture.shape[:2] == sizes.get(name, (40, 70))
  files = [p for p in (tmp_path / 'out').rglob('*') if p.is_file()]
  assert len(files) == 4 * len(names) + 2


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  save(tmp_path / 'in' / 'a.png', noise(20, 30))

  def load(workdir, checkpoint, which):
    assert workdir == str(tmp_path / 'run')
    assert (checkpoint, which) == ('latest', None)
    return network()

  monkeypatch.setattr(experiment, 'load', load)
  flags = ['--workdir=~/run', '--images=~/in', '--output=~/out']
  assert predict.main(['predict', *flags]) == 0
  written(tmp_path / 'out', 'a')


def test_unreadable_files_are_reported_and_the_others_written(tmp_path):
  folder = tmp_path / 'in'
  good = [save(folder / f'{n}.png', noise(20, 30)) for n in 'ac']
  whole = save(tmp_path / 'whole.jpg', noise(64, 64)).read_bytes()
  (folder / 'b.jpg').write_bytes(whole[: len(whole) // 2])
  (folder / 'd.png').write_text('no image')
  (folder / 'e.webp').touch()
  with pytest.raises(UserError) as caught:
    predict_images(plain(), photos.find(folder), tmp_path / 'out')
  message = str(caught.value)
  assert message.startswith('3 of 5 files cannot be read as images')
  for name in ('b.jpg: ', 'd.png: ', 'e.webp: '):
    assert f'{folder / name}' in message
  for path in good:
    written(tmp_path / 'out', path.stem)
  assert len(list((tmp_path / 'out').iterdir())) == 8 + 2


def test_where_predictions_go(tmp_path):
  image = save(tmp_path / 'in' / 'a.png', noise(4, 4))
  with pytest.raises(UserError, match=r'--output=.*a\.png.* is not writable'):
    predict_images(plain(), photos.find(image), image)
  # Predictions inside the folder of images are not images of the next time.
  inside = tmp_path / 'in' / 'out'
  predict_images(plain(), photos.find(tmp_path / 'in', inside), inside)
  again = photos.find(tmp_path / 'in', without=inside)
  assert [photo.name for photo in again] == ['a']


def test_an_output_that_fails_midway_stops_with_a_sentence(tmp_path):
  for name in 'ab':
    save(tmp_path / 'in' / f'{name}.png', noise(4, 4))
  (tmp_path / 'out' / 'a_overlay.png').mkdir(parents=True)
  with pytest.raises(UserError, match=r'cannot write .*a_overlay\.png'):
    predict_images(plain(), photos.find(tmp_path / 'in'), tmp_path / 'out')


def test_ids_alone(tmp_path):
  found = photos.find(save(tmp_path / 'a.png', noise(20, 30)))
  predict_images(plain(), found, tmp_path / 'out', ids_only=True)
  names = {path.name for path in (tmp_path / 'out').iterdir()}
  assert names == {'a_ids.png', 'labels.json'}


def test_a_legend_is_beside_the_predictions(tmp_path):
  found = photos.find(save(tmp_path / 'a.png', noise(20, 30)))
  predict_images(plain(), found, tmp_path)
  said = json.loads((tmp_path / 'labels.json').read_text())
  assert [row['name'] for row in said['classes']] == list(SPACE.classes)
  assert [row['color'] for row in said['classes']] == SPACE.colors.tolist()
  legend = np.asarray(Image.open(tmp_path / 'legend.png').convert('RGB'))
  shown = {tuple(color) for color in legend.reshape(-1, 3)}
  assert {tuple(color) for color in SPACE.colors} <= shown


def test_flags_reach_the_network(tmp_path, monkeypatch):
  save(tmp_path / 'in' / 'a.png', noise(20, 30))
  monkeypatch.setattr(experiment, 'load', lambda *arguments: network())
  given = {}

  class Seen(Predictor):
    def __init__(self, run, **settings):
      given.update(settings)
      super().__init__(run)

  monkeypatch.setattr(predictor, 'Predictor', Seen)
  flags = [
    '--workdir=run',
    f'--images={tmp_path}/in/*.png',
    f'--output={tmp_path}/out',
    '--size=64x96',
    '--window=full',
    '--batch_size=3',
    '--flip',
    '--ids_only',
  ]
  assert predict.main(['predict', *flags]) == 0
  assert given == {
    'size': (64, 96),
    'window': (0, 0),
    'batch_size': 3,
    'flip': True,
    'scales': None,
  }
  names = {path.name for path in (tmp_path / 'out').iterdir()}
  assert names == {'a_ids.png', 'labels.json'}


def test_nothing_is_loaded_where_nothing_can_be_written(tmp_path, monkeypatch):
  """And no folder is left where there is no run."""
  save(tmp_path / 'a.png', noise(4, 4))
  flags = ['--workdir=none', f'--images={tmp_path}/a.png']
  with pytest.raises(UserError, match=r'--output=.*a\.png/x is not writable'):
    predict.main(['predict', *flags, f'--output={tmp_path}/a.png/x'])
  with pytest.raises(UserError, match='none'):
    predict.main(['predict', *flags, f'--output={tmp_path}/out/deep'])
  assert [path.name for path in tmp_path.iterdir()] == ['a.png']
  (tmp_path / 'a.mov').touch()
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  with pytest.raises(UserError, match='videos need the package imageio-ffmpeg'):
    predict.main(['predict', flags[0], f'--images={tmp_path}', '--output=out'])


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (['--pictures=x'], "Unknown command line flag 'pictures'"),
    (['--workdir=x'], '--images is needed'),
    (
      ['--workdir=x', '--images=x', '--output=y', '--scales=1,two'],
      '--scales takes numbers',
    ),
    (
      ['--workdir=x', '--images=x', '--output=y', '--batch_size=0'],
      '--batch_size=0 must be at least 1',
    ),
  ],
)
def test_wrong_flags(arguments, said):
  with pytest.raises(UserError, match=said):
    predict.main(['predict', *arguments])


def seconds_of_children():
  """CPU time: the clock's depends on what else the machine does."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def test_the_command_line_is_quick():
  """It ends before jax is imported, and imports no TensorFlow."""
  start = seconds_of_children()
  out = subprocess.run(
    [sys.executable, '-m', 'jaxuda.predict', '--help'],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
  )
  assert seconds_of_children() - start < 2
  assert '--images' in out.stdout and out.returncode == 0


def test_import_needs_no_tensorflow():
  code = (
    'import sys, jaxuda.predict, jaxuda.evaluate, jaxuda.evaluation.prediction;'
    'print([m for m in ("tensorflow", "clu") if m in sys.modules])'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
