"""What is read of the predictions behind pseudo labels."""

import json

import pytest

from jaxuda.input import predictions
from jaxuda.utils.errors import UserError

CLASSES = ('road', 'wall', 'train')


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'metadata.json').write_text(
    json.dumps({'pseudo': {'command': 'make them'}})
  )
  return tmp_path


def test_rare_classes(folder):
  predictions.write(folder, {'road': 9_980, 'wall': 10, 'train': 10}, [], [])
  assert predictions.rare_classes(folder, CLASSES, 0.001) == ()
  assert predictions.rare_classes(folder, CLASSES, 0.0011) == (1, 2)
  assert predictions.rare_classes(folder, ('bus', 'road'), 0.001) == (0,)


def test_easy_and_hard(folder):
  """IntraDA: int(0.67 n) of the lowest entropy; of equals the first ones."""
  entropy = [0.9, 0.1, 0.5, 0.5, 0.5, 0.2, 0.8, 0.7, 0.3, 0.5]
  predictions.write(folder, {'road': 1}, entropy, [['road']] * 10)
  easy = predictions.select(folder, 'easy', 0.67)
  hard = predictions.select(folder, 'hard', 0.67)
  assert easy.tolist() == [1, 2, 3, 4, 5, 8]
  assert hard.tolist() == [0, 6, 7, 9]
  assert predictions.select(folder, 'all', 0.67) is None


def test_rare_classes_make_an_image_easy(folder):
  """By hand: three of eleven give a factor of 1.227273."""
  eleven = [f'class {i}' for i in range(11)]
  present = ['class 3', 'class 4', 'class 10', 'road']
  assert predictions.factor(present, eleven) == pytest.approx(1.227273)
  assert predictions.factor([], eleven) == 1.5
  entropy = [0.3, 0.4, 0.5, 0.2]
  predictions.write(
    folder, {'road': 1}, entropy, [['road'], eleven, eleven, ['road']]
  )
  easy = predictions.select(folder, 'easy', 0.5, eleven)  # 0.45 0.2 0.25 0.3
  assert easy.tolist() == [1, 2]


def test_a_folder_without_them(folder):
  with pytest.raises(UserError, match=r'cannot be read .* again: make them'):
    predictions.rare_classes(folder, CLASSES, 0.001)
  predictions.write(folder, {'road': 5}, [0.1], [['road']])
  file = folder / predictions.FILE
  file.write_text(file.read_text().replace('5', '6'))
  with pytest.raises(UserError, match=r'damaged .*crc32'):
    predictions.select(folder, 'easy', 0.5)
