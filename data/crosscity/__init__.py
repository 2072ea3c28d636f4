"""Cross-City (NTHU): street views of four cities (Chen et al. 2017).

3,200 unlabelled training and 100 labelled test images a city, 13 classes.
"""

import os
import pathlib

from jaxuda import labels as class_table
from jaxuda.datasets import files

NEEDS_RAW = True
VERSION = '1.0.0'
DEFAULT_SIZE = None  # that of the raw files
VARIANTS = ('rome', 'rio', 'tokyo', 'taipei')
ENCODING = 'cityscapes'
COUNTS = {'train': 3_200, 'test': 100}
LABEL_FORMATS = ('grey8', 'palette8')
# A licence plate has the Cityscapes id -1, which is 255 in an 8-bit file.
ALSO_KNOWN = frozenset({class_table.IGNORE})
SIZES_DIFFER = frozenset()

HOMEPAGE = 'https://yihsinchen.github.io/segmentation_adaptation/'
CITATION = """@inproceedings{Chen_2017_ICCV,
  author = {Yi-Hsin Chen and Wei-Yu Chen and Yu-Ting Chen and Bo-Cheng Tsai and
            Yu-Chiang Frank Wang and Min Sun},
  title = {No More Discrimination: Cross City Adaptation of Road Scene
           Segmenters},
  booktitle = {IEEE International Conference on Computer Vision (ICCV)},
  year = {2017},
}"""


def examples(raw: pathlib.Path, variant: str, split: str) -> files.Split:
  """List Images/Train, or pair Images/Test with Labels/Test."""
  root = _city(raw, variant)
  folder = split.capitalize()
  images = files.listing(root / 'Images' / folder, dataset='crosscity')
  if split == 'train':
    return files.pair(images, None)
  labels = files.listing(
    root / 'Labels' / folder, dataset='crosscity', ending='_eval'
  )
  return files.pair(images, labels)


def _city(raw, variant):
  """Return the folder of a city: below `raw`, or `raw` itself."""
  files.check_folder(raw, 'crosscity')
  # abspath: '.' has no name of its own.
  for folder in (*sorted(raw.iterdir()), pathlib.Path(os.path.abspath(raw))):
    if folder.name.lower() == variant and folder.is_dir():
      return folder
  return raw / variant.capitalize()
