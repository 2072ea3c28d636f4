"""SYNTHIA-RAND-CITYSCAPES: 9,400 rendered street scenes (Ros et al. 2016)."""

import pathlib

from jaxuda.datasets import files

NEEDS_RAW = True
VERSION = '1.0.0'
DEFAULT_SIZE = None  # that of the raw files
VARIANTS = ('', 'translated')
ENCODING = 'synthia'
COUNTS = {'train': 9_400}
# Channel 0 is the class, channel 1 an instance number.
LABEL_FORMATS = ('rgb16',)
ALSO_KNOWN = frozenset()
SIZES_DIFFER = frozenset()

HOMEPAGE = 'https://synthia-dataset.net/'
CITATION = """@inproceedings{Ros_2016_CVPR,
  author = {German Ros and Laura Sellart and Joanna Materzynska and
            David Vazquez and Antonio M. Lopez},
  title = {The SYNTHIA Dataset: A Large Collection of Synthetic Images for
           Semantic Segmentation of Urban Scenes},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition
               (CVPR)},
  year = {2016},
}"""


def examples(raw: pathlib.Path, variant: str, split: str) -> files.Split:
  """Pair RGB/0000000.png with GT/LABELS/0000000.png.

  The variant has images of the same names in another style, in translated/.
  """
  del split  # there is one
  if not (raw / 'RGB').is_dir() and (raw / 'RAND_CITYSCAPES').is_dir():
    raw = raw / 'RAND_CITYSCAPES'
  images = files.listing(raw / (variant or 'RGB'), dataset='synthia')
  labels = files.listing(raw / 'GT' / 'LABELS', dataset='synthia')
  return files.pair(images, labels)
