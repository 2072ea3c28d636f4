"""GTA5: 24,966 frames of a computer game, labelled (Richter et al. 2016)."""

import pathlib

from jaxuda.datasets import files

NEEDS_RAW = True
VERSION = '1.0.0'
DEFAULT_SIZE = None  # that of the raw files
VARIANTS = ('', 'translated')
ENCODING = 'cityscapes'
COUNTS = {'train': 24_966}
# Only the palette indices are class ids; the colours are decoration.
LABEL_FORMATS = ('palette8',)
ALSO_KNOWN = frozenset()
# Published with an image and a label of different sizes. The loaders of
# AdaptSegNet and ADVENT resize each by itself, and so do we.
SIZES_DIFFER = frozenset(
  f'{i:05}' for i in (15188, 17705, *range(20801, 20861))
)

HOMEPAGE = 'https://download.visinf.tu-darmstadt.de/data/from_games/'
CITATION = """@inproceedings{Richter_2016_ECCV,
  author = {Stephan R. Richter and Vibhav Vineet and Stefan Roth and
            Vladlen Koltun},
  title = {Playing for Data: Ground Truth from Computer Games},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2016},
}"""


def examples(raw: pathlib.Path, variant: str, split: str) -> files.Split:
  """Pair images/00001.png with labels/00001.png.

  The variant has images of the same names in another style, in translated/.
  """
  del split  # there is one
  images = files.listing(raw / (variant or 'images'), dataset='gta5')
  labels = files.listing(raw / 'labels', dataset='gta5')
  return files.pair(images, labels)
