"""Prediction on images of any kind, by a small random network."""

import functools
import resource
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
from photo_files import noise, save
from PIL import Image

from jaxuda import experiment, labels, predict
from jaxuda.datasets import photos
from jaxuda.evaluation import prediction
from jaxuda.models import segmenter
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

KINDS = ('ids', 'color', 'overlay', 'entropy')
SPACE = labels.space('cityscapes19')


def network(*overrides):
  """A run of the tiny network, of random weights with a clear opinion."""
  config = tiny.config('source_only', 'eval.size=32x64', *overrides)
  drawn = tiny.drawn(segmenter.abstract(experiment.segmenter(config)))
  params = drawn['params']
  params['decoder'] = jax.tree.map(lambda x: 10 * x, params['decoder'])
  return experiment.from_variables(config, params, drawn['batch_stats'], 0)


@pytest.fixture(scope='module')
def run():
  return network()


def written(folder, name):
  pictures = {k: Image.open(folder / f'{name}_{k}.png') for k in KINDS}
  modes = {k: picture.mode for k, picture in pictures.items()}
  assert modes == {
    'ids': 'L',
    'color': 'RGB',
    'overlay': 'RGB',
    'entropy': 'RGB',
  }
  return {k: np.asarray(picture) for k, picture in pictures.items()}


@functools.partial(jax.jit, static_argnums=0)
def apply(net, variables, image):
  return net.apply(variables, image, train=False)


def by_hand(run, image, size):
  """Probabilities f64[h, w, C] by NumPy, from the logits."""
  height, width = run.config.eval.size or image.shape[:2]
  small = Image.fromarray(image).resize((width, height), Image.BICUBIC)
  variables = {'params': run.params, 'batch_stats': run.batch_stats}
  logits = apply(run.net, variables, np.asarray(small)[None]).logits['main']
  logits = np.asarray(logits[0], np.float64)
  for axis, side in enumerate(size):
    at = np.linspace(0, logits.shape[axis] - 1, side)
    low = np.minimum(at.astype(int), max(logits.shape[axis] - 2, 0))
    high = np.minimum(low + 1, logits.shape[axis] - 1)
    part = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
    logits = (
      logits.take(low, axis) * (1 - part) + logits.take(high, axis) * part
    )
  p = np.exp(logits - logits.max(-1, keepdims=True))
  return p / p.sum(-1, keepdims=True)


def test_ids_are_the_argmax_and_colours_the_table(run, tmp_path, capsys):
  image = noise(50, 90)
  save(tmp_path / 'in' / 'a.png', image)
  found = photos.find(tmp_path / 'in')
  shares = prediction.predict_images(run, found, tmp_path / 'out')
  out = written(tmp_path / 'out', 'a')

  p = by_hand(run, image, (50, 90))
  top = np.sort(p, -1)
  clear = top[..., -1] - top[..., -2] > 1e-3
  assert clear.mean() > 0.9
  ids = out['ids']
  assert len(np.unique(ids)) > 2
  np.testing.assert_array_equal(ids[clear], p.argmax(-1)[clear])
  np.testing.assert_array_equal(out['color'], SPACE.colors[ids])
  half = (image.astype(int) + SPACE.colors[ids]) / 2
  assert np.abs(out['overlay'] - half).max() <= 0.5
  # viridis' green channel rises with its argument, here the entropy.
  entropy = -(p * np.log(p + 1e-30)).sum(-1) / np.log(19)
  green = out['entropy'][..., 1].astype(float)
  assert np.corrcoef(entropy.ravel(), green.ravel())[0, 1] > 0.98

  np.testing.assert_allclose(
    shares, np.bincount(ids.ravel(), minlength=19) / ids.size
  )
  line = capsys.readouterr().out.splitlines()[-1]
  first = shares.argmax()
  assert line.startswith(f'1 images in {tmp_path / "out"}: ')
  assert f': {SPACE.classes[first]} {shares[first]:.1%}' in line


def test_images_of_all_kinds_and_sizes(run, tmp_path):
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
  prediction.predict_images(run, found, tmp_path / 'out')
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
  assert len(files) == 4 * len(names)


def test_a_tilde_is_the_home_folder(run, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  save(tmp_path / 'in' / 'a.png', noise(20, 30))

  def load(workdir, checkpoint, network):
    assert workdir == str(tmp_path / 'run')
    assert (checkpoint, network) == ('latest', None)
    return run

  monkeypatch.setattr(experiment, 'load', load)
  flags = ['--workdir=~/run', '--images=~/in', '--output=~/out']
  assert predict.main(['predict', *flags]) == 0
  written(tmp_path / 'out', 'a')


def test_unreadable_files_are_reported_and_the_others_written(run, tmp_path):
  folder = tmp_path / 'in'
  good = [save(folder / f'{n}.png', noise(20, 30)) for n in 'ac']
  whole = save(tmp_path / 'whole.jpg', noise(64, 64)).read_bytes()
  (folder / 'b.jpg').write_bytes(whole[: len(whole) // 2])
  (folder / 'd.png').write_text('no image')
  (folder / 'e.webp').touch()
  with pytest.raises(UserError) as caught:
    prediction.predict_images(run, photos.find(folder), tmp_path / 'out')
  message = str(caught.value)
  assert message.startswith('3 of 5 files cannot be read as images')
  for name in ('b.jpg: ', 'd.png: ', 'e.webp: '):
    assert f'{folder / name}' in message
  for path in good:
    written(tmp_path / 'out', path.stem)
  assert len(list((tmp_path / 'out').iterdir())) == 8


def test_where_predictions_go(run, tmp_path):
  image = save(tmp_path / 'in' / 'a.png', noise(4, 4))
  with pytest.raises(UserError, match=r'--output=.*a\.png.* is not writable'):
    prediction.predict_images(run, photos.find(image), image)
  # Predictions inside the folder of images are not images of the next time.
  inside = tmp_path / 'in' / 'out'
  prediction.predict_images(run, photos.find(tmp_path / 'in', inside), inside)
  again = photos.find(tmp_path / 'in', without=inside)
  assert [photo.name for photo in again] == ['a']


def test_an_output_that_fails_midway_stops_with_a_sentence(run, tmp_path):
  for name in 'ab':
    save(tmp_path / 'in' / f'{name}.png', noise(4, 4))
  (tmp_path / 'out' / 'a_overlay.png').mkdir(parents=True)
  with pytest.raises(UserError, match=r'cannot write .*a_overlay\.png'):
    prediction.predict_images(
      run, photos.find(tmp_path / 'in'), tmp_path / 'out'
    )


def test_scales_and_flip_reach_the_network(run, tmp_path):
  image = noise(32, 64)
  found = photos.find(save(tmp_path / 'a.png', image))
  prediction.predict_images(run, found, tmp_path, flip=True)
  both = by_hand(run, image, (32, 64))
  both = both + by_hand(run, image[:, ::-1], (32, 64))[:, ::-1]
  top = np.sort(both, -1)
  clear = top[..., -1] - top[..., -2] > 1e-3
  ids = written(tmp_path, 'a')['ids']
  np.testing.assert_array_equal(ids[clear], both.argmax(-1)[clear])
  prediction.predict_images(run, found, tmp_path, scales=(0.5, 1.0))
  assert (written(tmp_path, 'a')['ids'] != ids).any()


def test_large_images_are_segmented_smaller(run, tmp_path, monkeypatch):
  assert prediction.within((1024, 2048), prediction.MAX_PIXELS) == (1024, 2048)
  assert prediction.within((3000, 4000), 1_200_000) == (948, 1264)
  assert prediction.within((1, 10**9), 100) == (1, 100)
  image = noise(80, 160)
  found = photos.find(save(tmp_path / 'a.png', image))
  monkeypatch.setattr(prediction, 'MAX_PIXELS', 40 * 80)
  prediction.predict_images(run, found, tmp_path)
  out = written(tmp_path, 'a')
  assert out['entropy'].shape == (80, 160, 3)
  small = by_hand(run, image, (40, 80)).argmax(-1)
  # Each of its pixels became two by two.
  assert (out['ids'] == small.repeat(2, 0).repeat(2, 1)).mean() > 0.999


def test_without_an_evaluation_size_images_keep_theirs(tmp_path):
  run = network('eval.size=None')
  image = noise(80, 96)
  found = photos.find(save(tmp_path / 'a.png', image))
  prediction.predict_images(run, found, tmp_path)
  ids = by_hand(run, image, (80, 96)).argmax(-1)
  assert (written(tmp_path, 'a')['ids'] == ids).mean() > 0.99
  found = photos.find(save(tmp_path / 'dot.png', noise(1, 2)))
  prediction.predict_images(run, found, tmp_path, scales=(0.1, 1.0))
  assert written(tmp_path, 'dot')['ids'].shape == (1, 2)


def seconds_of_children():
  """CPU time: the clock's depends on what else the machine does."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (['--help'], '--images'),
    (['--pictures=x'], "error: Unknown command line flag 'pictures'"),
    (['--workdir=x'], 'error: --images is needed'),
    (
      ['--workdir=x', '--images=x', '--output=y', '--scales=1,two'],
      'error: --scales takes numbers',
    ),
  ],
)
def test_the_command_line_is_quick(arguments, said):
  start = seconds_of_children()
  out = subprocess.run(
    [sys.executable, '-m', 'jaxuda.predict', *arguments],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
  )
  assert seconds_of_children() - start < 2
  assert said in out.stdout + out.stderr
  assert 'Traceback' not in out.stderr
  assert out.returncode == (0 if arguments == ['--help'] else 2)


def test_import_needs_no_tensorflow():
  code = (
    'import sys, jaxuda.predict, jaxuda.evaluate, jaxuda.evaluation.prediction;'
    'print([m for m in ("tensorflow", "clu") if m in sys.modules])'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
