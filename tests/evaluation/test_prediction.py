"""Prediction on images of any kind, by a small random network."""

import functools
import json
import resource
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
import tiny_runs
from photo_files import noise, save
from PIL import Image

from jaxuda import experiment, labels, predict
from jaxuda.datasets import photos, videos
from jaxuda.evaluation import predictor
from jaxuda.evaluation.prediction import predict_images
from jaxuda.evaluation.predictor import Predictor
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


@pytest.fixture(autouse=True)
def quick():
  with tiny_runs.quick_compiles():
    yield


@pytest.fixture(scope='module')
def plain(run):
  return Predictor(run)


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


def test_ids_are_the_argmax_and_colours_the_table(run, plain, tmp_path, capsys):
  image = noise(50, 90)
  save(tmp_path / 'in' / 'a.png', image)
  found = photos.find(tmp_path / 'in')
  shares = predict_images(plain, found, tmp_path / 'out')
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


def test_images_of_all_kinds_and_sizes(plain, tmp_path):
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
  predict_images(plain, found, tmp_path / 'out')
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


def test_unreadable_files_are_reported_and_the_others_written(plain, tmp_path):
  folder = tmp_path / 'in'
  good = [save(folder / f'{n}.png', noise(20, 30)) for n in 'ac']
  whole = save(tmp_path / 'whole.jpg', noise(64, 64)).read_bytes()
  (folder / 'b.jpg').write_bytes(whole[: len(whole) // 2])
  (folder / 'd.png').write_text('no image')
  (folder / 'e.webp').touch()
  with pytest.raises(UserError) as caught:
    predict_images(plain, photos.find(folder), tmp_path / 'out')
  message = str(caught.value)
  assert message.startswith('3 of 5 files cannot be read as images')
  for name in ('b.jpg: ', 'd.png: ', 'e.webp: '):
    assert f'{folder / name}' in message
  for path in good:
    written(tmp_path / 'out', path.stem)
  assert len(list((tmp_path / 'out').iterdir())) == 8 + 2


def test_where_predictions_go(plain, tmp_path):
  image = save(tmp_path / 'in' / 'a.png', noise(4, 4))
  with pytest.raises(UserError, match=r'--output=.*a\.png.* is not writable'):
    predict_images(plain, photos.find(image), image)
  # Predictions inside the folder of images are not images of the next time.
  inside = tmp_path / 'in' / 'out'
  predict_images(plain, photos.find(tmp_path / 'in', inside), inside)
  again = photos.find(tmp_path / 'in', without=inside)
  assert [photo.name for photo in again] == ['a']


def test_an_output_that_fails_midway_stops_with_a_sentence(plain, tmp_path):
  for name in 'ab':
    save(tmp_path / 'in' / f'{name}.png', noise(4, 4))
  (tmp_path / 'out' / 'a_overlay.png').mkdir(parents=True)
  with pytest.raises(UserError, match=r'cannot write .*a_overlay\.png'):
    predict_images(plain, photos.find(tmp_path / 'in'), tmp_path / 'out')


def test_scales_and_flip_reach_the_network(run, tmp_path):
  image = noise(32, 64)
  found = photos.find(save(tmp_path / 'a.png', image))
  predict_images(Predictor(run, flip=True), found, tmp_path)
  both = by_hand(run, image, (32, 64))
  both = both + by_hand(run, image[:, ::-1], (32, 64))[:, ::-1]
  top = np.sort(both, -1)
  clear = top[..., -1] - top[..., -2] > 1e-3
  ids = written(tmp_path, 'a')['ids']
  np.testing.assert_array_equal(ids[clear], both.argmax(-1)[clear])
  predict_images(Predictor(run, scales=(0.5, 1.0)), found, tmp_path)
  assert (written(tmp_path, 'a')['ids'] != ids).any()


def test_large_images_are_segmented_smaller(run, tmp_path, monkeypatch):
  most = predictor.MAP_PIXELS
  assert predictor.within((1024, 2048), most) == (1024, 2048)
  assert predictor.within((3000, 4000), 1_200_000) == (948, 1264)
  assert predictor.within((1, 10**9), 100) == (1, 100)
  image = noise(80, 160)
  found = photos.find(save(tmp_path / 'a.png', image))
  monkeypatch.setattr(predictor, 'MAP_PIXELS', 40 * 80)
  predict_images(Predictor(run), found, tmp_path)
  out = written(tmp_path, 'a')
  assert out['entropy'].shape == (80, 160, 3)
  small = by_hand(run, image, (40, 80)).argmax(-1)
  # Each of its pixels became two by two.
  assert (out['ids'] == small.repeat(2, 0).repeat(2, 1)).mean() > 0.999


def test_the_size_that_the_network_sees(run, tmp_path):
  """That of the evaluation, else the target's; or one that is asked for."""
  image = noise(80, 96)
  found = photos.find(save(tmp_path / 'a.png', image))

  def seen(run, **flags):
    predict_images(Predictor(run, **flags), found, tmp_path)
    return written(tmp_path, 'a')['ids']

  def expected(size):
    sized = network(f'eval.size={size}')
    return by_hand(sized, image, (80, 96)).argmax(-1)

  as_trained = network('eval.size=None', 'target.size=48x64')
  assert (seen(as_trained) == expected('48x64')).mean() > 0.99
  assert (seen(run, size='full') == expected('80x96')).mean() > 0.99
  assert (seen(run, size=(64, 64)) == expected('64x64')).mean() > 0.99
  assert (expected('80x96') != expected('64x64')).any()


def test_an_image_of_two_pixels(run, tmp_path):
  found = photos.find(save(tmp_path / 'dot.png', noise(1, 2)))
  dots = Predictor(run, size='full', scales=(0.1, 1.0))
  predict_images(dots, found, tmp_path)
  assert written(tmp_path, 'dot')['ids'].shape == (1, 2)


def test_batches_change_nothing(run, plain, tmp_path):
  """Sizes are mixed, a batch is not full, and one file is no image."""
  for i in range(7):
    size = (40, 60) if i % 3 else (30, 50)
    save(tmp_path / 'in' / f'{i}.png', noise(*size, seed=i))
  (tmp_path / 'in' / '8.png').write_text('no image')
  found = photos.find(tmp_path / 'in')
  for folder, each in (
    ('one', plain),
    ('three', Predictor(run, batch_size=3)),
  ):
    with pytest.raises(UserError, match='1 of 8 files'):
      predict_images(each, found, tmp_path / folder)
  for i in range(7):
    one, three = (
      written(tmp_path / f, str(i))['ids'] for f in ('one', 'three')
    )
    assert one.shape == ((40, 60) if i % 3 else (30, 50))
    assert (one == three).mean() > 0.999


def test_a_batch_has_no_more_pixels_than_an_image_may(run):
  many = Predictor(run, batch_size=1000)
  assert many.together((32, 64)) == 1000
  assert many.together((1024, 1024)) == 4
  assert many.together((9000, 9000)) == 1


def test_windows_slide(run, tmp_path):
  """Their logits are averaged; so are log-probabilities, up to a constant."""
  image = noise(64, 96)
  found = photos.find(save(tmp_path / 'a.png', image))
  predict_images(Predictor(run, size='full', window=(64, 64)), found, tmp_path)
  total, count = np.zeros((64, 96, 19)), np.zeros((64, 96, 1))
  of_window = network('eval.size=64x64')
  for left in (0, 32):
    columns = np.s_[:, left : left + 64]
    part = np.ascontiguousarray(image[columns])
    total[columns] += np.log(by_hand(of_window, part, (64, 64)))
    count[columns] += 1
  ids = written(tmp_path, 'a')['ids']
  assert (ids == (total / count).argmax(-1)).mean() > 0.99
  whole = by_hand(network('eval.size=64x96'), image, (64, 96)).argmax(-1)
  assert (ids != whole).mean() > 0.01


def test_ids_alone(plain, tmp_path):
  found = photos.find(save(tmp_path / 'a.png', noise(20, 30)))
  predict_images(plain, found, tmp_path / 'out', ids_only=True)
  names = {path.name for path in (tmp_path / 'out').iterdir()}
  assert names == {'a_ids.png', 'labels.json'}


def test_a_legend_is_beside_the_predictions(plain, tmp_path):
  found = photos.find(save(tmp_path / 'a.png', noise(20, 30)))
  predict_images(plain, found, tmp_path)
  said = json.loads((tmp_path / 'labels.json').read_text())
  assert [row['name'] for row in said['classes']] == list(SPACE.classes)
  assert [row['color'] for row in said['classes']] == SPACE.colors.tolist()
  legend = np.asarray(Image.open(tmp_path / 'legend.png').convert('RGB'))
  shown = {tuple(color) for color in legend.reshape(-1, 3)}
  assert {tuple(color) for color in SPACE.colors} <= shown


def film(path, frames, fps=12.5):
  with videos.writing(path, frames[0].shape[:2], fps) as show:
    for frame in frames:
      show(frame)


def test_a_video(run, plain, tmp_path):
  """Each frame as an image, and an overlay that runs as fast."""
  flat = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
  frames = [np.full((32, 64, 3), color) for color in flat]
  (tmp_path / 'in').mkdir()
  film(tmp_path / 'in' / 'drive.mp4', frames)
  (tmp_path / 'in' / 'broken.avi').write_text('no video')
  save(tmp_path / 'in' / 'still.png', frames[0])
  found = photos.find(tmp_path / 'in', also=videos.SUFFIXES)
  with pytest.raises(UserError, match=r'1 of 3 files.*\n.*broken\.avi'):
    predict_images(plain, found, tmp_path / 'out')
  out = tmp_path / 'out'
  names = sorted(path.name for path in (out / 'drive_ids').iterdir())
  assert names == ['000001.png', '000002.png', '000003.png']
  video = videos.read(tmp_path / 'in' / 'drive.mp4')
  for name, frame in zip(names, video.frames, strict=True):
    ids = np.asarray(Image.open(out / 'drive_ids' / name))
    expected = by_hand(run, frame, (32, 64)).argmax(-1)
    assert (ids == expected).mean() > 0.99
  overlay = videos.read(out / 'drive_overlay.mp4')
  assert (overlay.size, overlay.fps, overlay.count) == ((32, 64), 12.5, 3)
  shown = np.stack(list(overlay.frames)).astype(float)
  ids = np.asarray(Image.open(out / 'drive_ids' / '000001.png'))
  half = (frames[0] + SPACE.colors[ids].astype(float)) / 2
  assert np.abs(shown[0] - half).mean() < 12  # H.264 halves colours' resolution
  assert len(shown) == 3
  written(out, 'still')


def test_a_video_without_its_package(plain, tmp_path, monkeypatch):
  (tmp_path / 'a.mov').touch()
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  with pytest.raises(UserError, match='videos need the package imageio-ffmpeg'):
    predict_images(plain, photos.find(tmp_path / 'a.mov'), tmp_path / 'out')


def test_flags_reach_the_network(run, tmp_path, monkeypatch):
  save(tmp_path / 'in' / 'a.png', noise(20, 30))
  monkeypatch.setattr(experiment, 'load', lambda *arguments: run)
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
    (
      ['--workdir=x', '--images=x', '--output=y', '--batch_size=0'],
      'error: --batch_size=0 must be at least 1',
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
