"""The class table against the maps that the original projects publish.

The maps are written out here in full, raw id -> class index, as printed in the
loaders of AdaptSegNet, ADVENT, FADA, BDL and MaxSquareLoss.
"""

import subprocess
import sys
import time

import numpy as np
import pytest

from jaxuda import labels
from jaxuda.utils.errors import UserError

CITYSCAPES_19 = {
  7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10,
  24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
CITYSCAPES_16 = {
  7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 23: 9, 24: 10,
  25: 11, 26: 12, 28: 13, 32: 14, 33: 15,
}  # fmt: skip
CITYSCAPES_13 = {
  7: 0, 8: 1, 11: 2, 19: 3, 20: 4, 21: 5, 23: 6, 24: 7, 25: 8, 26: 9, 28: 10,
  32: 11, 33: 12,
}  # fmt: skip
SYNTHIA_16 = {
  3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 1: 9, 10: 10, 17: 11,
  8: 12, 19: 13, 12: 14, 11: 15,
}  # fmt: skip
SYNTHIA_19 = {
  3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11,
  17: 12, 8: 13, 18: 14, 19: 15, 20: 16, 12: 17, 11: 18,
}  # fmt: skip
CAMVID_19 = {
  0: 10, 1: 2, 2: 5, 3: 0, 4: 1, 5: 8, 6: 7, 7: 4, 8: 13, 9: 11, 10: 18,
}  # fmt: skip


@pytest.mark.parametrize(
  ('encoding', 'space', 'expected'),
  [
    ('cityscapes', 'cityscapes19', CITYSCAPES_19),
    ('cityscapes', 'synthia16', CITYSCAPES_16),
    ('cityscapes', 'crosscity13', CITYSCAPES_13),
    ('synthia', 'synthia16', SYNTHIA_16),
    ('synthia', 'cityscapes19', SYNTHIA_19),
    ('camvid', 'cityscapes19', CAMVID_19),
    ('camvid', 'camvid11', {i: i for i in range(11)}),
    ('bdd100k', 'cityscapes19', {i: i for i in range(19)}),
  ],
)
def test_id_map(encoding, space, expected):
  table = labels.id_map(encoding, space)
  assert table.dtype == np.uint8 and table.shape == (256,)
  assert {i: int(v) for i, v in enumerate(table) if v != 255} == expected
  assert set(expected) <= labels.known_ids(encoding)


@pytest.mark.parametrize(
  ('encoding', 'space', 'scored'),
  [
    ('camvid', 'cityscapes19', 'camvid11'),
    ('cityscapes', 'synthia16', 'synthia16in19'),
    ('cityscapes', 'cityscapes19', 'synthia16'),
    ('cityscapes', 'cityscapes19', 'crosscity13'),
  ],
)
def test_scored_labels_are_read_as_before(encoding, space, scored):
  """But for those that the scored space does not have: they do not count."""
  plain, chosen = (
    labels.id_map(encoding, space, given) for given in (None, scored)
  )
  merged = np.append(labels.merge(space, scored), np.full(256, -1))
  counted = merged[plain] >= 0
  np.testing.assert_array_equal(chosen[counted], plain[counted])
  assert (chosen[~counted] == labels.IGNORE).all()


def test_ids_have_names():
  names = labels.id_names('cityscapes')  # cityscapesScripts, labels.py
  assert names[:2] == ('unlabeled', 'ego vehicle') and names[18] == 'polegroup'
  assert (names[7], names[33], len(names)) == ('road', 'bicycle', 35)
  assert labels.id_names('synthia')[13] == 'parking slot'
  assert labels.id_names('camvid')[10:] == ('bicyclist', 'unlabelled')


def test_void_ids_are_known_but_not_mapped():
  assert labels.known_ids('cityscapes') == set(range(35))
  assert labels.known_ids('synthia') == set(range(23))
  assert labels.known_ids('camvid') == set(range(12))
  assert labels.id_map('camvid', 'camvid11')[11] == labels.IGNORE
  assert labels.id_map('synthia', 'synthia16')[22] == labels.IGNORE


def test_subsets_and_names():
  assert labels.space('cityscapes19').subsets == {'mIoU': tuple(range(19))}
  subsets = labels.space('synthia16').subsets
  assert subsets['mIoU-16'] == tuple(range(16))
  assert subsets['mIoU-13'] == (0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
  assert len(labels.space('crosscity13').classes) == 13
  bdl = labels.space('synthia16in19')  # evaluation.py's indices
  assert len(bdl.classes) == 19
  assert bdl.subsets == {
    'mIoU-16': (*range(9), 10, 11, 12, 13, 15, 17, 18),
    'mIoU-13': (0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18),
  }
  camvid = labels.space('camvid11').classes
  assert camvid[0] == 'sky' and camvid[4] == 'pavement'
  assert camvid[10] == 'bicyclist'
  # 16 and 13 classes as indices of the 19.
  names = labels.space('cityscapes19').classes
  sixteen = [names.index(c) for c in labels.space('synthia16').classes]
  assert sixteen == [*range(9), 10, 11, 12, 13, 15, 17, 18]
  thirteen = [names.index(c) for c in labels.space('crosscity13').classes]
  assert thirteen == [0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]


def test_classes_named_as_background():
  """ICIP 2020, Table 2: 17 classes; ids 11 and 23 are building and sky."""
  cut = labels.space('cityscapes19-building-sky')
  assert len(cut.classes) == 17
  assert not {'building', 'sky'} & set(cut.classes)
  assert cut.subsets == {'mIoU': tuple(range(17))}
  table = labels.id_map('cityscapes', 'cityscapes19-building-sky')
  mapped = [int(table[raw]) for raw in CITYSCAPES_19 if raw not in (11, 23)]
  assert mapped == list(range(17))
  assert table[11] == table[23] == labels.IGNORE
  assert labels.merge('cityscapes19', cut.name).tolist().count(-1) == 2
  without = labels.space('synthia16-traffic_light')
  assert set(without.subsets) == {'mIoU-15', 'mIoU-12'}
  with pytest.raises(UserError, match=r"class of cityscapes19 'skyy'.*'sky'"):
    labels.space('cityscapes19-skyy')
  with pytest.raises(UserError, match=r"class of synthia16 'terrain'"):
    labels.space('synthia16-terrain')
  to_camvid = labels.merge('cityscapes19', 'camvid11-sky').tolist()
  assert to_camvid[:3] == [2, 3, 0] and to_camvid[10] == -1


def test_merge_into_camvid_follows_the_scoring_rule():
  merged = dict(
    zip(
      labels.space('cityscapes19').classes,
      labels.merge('cityscapes19', 'camvid11').tolist(),
      strict=True,
    )
  )
  camvid = labels.space('camvid11').classes
  named = {c: camvid[i] if i >= 0 else None for c, i in merged.items()}
  assert named == {
    'road': 'road',
    'sidewalk': 'pavement',
    'building': 'building',
    'wall': None,
    'fence': 'fence',
    'pole': 'pole',
    'traffic light': 'sign',
    'traffic sign': 'sign',
    'vegetation': 'tree',
    'terrain': 'tree',
    'sky': 'sky',
    'person': 'pedestrian',
    'rider': 'bicyclist',
    'car': 'car',
    'truck': 'car',
    'bus': 'car',
    'train': 'car',
    'motorcycle': 'bicyclist',
    'bicycle': 'bicyclist',
  }


def test_merge_between_spaces():
  for name in (*labels.SPACES, 'cityscapes19-building-sky'):
    size = len(labels.space(name).classes)
    np.testing.assert_array_equal(labels.merge(name, name), np.arange(size))
  to_16 = labels.merge('cityscapes19', 'synthia16')
  assert to_16.dtype == np.int32
  assert [i for i, v in enumerate(to_16) if v < 0] == [9, 14, 16]
  back = labels.merge('synthia16', 'cityscapes19')
  np.testing.assert_array_equal(to_16[back], np.arange(16))


def test_stored_ids_are_read_back():
  for name in (*labels.SPACES, 'cityscapes19-building-sky'):
    size = len(labels.space(name).classes)
    encoding = labels.stored_encoding(name)
    read = labels.id_map(encoding, name)[labels.stored_ids(name)]
    np.testing.assert_array_equal(read[:size], np.arange(size))
    assert (read[size:] == labels.IGNORE).all()


def test_colorize():
  ids = np.array([[0, 10], [18, 255]], np.uint8)
  painted = labels.colorize(ids, labels.space('cityscapes19'))
  expected = [[[128, 64, 128], [70, 130, 180]], [[119, 11, 32], [0, 0, 0]]]
  np.testing.assert_array_equal(painted, np.array(expected, np.uint8))
  assert painted.dtype == np.uint8


def test_colors_differ_within_a_space():
  for name in labels.SPACES:
    colors = labels.space(name).colors
    assert colors.shape == (len(labels.space(name).classes), 3)
    assert len({tuple(c) for c in colors.tolist()}) == len(colors)


def test_unknown_names_are_refused_with_the_nearest():
  with pytest.raises(UserError, match="'synthia16'"):
    labels.space('synthia')
  with pytest.raises(UserError, match="'cityscapes'"):
    labels.id_map('cityscape', 'cityscapes19')
  with pytest.raises(UserError, match="'camvid11'"):
    labels.merge('cityscapes19', 'camvid')


def test_labels_import_is_light():
  code = 'import sys, jaxuda.labels; print("tensorflow" in sys.modules)'
  start = time.monotonic()
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == 'False'
  assert time.monotonic() - start < 2
