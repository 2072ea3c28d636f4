"""Pictures: values by hand, colours from the table, figures read by Pillow."""

import subprocess
import sys

import numpy as np
import pytest
from analyses import picture
from PIL import Image

from jaxuda import labels
from jaxuda.figures import segmentation
from jaxuda.utils.errors import UserError

SPACE = labels.space('cityscapes19')


def random_row(rng, label=True, height=24, width=48):
  ids = rng.integers(0, 19, (height, width), np.uint8)
  truth = np.where(rng.random((2 * height, 2 * width)) < 0.1, 255, 13)
  return segmentation.Row(
    rng.integers(0, 256, (height, width, 3), np.uint8),
    [ids, ids[::-1]],
    truth.astype(np.uint8) if label else None,
    rng.random((height, width), np.float32),
  )


def test_entropy_map_goes_from_purple_to_yellow():
  low, middle, high = segmentation.entropy_map(np.array([[0, 0.5, 1]]))[0]
  # The ends and the middle of the published viridis table.
  assert low.tolist() == [68, 1, 84]
  assert middle.tolist() == [32, 144, 140]
  assert high.tolist() == [253, 231, 36]


def test_overlay_by_hand():
  image = np.full((1, 2, 3), 100, np.uint8)
  ids = np.array([[13, 255]], np.uint8)  # a car, (0, 0, 142); ignored
  mixed = segmentation.overlay(image, ids, SPACE, 0.25)
  assert mixed.dtype == np.uint8
  # 100 + (color - 100) / 4 = 75, 75, 110.5 (rounded to even)
  assert mixed.tolist() == [[[75, 75, 110], [100, 100, 100]]]


def test_panel():
  rng = np.random.default_rng(0)
  row = random_row(rng)
  ids = row.predictions[0]
  panel = segmentation.panel(row.image, ids, row.label, row.entropy, SPACE)
  assert panel.shape == (24, 4 * 48 + 3 * 4, 3) and panel.dtype == np.uint8
  np.testing.assert_array_equal(panel[:, :48], row.image)
  np.testing.assert_array_equal(panel[:, 52:100], SPACE.colors[ids])
  truth = {tuple(color) for color in panel[:, 104:152].reshape(-1, 3).tolist()}
  assert truth == {(0, 0, 142), (0, 0, 0)}
  np.testing.assert_array_equal(
    panel[:, 156:], segmentation.entropy_map(row.entropy)
  )
  assert (panel[:, 48:52] == 255).all()
  unknown = segmentation.panel(row.image, ids, None, row.entropy, SPACE)
  assert unknown.shape == panel.shape
  assert (unknown[:, 104:152] == 200).all()


@pytest.mark.parametrize('labelled', [True, False])
def test_qualitative_shows_each_class(tmp_path, labelled):
  rng = np.random.default_rng(0)
  rows = [random_row(rng, labelled), random_row(rng, False, 40, 32)]
  path = tmp_path / 'new' / 'qualitative.png'
  segmentation.qualitative(path, rows, ['source-only', 'adapted'], SPACE)
  pixels = picture(path)
  assert [p.name for p in path.parent.iterdir()] == ['qualitative.png']
  # The legend names every class in its colour; black is 'ignored' there.
  foot = pixels[-100:].reshape(-1, 3)
  for color in SPACE.colors:
    assert (foot == color).all(1).sum() > 50


def test_pictures_of_a_scene_have_the_shape_of_its_label(tmp_path):
  """The network has seen a photograph of 3:4 squeezed to 1:2."""
  row = random_row(np.random.default_rng(0))
  car = np.full((24, 48), 13, np.uint8)
  truth = np.full((36, 48), 13, np.uint8)
  row = row._replace(predictions=[car], label=truth)
  path = tmp_path / 'qualitative.png'
  segmentation.qualitative(path, [row], ['adapted'], SPACE)
  blue = (picture(path)[:-100] == SPACE.colors[13]).all(-1)
  # Two pictures side by side, both of 3:4: as high at their left and right.
  height = blue.sum(0).max()
  width = (blue.sum(0) == height).sum() / 2
  assert height == pytest.approx(0.75 * width, rel=0.02)


def test_entropy_figure_shows_both_domains_before_and_after(tmp_path):
  rng = np.random.default_rng(0)
  low, high = np.zeros((24, 48)), np.ones((24, 48))
  source = [random_row(rng).image]
  target = [random_row(rng, height=36).image] * 2
  one, two = tmp_path / '1.png', tmp_path / '2.png'
  after = {'adapted': ([low], [low, low])}
  segmentation.entropy_figure(one, source, target, after)
  before = {'source-only': ([low], [high, high])}
  segmentation.entropy_figure(two, source, target, before | after)
  after, both = picture(one), picture(two)
  assert both.shape[0] > after.shape[0] and both.shape[1] == after.shape[1]

  def yellow(picture):
    return (picture == [253, 231, 36]).all(-1).sum()

  # Above the colour bar, yellow stands on the right: the target.
  assert yellow(both[:-100, : both.shape[1] // 3]) == 0
  # Two maps of certain uncertainty: most of two thirds of a row.
  assert yellow(both) - yellow(after) > 0.1 * both[..., 0].size


def test_writes_whole_files_or_none(tmp_path):
  path = tmp_path / 'a' / 'ids.png'
  ids = np.arange(6, dtype=np.uint8).reshape(2, 3)
  segmentation.write_png(path, ids)
  written = Image.open(path)
  assert written.mode == 'L'
  np.testing.assert_array_equal(np.asarray(written), ids)
  assert list(path.parent.iterdir()) == [path]
  with pytest.raises(UserError, match=r'ids\.png: .* is not a folder'):
    segmentation.write_png(path / 'ids.png', ids)
  path.with_name('folder.png').mkdir()
  with pytest.raises(UserError, match=r'folder\.png'):
    segmentation.write_png(path.with_name('folder.png'), ids)
  assert sorted(p.name for p in path.parent.iterdir()) == [
    'folder.png',
    'ids.png',
  ]


def test_import_is_light():
  """No network is known here, and matplotlib is imported when it draws."""
  code = (
    'import sys\n'
    'from jaxuda.figures import charts, confusion, page, segmentation\n'
    'heavy = ("tensorflow", "matplotlib", "jax", "flax", "jaxuda.evaluation")\n'
    'print([m for m in heavy if m in sys.modules])'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
