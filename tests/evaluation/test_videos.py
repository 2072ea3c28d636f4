"""Videos: what is predicted of their frames, and what is written of it."""

import resource
import sys

import numpy as np
import pytest
from photo_files import noise, save
from PIL import Image
from predicted import by_hand, network, plain, written

from jaxuda import labels
from jaxuda.datasets import photos, videos
from jaxuda.evaluation import prediction
from jaxuda.evaluation.prediction import predict_images
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

SPACE = labels.space('cityscapes19')


def film(path, frames, fps=12.5):
  with videos.writing(path, frames[0].shape[:2], fps) as show:
    for frame in frames:
      show(frame)


def test_a_video(tmp_path):
  """Each frame as an image, and an overlay that runs as fast."""
  flat = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
  frames = [np.full((32, 64, 3), color) for color in flat]
  (tmp_path / 'in').mkdir()
  film(tmp_path / 'in' / 'drive.mp4', frames)
  (tmp_path / 'in' / 'broken.avi').write_text('no video')
  save(tmp_path / 'in' / 'still.png', frames[0])
  found = photos.find(tmp_path / 'in', also=videos.SUFFIXES)
  with pytest.raises(UserError, match=r'1 of 3 files.*\n.*broken\.avi'):
    predict_images(plain(), found, tmp_path / 'out')
  out = tmp_path / 'out'
  names = sorted(path.name for path in (out / 'drive_ids').iterdir())
  assert names == ['000001.png', '000002.png', '000003.png']
  video = videos.read(tmp_path / 'in' / 'drive.mp4')
  for name, frame in zip(names, video.frames, strict=True):
    ids = np.asarray(Image.open(out / 'drive_ids' / name))
    expected = by_hand(network(), frame, (32, 64)).argmax(-1)
    assert (ids == expected).mean() > 0.99
  overlay = videos.read(out / 'drive_overlay.mp4')
  assert (overlay.size, overlay.fps, overlay.count) == ((32, 64), 12.5, 3)
  shown = np.stack(list(overlay.frames)).astype(float)
  ids = np.asarray(Image.open(out / 'drive_ids' / '000001.png'))
  half = (frames[0] + SPACE.colors[ids].astype(float)) / 2
  assert np.abs(shown[0] - half).mean() < 12  # H.264 halves colours' resolution
  assert len(shown) == 3
  written(out, 'still')


def test_a_video_without_its_package(tmp_path, monkeypatch):
  (tmp_path / 'a.mov').touch()
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  with pytest.raises(UserError, match='videos need the package imageio-ffmpeg'):
    predict_images(plain(), photos.find(tmp_path / 'a.mov'), tmp_path / 'out')


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_frames_of_two_films_are_not_mixed(tmp_path, monkeypatch):
  """A shorter one takes the place of a longer one, or nothing does."""
  frames = [np.full((32, 64, 3), i, np.uint8) for i in (9, 99, 199)]
  path, out = tmp_path / 'a.mp4', tmp_path / 'out'
  for count in (3, 2):
    film(path, frames[:count])
    predict_images(plain(), photos.find(path), out, ids_only=True)
  assert names(out / 'a_ids') == ['000001.png', '000002.png']
  film(path, frames)
  write = prediction.segmentation.write_png
  seen = []

  def write_once(*arguments):
    if seen:
      raise KeyboardInterrupt
    seen.append(write(*arguments))

  monkeypatch.setattr(prediction.segmentation, 'write_png', write_once)
  with pytest.raises(KeyboardInterrupt):
    predict_images(plain(), photos.find(path), out, ids_only=True)
  assert names(out / 'a_ids') == ['000001.png', '000002.png']
  assert names(out) == ['a_ids', 'labels.json']


def test_a_film_that_is_not_whole_is_not_written(tmp_path):
  """As on a full disk."""
  frames = [noise(64, 96, seed=i) for i in range(30)]
  limit = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limit[1]))
  try:
    with pytest.raises(OSError, match='ffmpeg'):
      film(tmp_path / 'a.mp4', frames)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_odd_sides_become_even(tmp_path):
  film(tmp_path / 'a.mp4', [noise(31, 63)])
  assert videos.read(tmp_path / 'a.mp4').size == (32, 64)
