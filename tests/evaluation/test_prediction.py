"""Prediction on images of any kind, by a small random network."""

import dataclasses
import functools
import pathlib
import resource
import subprocess
import sys

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from jaxuda import experiment, labels, predict
from jaxuda.evaluation import photos, prediction
from jaxuda.models import deeplab
from jaxuda.utils.errors import UserError

KINDS = ('ids', 'color', 'overlay', 'entropy')
SPACE = labels.space('cityscapes19')


@pytest.fixture(scope='module')
def run():
  net = deeplab.DeepLabV2(
    19, blocks=(1, 1, 1, 1), width=4, dilations=(1, 2), kernel_init='he'
  )
  image = jax.ShapeDtypeStruct((1, 32, 64, 3), np.uint8)
  shapes = jax.eval_shape(
    functools.partial(net.init, train=False), jax.random.key(0), image
  )
  rng = np.random.default_rng(0)

  def fill(path, leaf):
    """Kernels that keep the variance; a head whose answers differ."""
    if path[-1].key == 'kernel':
      gain = 2 if 'backbone' in str(path) else 3e-4
      std = (gain / np.prod(leaf.shape[:-1])) ** 0.5
      return (std * rng.normal(size=leaf.shape)).astype(np.float32)
    one = path[-1].key in ('scale', 'var')
    return np.full(leaf.shape, float(one), np.float32)

  variables = jax.tree_util.tree_map_with_path(fill, shapes)
  config = ConfigDict(
    {
      'eval': {
        'size': (32, 64),
        'scales': (1.0,),
        'flip': False,
        'average': 'probabilities',
        'upsample': 'logits',
      }
    }
  )
  params, batch_stats = variables['params'], variables['batch_stats']
  return experiment.Run(config, net, params, batch_stats, 0, SPACE, SPACE)


def noise(height, width, channels=3, seed=0):
  shape = (height, width, channels) if channels else (height, width)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, array, mode=None, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path, **options)
  return path


def answers(folder, name):
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
  """Probabilities f64[h, w, C] without predict.py: NumPy from the logits."""
  height, width = run.config.eval.size or image.shape[:2]
  small = Image.fromarray(image).resize((width, height), Image.BICUBIC)
  variables = {'params': run.params, 'batch_stats': run.batch_stats}
  logits, _ = apply(run.net, variables, np.asarray(small)[None])
  logits = np.asarray(logits['main'][0], np.float64)
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
  out = answers(tmp_path / 'out', 'a')

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
  (folder / 'notes.txt').write_text('not an image, and not listed')
  (folder / '._rgb.jpg').write_bytes(b'what a Mac leaves behind')
  found = photos.find(folder)
  prediction.predict_images(run, found, tmp_path / 'out')
  names = {
    'rgb', 'one', 'deep/er/grey', 'deep/bits', 'palette', 'cmyk', 'alpha',
    'grey_alpha', 'sixteen', 'tall',
  }  # fmt: skip
  assert {photo.name for photo in found} == names
  sizes = {'one': (1, 1), 'tall': (300, 3)}
  for name in names:
    for picture in answers(tmp_path / 'out', name).values():
      assert picture.shape[:2] == sizes.get(name, (40, 70))
  written = [p for p in (tmp_path / 'out').rglob('*') if p.is_file()]
  assert len(written) == 4 * len(names)


def test_reading_by_hand(tmp_path):
  """Each mode's pixels, from what the files were written with."""
  rgb = noise(6, 4)
  save(tmp_path / 'rgb.png', rgb)
  np.testing.assert_array_equal(photos.read(tmp_path / 'rgb.png'), rgb)

  # 16-bit grey: 0..65535 to 0..255, rounded.
  values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
  save(tmp_path / 'grey16.png', values)
  grey = photos.read(tmp_path / 'grey16.png')
  assert grey[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
  assert (grey == grey[..., :1]).all()

  # Transparency on white: opaque, half, nothing of a red.
  alpha = np.array([[[200, 0, 0, 255], [200, 0, 0, 51], [200, 0, 0, 0]]])
  save(tmp_path / 'alpha.png', alpha.astype(np.uint8))
  seen = photos.read(tmp_path / 'alpha.png')[0].tolist()
  assert seen == [[200, 0, 0], [244, 204, 204], [255, 255, 255]]

  palette = Image.new('P', (2, 1))
  palette.putpalette([10, 20, 30, 40, 50, 60])
  palette.putdata([1, 0])
  palette.save(tmp_path / 'palette.png')
  assert photos.read(tmp_path / 'palette.png').tolist() == [
    [[40, 50, 60], [10, 20, 30]]
  ]
  palette.save(tmp_path / 'hole.png', transparency=1)
  assert photos.read(tmp_path / 'hole.png')[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize(
  ('orientation', 'turn'),
  [
    (1, lambda x: x),
    (3, lambda x: x[::-1, ::-1]),
    (6, lambda x: np.rot90(x, -1)),  # the camera was turned: 90 degrees right
    (8, np.rot90),
  ],
)
def test_exif_rotation(run, tmp_path, orientation, turn):
  image = noise(6, 10)
  exif = Image.Exif()
  exif[0x0112] = orientation
  path = save(tmp_path / 'in' / 'a.png', image, exif=exif)
  np.testing.assert_array_equal(photos.read(path), turn(image))
  if orientation == 6:
    prediction.predict_images(run, photos.find(path), tmp_path)
    assert answers(tmp_path, 'a')['ids'].shape == (10, 6)


def test_no_image_is_too_large(tmp_path, monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
  image = noise(40, 70)
  path = save(tmp_path / 'a.png', image)
  np.testing.assert_array_equal(photos.read(path), image)
  # The limit is lifted for this read, also where it fails.
  with pytest.raises(photos.UnreadableError):
    photos.read(tmp_path / 'none.png')
  with pytest.raises(Image.DecompressionBombError):
    Image.open(path)


def test_a_tilde_is_the_home_folder(run, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  save(tmp_path / 'in' / 'a.png', noise(20, 30))

  def load(workdir, checkpoint):
    assert (workdir, checkpoint) == (str(tmp_path / 'run'), 'latest')
    return run

  monkeypatch.setattr(experiment, 'load', load)
  flags = ['--workdir=~/run', '--images=~/in', '--output=~/out']
  assert predict.main(['predict', *flags]) == 0
  answers(tmp_path / 'out', 'a')


def test_names_are_unique(tmp_path):
  for name in ('a.png', 'a.jpg', 'a_png.bmp', 'B.PNG', 'b.png', 'c.d.png'):
    save(tmp_path / name, noise(2, 2))
  save(tmp_path / 'sub' / 'a.png', noise(2, 2))
  names = {p.path.name: p.name for p in photos.find(tmp_path)[:-1]}
  assert names['a_png.bmp'] == 'a_png' and names['c.d.png'] == 'c.d'
  assert names['a.jpg'] == 'a_jpg' and names['a.png'] == 'a_png_2'
  everything = [p.name.lower() for p in photos.find(tmp_path)]
  assert len(set(everything)) == 7 and everything[-1] == 'sub/a'


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
    answers(tmp_path / 'out', path.stem)
  assert len(list((tmp_path / 'out').iterdir())) == 8


def test_nothing_to_do_and_nowhere_to_write(run, tmp_path):
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(
    UserError, match=r'empty and its subfolders hold no image'
  ):
    photos.find(empty)
  with pytest.raises(UserError, match='neither a folder nor a file'):
    photos.find(tmp_path / 'missing')
  image = save(tmp_path / 'in' / 'a.png', noise(4, 4))
  with pytest.raises(UserError, match='write to another folder'):
    photos.find(tmp_path / 'in', without=tmp_path / 'in')
  with pytest.raises(UserError, match=r'--output=.*a\.png.* is not writable'):
    prediction.predict_images(run, photos.find(image), image)
  # Answers inside the folder of images are not images of the next time.
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
  ids = answers(tmp_path, 'a')['ids']
  np.testing.assert_array_equal(ids[clear], both.argmax(-1)[clear])
  prediction.predict_images(run, found, tmp_path, scales=(0.5, 1.0))
  assert (answers(tmp_path, 'a')['ids'] != ids).any()


def test_large_images_are_segmented_smaller(run, tmp_path, monkeypatch):
  assert prediction.within((1024, 2048), prediction.MAX_PIXELS) == (1024, 2048)
  assert prediction.within((3000, 4000), 1_200_000) == (948, 1264)
  assert prediction.within((1, 10**9), 100) == (1, 100)
  image = noise(80, 160)
  found = photos.find(save(tmp_path / 'a.png', image))
  monkeypatch.setattr(predict, 'MAX_PIXELS', 40 * 80)
  prediction.predict_images(run, found, tmp_path)
  out = answers(tmp_path, 'a')
  assert out['entropy'].shape == (80, 160, 3)
  small = by_hand(run, image, (40, 80)).argmax(-1)
  # Each of its pixels became two by two.
  assert (out['ids'] == small.repeat(2, 0).repeat(2, 1)).mean() > 0.999


def test_without_an_evaluation_size_images_keep_theirs(run, tmp_path):
  config = ConfigDict(run.config)
  config.eval.size = None
  run = dataclasses.replace(run, config=config)
  image = noise(80, 96)
  found = photos.find(save(tmp_path / 'a.png', image))
  prediction.predict_images(run, found, tmp_path)
  ids = by_hand(run, image, (80, 96)).argmax(-1)
  assert (answers(tmp_path, 'a')['ids'] == ids).mean() > 0.99
  found = photos.find(save(tmp_path / 'dot.png', noise(1, 2)))
  prediction.predict_images(run, found, tmp_path, scales=(0.1, 1.0))
  assert answers(tmp_path, 'dot')['ids'].shape == (1, 2)


def seconds_of_children():
  """CPU time: the clock's depends on what else the machine does."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
  ('arguments', 'answer'),
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
def test_command_line_answers_quickly(arguments, answer):
  start = seconds_of_children()
  out = subprocess.run(
    [sys.executable, '-m', 'jaxuda.predict', *arguments],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(predict.__file__).parents[1],
  )
  assert seconds_of_children() - start < 2
  assert answer in out.stdout + out.stderr
  assert 'Traceback' not in out.stderr
  assert out.returncode == (0 if arguments == ['--help'] else 2)


def test_import_needs_no_tensorflow():
  code = (
    'import sys, jaxuda.predict, jaxuda.evaluate, data.progress;'
    'print([m for m in ("tensorflow", "clu") if m in sys.modules])'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
