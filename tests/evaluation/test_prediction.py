"""What is predicted of images, by a small random network, against NumPy."""

import dataclasses

import numpy as np
import pytest
from photo_files import noise, save
from predicted import by_hand, network, plain, written

from jaxuda import labels
from jaxuda.datasets import photos
from jaxuda.evaluation import predictor
from jaxuda.evaluation.prediction import predict_images
from jaxuda.evaluation.predictor import Predictor
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

SPACE = labels.space('cityscapes19')


def test_ids_are_the_argmax_and_colours_the_table(tmp_path, capsys):
  image = noise(50, 90)
  save(tmp_path / 'in' / 'a.png', image)
  found = photos.find(tmp_path / 'in')
  shares = predict_images(plain(), found, tmp_path / 'out')
  out = written(tmp_path / 'out', 'a')

  p = by_hand(network(), image, (50, 90))
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


def test_scales_and_flip_reach_the_network(tmp_path):
  image = noise(32, 64)
  found = photos.find(save(tmp_path / 'a.png', image))
  predict_images(Predictor(network(), flip=True), found, tmp_path)
  both = by_hand(network(), image, (32, 64))
  both = both + by_hand(network(), image[:, ::-1], (32, 64))[:, ::-1]
  top = np.sort(both, -1)
  clear = top[..., -1] - top[..., -2] > 1e-3
  ids = written(tmp_path, 'a')['ids']
  np.testing.assert_array_equal(ids[clear], both.argmax(-1)[clear])
  predict_images(Predictor(network(), scales=(0.5, 1.0)), found, tmp_path)
  assert (written(tmp_path, 'a')['ids'] != ids).any()


def test_large_images_are_segmented_smaller(tmp_path, monkeypatch):
  most = predictor.MAP_PIXELS
  assert predictor.within((1024, 2048), most) == (1024, 2048)
  assert predictor.within((3000, 4000), 1_200_000) == (948, 1264)
  assert predictor.within((1, 10**9), 100) == (1, 100)
  image = noise(80, 160)
  found = photos.find(save(tmp_path / 'a.png', image))
  monkeypatch.setattr(predictor, 'MAP_PIXELS', 40 * 80)
  predict_images(Predictor(network()), found, tmp_path)
  out = written(tmp_path, 'a')
  assert out['entropy'].shape == (80, 160, 3)
  small = by_hand(network(), image, (40, 80)).argmax(-1)
  # Each of its pixels became two by two.
  assert (out['ids'] == small.repeat(2, 0).repeat(2, 1)).mean() > 0.999


def test_the_size_that_the_network_sees(tmp_path):
  """That of the evaluation, else the target's; or one that is asked for."""
  image = noise(80, 96)
  found = photos.find(save(tmp_path / 'a.png', image))

  def assert_seen(expected_size, run, **flags):
    predict_images(Predictor(run, **flags), found, tmp_path)
    expected = by_hand(network(), image, (80, 96), expected_size).argmax(-1)
    assert (written(tmp_path, 'a')['ids'] == expected).mean() > 0.99
    return expected

  config = network().config.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    config.eval.size, config.target.size = None, (48, 64)
  assert_seen((48, 64), dataclasses.replace(network(), config=config))
  own = assert_seen((80, 96), network(), size='full')
  other = assert_seen((64, 64), network(), size=(64, 64))
  assert (own != other).any()


def test_an_image_of_two_pixels(tmp_path):
  found = photos.find(save(tmp_path / 'dot.png', noise(1, 2)))
  dots = Predictor(network(), size='full', scales=(0.1, 1.0))
  predict_images(dots, found, tmp_path)
  assert written(tmp_path, 'dot')['ids'].shape == (1, 2)


def test_batches_change_nothing(tmp_path):
  """Sizes are mixed, a batch is not full, and one file is no image."""
  for i in range(7):
    size = (40, 60) if i % 3 else (30, 50)
    save(tmp_path / 'in' / f'{i}.png', noise(*size, seed=i))
  (tmp_path / 'in' / '8.png').write_text('no image')
  found = photos.find(tmp_path / 'in')
  for folder, each in (
    ('one', plain()),
    ('three', Predictor(network(), batch_size=3)),
  ):
    with pytest.raises(UserError, match='1 of 8 files'):
      predict_images(each, found, tmp_path / folder)
  for i in range(7):
    one, three = (
      written(tmp_path / f, str(i))['ids'] for f in ('one', 'three')
    )
    assert one.shape == ((40, 60) if i % 3 else (30, 50))
    assert (one == three).mean() > 0.999


def test_a_batch_has_no_more_pixels_than_an_image_may():
  many = Predictor(network(), batch_size=1000)
  assert many.together((32, 64)) == 1000
  assert many.together((1024, 1024)) == 4
  assert many.together((9000, 9000)) == 1


def test_windows_slide(tmp_path):
  """Their logits are averaged; so are log-probabilities, up to a constant."""
  image, window = noise(64, 96), (64, 64)
  found = photos.find(save(tmp_path / 'a.png', image))
  sliding = Predictor(network(), size='full', window=window)
  predict_images(sliding, found, tmp_path)
  total, count = np.zeros((64, 96, 19)), np.zeros((64, 96, 1))
  for left in (0, 32):
    columns = np.s_[:, left : left + 64]
    part = np.ascontiguousarray(image[columns])
    total[columns] += np.log(by_hand(network(), part, window, window))
    count[columns] += 1
  ids = written(tmp_path, 'a')['ids']
  assert (ids == (total / count).argmax(-1)).mean() > 0.99
  whole = by_hand(network(), image, (64, 96), (64, 96)).argmax(-1)
  assert (ids != whole).mean() > 0.01
