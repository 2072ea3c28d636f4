"""Patterns of own images and labels: what they match, and what is paired."""

import pytest

from jaxuda.datasets import own, photos

TOML = """
classes = [{ name = "water", id = 7 }]
[splits.train]
images = "images/train"
labels = "labels/**/*_gt.png"
"""


@pytest.fixture
def toml(tmp_path):
  """Two images and their labels, of which the names alone matter."""
  for name in (
    'images/train/a.webp',
    'images/train/b/c.webp',
    'labels/a_gt.png',
    'labels/b/c_gt.png',
  ):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  return tmp_path / 'own.toml'


def examples(path, images, labels='labels/**/*_gt.png'):
  """The label of each image of a split with these patterns, by id."""
  text = TOML.replace('"images/train"', f'"{images}"')
  path.write_text(text.replace('labels/**/*_gt.png', labels))
  found = own.describe(str(path)).examples(path, '', 'train').examples
  return {each.id: each.label for each in found if each.image}


@pytest.mark.parametrize(
  'images',
  [
    'images/train/**',
    'images/train/',
    'images/train/**/*',
    'images/train/**/*.*',
    'images/train/**/*.web*',
    '@/images/train/**/*.webp',
  ],
)
def test_patterns(images, toml, tmp_path):
  """By what is matched in front of the suffix, in every subfolder."""
  images = images.replace('@', str(tmp_path))
  labelled = {'a': 'labels/a_gt.png', 'b/c': 'labels/b/c_gt.png'}
  expected = {key: f'{tmp_path}/{path}' for key, path in labelled.items()}
  assert examples(toml, images, 'labels/**/*_gt.*') == expected


def test_neither_hidden_files_nor_links_are_followed(toml, tmp_path, capsys):
  """As in a folder of photographs; what is passed over is counted."""
  folder = tmp_path / 'images/train'
  for name in ('.a.webp', '.git/x.webp', 'b/notes.txt'):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
  (folder / 'again').symlink_to(folder / 'b')
  assert [*examples(toml, 'images/train')] == ['a', 'b/c']
  said = capsys.readouterr().out
  assert said == (
    f'{toml}: splits.train.images = "images/train": passed over 2 files '
    '(1 again, 1 .txt)\n'
  )
  assert [p.name for p in photos.find(folder)] == ['a', 'b/c']
