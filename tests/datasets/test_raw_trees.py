"""The generated raw trees are read back by readers that did not write them."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import raw_trees
from data.streets import render
from jaxuda import labels

SIZE = (24, 48)


def tree(name, folder, count=2):
  raw_trees.write_raw_tree(name, folder, count, SIZE)
  return sorted(
    p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()
  )


def header(path):
  """(bit depth, colour type) at bytes 24 and 25 of a PNG, by its standard."""
  return struct.unpack('>BB', path.read_bytes()[24:26])


def test_gta5(tmp_path):
  assert tree('gta5', tmp_path) == [
    'images/00001.png',
    'images/00002.png',
    'labels/00001.png',
    'labels/00002.png',
  ]
  path = tmp_path / 'labels' / '00002.png'
  image, label = render.render('game', 1, SIZE)
  assert header(path) == (8, 3)  # palette
  picture = Image.open(path)
  np.testing.assert_array_equal(np.asarray(picture), label)
  # The palette is the one of Cityscapes: road 7 is (128, 64, 128).
  colors = np.asarray(picture.convert('RGB'))
  assert (colors[label == 7] == (128, 64, 128)).all()
  assert (colors[label == 23] == (70, 130, 180)).all()
  read = tf.io.decode_png((tmp_path / 'images' / '00002.png').read_bytes())
  np.testing.assert_array_equal(read.numpy(), image)


def test_synthia(tmp_path):
  root = tmp_path / 'RAND_CITYSCAPES'
  assert tree('synthia', tmp_path, 1) == [
    'RAND_CITYSCAPES/GT/LABELS/0000000.png',
    'RAND_CITYSCAPES/RGB/0000000.png',
  ]
  path = root / 'GT' / 'LABELS' / '0000000.png'
  assert header(path) == (16, 2)  # RGB
  pixels = tf.io.decode_png(path.read_bytes(), dtype=tf.uint16).numpy()
  _, label = render.render('game', 0, SIZE)
  # Ids of SYNTHIA: road 3, building 2, sky 1, car 8; void 0.
  for cityscapes, synthia in ((7, 3), (11, 2), (23, 1), (26, 8), (0, 0)):
    assert (pixels[..., 0][label == cityscapes] == synthia).all()
  assert (pixels[..., 1] != 0).any() or not np.isin(label, (24, 26)).any()
  assert (pixels[..., 2] == 0).all()
  # A reader of 8 bits must not get away with it.
  assert not np.array_equal(
    np.asarray(Image.open(path))[..., 0], pixels[..., 0]
  )


def test_png16_against_another_reader():
  pixels = np.random.default_rng(0).integers(0, 1 << 16, (7, 5, 3))
  pixels = pixels.astype(np.uint16)
  read = tf.io.decode_png(raw_trees.png16(pixels), dtype=tf.uint16).numpy()
  np.testing.assert_array_equal(read, pixels)


def test_cityscapes(tmp_path):
  files = tree('cityscapes', tmp_path)
  for split, city in (('train', 'aachen'), ('val', 'frankfurt')):
    stem = f'{split}/{city}/{city}_000001_000019'
    assert f'leftImg8bit/{stem}_leftImg8bit.png' in files
    path = tmp_path / f'gtFine/{stem}_gtFine_labelIds.png'
    assert header(path) == (8, 0)  # grey
    read = tf.io.decode_png(path.read_bytes())[..., 0].numpy()
    _, label = render.render('city', 1, SIZE, split)
    np.testing.assert_array_equal(read, label)
  assert len(files) == 2 * 2 * 3


def test_crosscity(tmp_path):
  files = tree('crosscity', tmp_path)
  assert len(files) == 4 * 2 * 3
  for city in ('Rome', 'Rio', 'Tokyo', 'Taipei'):
    assert f'{city}/Images/Train/pano_00001.jpg' in files
    assert f'{city}/Images/Test/pano_00001.png' in files
    assert f'{city}/Labels/Test/pano_00001_eval.png' in files
    assert not (tmp_path / city / 'Labels' / 'Train').exists()
  # The second city's second image is the fourth scene.
  path = tmp_path / 'Rio' / 'Labels' / 'Test' / 'pano_00001_eval.png'
  read = tf.io.decode_png(path.read_bytes())[..., 0].numpy()
  np.testing.assert_array_equal(read, render.render('city', 3, SIZE, 'val')[1])
  jpeg = tmp_path / 'Rio' / 'Images' / 'Train' / 'pano_00001.jpg'
  read = tf.io.decode_jpeg(jpeg.read_bytes()).numpy().astype(int)
  image, _ = render.render('city', 3, SIZE)
  assert np.abs(read - image).mean() < 12


def test_bdd100k(tmp_path):
  files = tree('bdd100k', tmp_path)
  assert len(files) == 2 * 2 * 2
  for split in ('train', 'val'):
    assert f'bdd100k/images/10k/{split}/7d06fefd-00000001.jpg' in files
    masks = f'bdd100k/labels/sem_seg/masks/{split}'
    assert f'{masks}/7d06fefd-00000001.png' in files
    path = tmp_path / masks / '7d06fefd-00000001.png'
    assert header(path) == (8, 0)
    read = tf.io.decode_png(path.read_bytes())[..., 0].numpy()
    _, label = render.render('city', 1, SIZE, split)
    # Train ids: road 0, building 2, sky 10, car 13, bicycle 18; nothing 255.
    for cityscapes, bdd in {
      7: 0,
      11: 2,
      23: 10,
      26: 13,
      33: 18,
      0: 255,
    }.items():
      assert (read[label == cityscapes] == bdd).all(), cityscapes


def test_camvid(tmp_path):
  files = tree('camvid', tmp_path)
  assert len(files) == 3 * 2 * 2
  for split in ('train', 'val', 'test'):
    assert f'{split}/Seq05VD_f00030.png' in files
    assert f'{split}annot/Seq05VD_f00030.png' in files
  path = tmp_path / 'valannot' / 'Seq05VD_f00030.png'
  assert header(path) == (8, 0)
  read = tf.io.decode_png(path.read_bytes())[..., 0].numpy()
  _, label = render.render('city', 1, SIZE, 'val')
  assert set(np.unique(read)) <= labels.known_ids('camvid')
  # CamVid: sky 0, building 1, pole 2, road 3, tree 5 (terrain too), sign 6
  # (lights too), car 8 (buses too), bicyclist 10 (riders too), void 11.
  for cityscapes, camvid in {
    23: 0, 11: 1, 17: 2, 7: 3, 8: 4, 21: 5, 22: 5, 20: 6, 19: 6, 13: 7,
    26: 8, 28: 8, 31: 8, 24: 9, 25: 10, 33: 10, 12: 11, 1: 11, 4: 11,
  }.items():  # fmt: skip
    assert (read[label == cityscapes] == camvid).all(), cityscapes


def test_unknown_name(tmp_path):
  with pytest.raises(KeyError):
    raw_trees.write_raw_tree('kitti', tmp_path, 1, SIZE)
