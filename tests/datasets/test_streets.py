"""Streets: what the rendered scenes promise."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from data import streets
from data.streets import camera, frontage, gallery, look, raster, render, shapes
from data.streets.mesh import Instance
from jaxuda import labels
from jaxuda.utils.errors import UserError

SIZE = (96, 192)
SAMPLE = 120
VOID = 19


@pytest.fixture(scope='module')
def counts():
  """domain -> i64[SAMPLE, 96, 20]: pixels of each class in each row."""
  to_19 = labels.id_map('cityscapes', 'cityscapes19')
  to_19[to_19 == labels.IGNORE] = VOID
  out = {}
  for domain in render.DOMAINS:
    maps = [to_19[render.render(domain, i, SIZE)[1]] for i in range(SAMPLE)]
    out[domain] = np.eye(20, dtype=np.int64)[np.stack(maps)].sum(2)
  return out


def test_same_arguments_same_scene():
  a = render.render('game', 5, SIZE)
  render.render('city', 1, SIZE)
  b = render.render('game', 5, SIZE)
  np.testing.assert_array_equal(a[0], b[0])
  np.testing.assert_array_equal(a[1], b[1])
  assert a[0].dtype == a[1].dtype == np.uint8
  assert a[0].shape == (*SIZE, 3) and a[1].shape == SIZE


def test_another_process_renders_the_same():
  # String hashes differ between processes; no seed may rest on them.
  code = (
    'import zlib; from data.streets import render;'
    "a, b = render.render('city', 3, (48, 96), 'val');"
    'print(zlib.crc32(a.tobytes()), zlib.crc32(b.tobytes()))'
  )
  outputs = {
    subprocess.run(
      [sys.executable, '-c', code],
      env={'PYTHONHASHSEED': seed},
      capture_output=True,
      text=True,
      check=True,
    ).stdout
    for seed in ('1', '2')
  }
  assert len(outputs) == 1 and outputs.pop().strip()


def test_splits_and_domains_share_no_scene():
  seen = set()
  for domain in render.DOMAINS:
    for split in render.SPLITS:
      for index in range(8):
        _, label = render.render(domain, index, SIZE, split)
        seen.add(label.tobytes())
  assert len(seen) == 2 * 3 * 8


@pytest.mark.parametrize('domain, split', [('mars', 'train'), ('game', 'dev')])
def test_unknown_domain_or_split(domain, split):
  with pytest.raises(ValueError, match='no scenes of'):
    render.render(domain, 0, SIZE, split)


@pytest.mark.slow
@pytest.mark.parametrize('domain', render.DOMAINS)
def test_every_class_is_there(counts, domain):
  per_image = counts[domain].sum(1)[:, :VOID]
  # A class counts as present with two dozen pixels of the 18,432.
  present = (per_image >= 24).mean(0)
  classes = labels.space('cityscapes19').classes
  rare = {c: p for c, p in zip(classes, present, strict=True) if p < 0.12}
  assert not rare
  for name in ('road', 'sidewalk', 'building', 'vegetation', 'sky'):
    assert present[classes.index(name)] > 0.7, name


@pytest.mark.slow
def test_unlabelled_pixels(counts):
  share = {d: c[..., VOID].sum() / c.sum() for d, c in counts.items()}
  assert 0.07 < share['game'] < 0.13  # a tenth, as in GTA5
  assert 0.03 < share['city'] < 0.11  # mostly the bonnet


def test_labels_are_known_ids():
  for domain in render.DOMAINS:
    _, label = render.render(domain, 11, SIZE)
    assert set(np.unique(label)) <= labels.known_ids('cityscapes')


@pytest.mark.slow
def test_domains_differ_in_where_classes_are(counts):
  """A dashcam has the road below and the sky above; a free camera has not."""
  road, sky = 0, 10
  rows = {d: c.sum(0) / (SAMPLE * SIZE[1]) for d, c in counts.items()}
  near = slice(66, 88)  # below the horizon, above the bonnet
  assert rows['city'][near, road].mean() > 0.75
  assert rows['game'][near, road].mean() < 0.4
  # Per image: the row where the sky ends is a narrow band in the city.
  horizon = {}
  for d, c in counts.items():
    has = c[..., sky] > 0
    last = SIZE[0] - 1 - has[:, ::-1].argmax(1)
    horizon[d] = last[has.any(1)].std()
  assert horizon['game'] > 1.5 * horizon['city']


def test_domains_differ_in_appearance():
  saturation, fine = {}, {}
  for domain in render.DOMAINS:
    images = [render.render(domain, i, SIZE)[0] for i in range(20)]
    x = np.stack(images).astype(float)
    saturation[domain] = (x.max(-1) - x.min(-1)).mean()
    # Sensor noise: what the eye sees as grain in the flattest places.
    detail = np.abs(np.diff(x.mean(-1), axis=2))
    fine[domain] = np.quantile(detail, 0.25)
  assert saturation['game'] > 2 * saturation['city']
  assert fine['city'] > 2 * fine['game']


def test_scene_does_not_depend_on_the_size():
  agree = []
  for domain in render.DOMAINS:
    for index in range(6):
      _, small = render.render(domain, index, SIZE)
      _, large = render.render(domain, index, (192, 384))
      shrunk = Image.fromarray(large).resize(
        (SIZE[1], SIZE[0]), Image.Resampling.NEAREST
      )
      agree.append((small == np.asarray(shrunk)).mean())
  assert min(agree) > 0.9 and np.mean(agree) > 0.95


def test_other_shapes_of_picture():
  for size in ((72, 128), (95, 173)):
    image, label = render.render('game', 2, size)
    assert image.shape == (*size, 3) and label.shape == size


def test_speed():
  """60 a second on an idle core; a loaded machine still manages a third."""
  render.render('city', 0, SIZE)
  start = time.process_time()
  for index in range(30):
    render.render(render.DOMAINS[index % 2], index, SIZE)
  assert 30 / (time.process_time() - start) > 20


def test_a_box_is_painted_where_the_pinhole_puts_it():
  """A 2 m cube, its front 9 m ahead of a camera 1 m up, by hand.

  Focal length 1 width = 200 px: the front spans 2 / 9 * 200 = 44.4 px across
  and its middle is at the camera's height, so it is centred.
  """
  eye = camera.Camera(0, 1, 0, 0, 0, 0, 1.0)
  cube = Instance(
    shapes.box('car'), (0, 0, 10), (2, 2, 2), 0.0, [(1, 0, 0)] * 2
  )
  polygons, surfaces = raster.assemble([cube], eye, 23)
  big = raster.paint(polygons, eye.focal, 100, 200)
  label = surfaces.ids[big]
  rows, columns = np.nonzero(label == 26)
  assert abs((np.ptp(columns) + 1) / 2 - 44.4) <= 1
  assert abs((np.ptp(rows) + 1) / 2 - 44.4) <= 1
  assert abs(columns.mean() - 199.5) < 1 and abs(rows.mean() - 99.5) < 1
  assert (label[0] == 23).all()


def test_the_near_hides_the_far():
  eye = camera.Camera(0, 1, 0, 0, 0, 0, 1.0)
  far = Instance(shapes.box('bus'), (0, 0, 20), (4, 4, 1), 0.0, [(1,) * 3] * 2)
  near = Instance(shapes.box('car'), (0, 0, 9), (1, 2, 1), 0.0, [(0,) * 3] * 2)
  polygons, surfaces = raster.assemble([far, near], eye, 23)
  label = surfaces.ids[raster.paint(polygons, eye.focal, 100, 200)]
  assert label[100, 200] == 26 and label[100, 170] == 28


def test_a_turned_camera_looks_where_it_says():
  """Yaw to the right brings what is on the right into the middle."""
  eye = camera.Camera(0, 1.5, 0, np.pi / 2, 0, 0, 1.0)
  depth, right = eye.ahead(10, 0)
  assert depth == pytest.approx(10) and right == pytest.approx(0, abs=1e-9)
  assert eye.sees(10, 0, 1, 20) and not eye.sees(0, 10, 1, 20)
  middle = camera.rays(eye, 99, 99)[:, 49, 49]
  np.testing.assert_allclose(middle, (1, 0, 0), atol=1e-6)


def test_trees_face_the_camera():
  tree = frontage.tree(random.Random(0), look.game(random.Random(0)), 5, 5, 6)
  eye = camera.Camera(0, 1, 0, 0, 0, 0, 1.0)
  _, surfaces = raster.assemble([tree], eye, 23)
  toward = np.array((-5, 0, -5)) / np.hypot(5, 5)
  np.testing.assert_allclose(np.abs(surfaces.normal[1:] @ toward), 1, atol=1e-5)


def test_listed_examples_render():
  split = streets.examples(None, 'city', 'tune')
  assert len(split.examples) == streets.COUNTS['tune'] and split.labelled
  image, label = streets.render_example(split.examples[7].id, (48, 96))
  expected = render.render('city', 7, (48, 96), 'tune')
  np.testing.assert_array_equal(np.asarray(image), expected[0])
  np.testing.assert_array_equal(np.asarray(label), expected[1])
  assert image.mode == 'RGB' and label.mode == 'L'


def test_the_renderer_needs_no_tensorflow():
  code = (
    'import sys; from data.streets import render; '
    'from benchmarks import raw_trees;'
    "assert 'tensorflow' not in sys.modules and 'jax' not in sys.modules"
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_gallery(tmp_path):
  picture = gallery.sheet({'game': [0, 1], 'city': [0, 1]}, (24, 48))
  gap = gallery.GAP
  assert picture.shape == (4 * 24 + 3 * gap, 2 * 48 + gap, 3)
  image, _ = render.render('city', 1, (24, 48))
  top = 2 * 24 + 2 * gap
  np.testing.assert_array_equal(picture[top : top + 24, 48 + gap :], image)
  bad = tmp_path / 'file'
  bad.write_text('')
  with pytest.raises(UserError, match='cannot write'):
    gallery.main(['gallery', f'--output={bad}/x.png'])
  with pytest.raises(UserError, match='--output is needed'):
    gallery.main(['gallery'])
