"""BDD100K, semantic segmentation: 7,000 + 1,000 images (Yu et al. 2020)."""

import pathlib

from jaxuda.datasets import files

NEEDS_RAW = True
VERSION = '1.0.0'
DEFAULT_SIZE = None  # that of the raw files
VARIANTS = ()
ENCODING = 'bdd100k'
COUNTS = {'train': 7_000, 'val': 1_000}
LABEL_FORMATS = ('grey8',)
ALSO_KNOWN = frozenset()
SIZES_DIFFER = frozenset()

HOMEPAGE = 'http://bdd-data.berkeley.edu/'
CITATION = """@inproceedings{Yu_2020_CVPR,
  author = {Fisher Yu and Haofeng Chen and Xin Wang and Wenqi Xian and Yingying
            Chen and Fangchen Liu and Vashisht Madhavan and Trevor Darrell},
  title = {BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask
           Learning},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition
               (CVPR)},
  year = {2020},
}"""
_TOP = 'bdd100k'  # within its archives


def examples(raw: pathlib.Path, variant: str, split: str) -> files.Split:
  """Pair images/10k/SPLIT/NAME.jpg with labels/sem_seg/masks/SPLIT/NAME.png.

  Either tree may be a folder or the zip archive as downloaded.
  """
  del variant  # there is one
  if (raw / 'images').is_dir():  # the folder that the archives hold
    raw = pathlib.Path(raw.resolve().parent)
  images = files.tree(
    raw, raw / 'bdd100k_images_10k.zip', f'{_TOP}/images/10k', dataset='bdd100k'
  )
  labels = files.tree(
    raw,
    raw / 'bdd100k_sem_seg_labels_trainval.zip',
    f'{_TOP}/labels/sem_seg/masks',
    dataset='bdd100k',
  )
  return files.pair(
    files.select(images, split, '', ('.jpg',)),
    files.select(labels, split, ''),
  )
