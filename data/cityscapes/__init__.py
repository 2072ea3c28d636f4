"""Cityscapes, fine annotations: 2,975 + 500 images (Cordts et al. 2016)."""

import pathlib

from jaxuda.datasets import files

NEEDS_RAW = True
VERSION = '1.0.0'
DEFAULT_SIZE = None  # that of the raw files
VARIANTS = ()
ENCODING = 'cityscapes'
COUNTS = {'train': 2_975, 'val': 500}
LABEL_FORMATS = ('grey8',)
ALSO_KNOWN = frozenset()
SIZES_DIFFER = frozenset()

HOMEPAGE = 'https://www.cityscapes-dataset.com/'
CITATION = """@inproceedings{Cordts_2016_CVPR,
  author = {Marius Cordts and Mohamed Omran and Sebastian Ramos and Timo
            Rehfeld and Markus Enzweiler and Rodrigo Benenson and Uwe Franke
            and Stefan Roth and Bernt Schiele},
  title = {The Cityscapes Dataset for Semantic Urban Scene Understanding},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition
               (CVPR)},
  year = {2016},
}"""


def examples(raw: pathlib.Path, variant: str, split: str) -> files.Split:
  """Pair `*_leftImg8bit.png` with `*_gtFine_labelIds.png`.

  Either tree may be a folder or the zip archive as downloaded.
  """
  del variant  # there is one
  images = files.tree(
    raw,
    raw / 'leftImg8bit_trainvaltest.zip',
    'leftImg8bit',
    dataset='cityscapes',
  )
  labels = files.tree(
    raw, raw / 'gtFine_trainvaltest.zip', 'gtFine', dataset='cityscapes'
  )
  return files.pair(
    files.select(images, split, '_leftImg8bit'),
    files.select(labels, split, '_gtFine_labelIds'),
  )
