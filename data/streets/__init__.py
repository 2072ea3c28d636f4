"""Streets: rendered scenes in two domains; nothing to download.

`game` is a source like GTA5 and SYNTHIA, `city` a target like Cityscapes: other
materials and light, and other camera positions. render.py draws the scenes.
"""

import pathlib

from PIL import Image

from data.streets import render
from jaxuda.datasets import files

NEEDS_RAW = False
VERSION = '1.0.0'
DEFAULT_SIZE = (96, 192)
VARIANTS = render.DOMAINS
ENCODING = 'cityscapes'
# Enough for runs of some thousand steps and for an mIoU that repeats to about
# one point; hyper-parameters are chosen on 'tune', results reported on 'val'.
COUNTS = {'train': 2_000, 'val': 200, 'tune': 100}
LABEL_FORMATS = ('grey8',)
ALSO_KNOWN = frozenset()
SIZES_DIFFER = frozenset()

HOMEPAGE = ''
CITATION = ''


def examples(raw: pathlib.Path, variant: str, split: str) -> files.Split:
  """List the scenes of a split; their ids are all that rendering needs."""
  del raw  # there is none
  ids = [f'{variant}_{split}_{i:05}' for i in range(COUNTS[split])]
  return files.Split([files.Example(i, i, i) for i in ids], labelled=True)


def render_example(
  example_id: str, size: tuple[int, int] | None
) -> tuple[Image.Image, Image.Image]:
  """Render the scene of an id, 'game_train_00007'.

  Args:
    example_id: from `examples`.
    size: (H, W), None for `DEFAULT_SIZE`.

  Returns:
    (image, label): RGB, and 8-bit grey of Cityscapes label ids.
  """
  variant, split, index = example_id.split('_')
  image, label = render.render(variant, int(index), size or DEFAULT_SIZE, split)
  return Image.fromarray(image), Image.fromarray(label)
