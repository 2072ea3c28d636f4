"""The names of PyTorch checkpoints: one table of layouts.

Our own modules are named as AdaptSegNet's and ADVENT's, so that a name of
theirs follows from a path of ours (`plain_name`); each layout says what its
files call that instead.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from jaxuda.utils.errors import UserError

_LEAVES = {
  'kernel': 'weight',
  'scale': 'weight',
  'mean': 'running_mean',
  'var': 'running_var',
}


class Layout(NamedTuple):
  """How the tensors of a kind of file are named.

  Attributes:
    name: as `inspect` prints it and `export --layout` takes it.
    about: whose files these are.
    marks: regexes, each of which some key of such a file matches; the first
      layout of LAYOUTS that has all of its marks is the file's.
    rename: a plain name to the file's; None for what the file never holds.
    unused: regex of keys -> why nothing reads them.
    fresh: why parameters without a name in the file keep their initial values.
    discriminator: regex of the keys of the discriminator in a file that holds
      both networks.
    settings: config.model's, which no shape tells and which such files are for.
  """

  name: str
  about: str
  marks: tuple[str, ...]
  rename: Callable[[str], str | None]
  unused: Mapping[str, str] = {}
  fresh: str = ''
  discriminator: str = ''
  settings: Mapping[str, str] = {}


def plain_name(path: tuple[str, ...]) -> str:
  """ADVENT's name of a parameter or statistic of ours.

  ('backbone', 'layer1_0', 'conv1', 'kernel') -> 'layer1.0.conv1.weight'.
  """
  *modules, leaf = (name for name in path if name != 'backbone')
  modules = [re.sub(r'_(\d+)$', r'.\1', name) for name in modules]
  return '.'.join([*modules, _LEAVES.get(leaf, leaf)])


def _same(name):
  return name


def _in_order(*replacements):
  """A rename by the first (regex, replacement) that matches; else the same."""

  def rename(name):
    for pattern, replacement in replacements:
      if re.match(pattern, name):
        return replacement and re.sub(pattern, replacement, name, count=1)
    return name

  return rename


_HEAD = r'layer[56]\.'
_NO_HEAD = (_HEAD, None)
_HEADLESS = 'the file holds a backbone without our heads'

# conv5_1 to conv5_3 follow a pooling in torchvision that DeepLab leaves out.
_CONV5 = tuple(
  (rf'features\.{ours}\.', f'features.{theirs}.')
  for ours, theirs in ((23, 24), (25, 26), (27, 28))
)
_FC = (r'features\.(29|31)\.', None)  # fc6 and fc7 as convolutions
_CAFFE_VGG = {
  0: '1_1',
  2: '1_2',
  5: '2_1',
  7: '2_2',
  10: '3_1',
  12: '3_2',
  14: '3_3',
  17: '4_1',
  19: '4_2',
  21: '4_3',
  23: '5_1',
  25: '5_2',
  27: '5_3',
}
_OTHER_FC = "its fully connected layers are not DeepLab's convolutions"

_CAFFE = {'style': 'caffe', 'pixels': 'caffe'}

LAYOUTS = (
  Layout(
    'fada',
    "FADA's checkpoints",
    (r'feature_extractor\.backbone\.', r'classifier\.conv2d_list\.'),
    _in_order(
      (r'layer6\.', 'classifier.'),
      (r'features\.', 'feature_extractor.backbone.'),
      (r'(D\.|cls[12]\.)', r'model_D.\1'),
      ('', 'feature_extractor.backbone.'),
    ),
    {
      r'iteration$': 'training goes by our own step',
      r'optimizer_': "torch's optimizer state",
    },
    discriminator=r'model_D\.',
    settings={'style': 'torchvision'},
  ),
  Layout(
    'scale',
    'the pretrained files of AdaptSegNet, ADVENT, BDL and CLAN',
    (r'Scale\.layer1\.0\.conv1\.weight',),
    _in_order(_NO_HEAD, ('', 'Scale.')),
    {r'Scale\.layer5\.': "another dataset's classifier"},
    _HEADLESS,
    settings=_CAFFE,
  ),
  Layout(
    'deeplab',
    "AdaptSegNet's and ADVENT's segmenters",
    (r'layer1\.0\.conv1\.weight', r'layer6\.conv2d_list\.0\.weight'),
    _same,
    settings=_CAFFE,
  ),
  Layout(
    'bdl',
    "BDL's segmenter, whose main head is called layer5",
    (r'layer1\.0\.conv1\.weight', r'layer5\.conv2d_list\.0\.weight'),
    _in_order((r'layer5\.', None), (r'layer6\.', 'layer5.')),
    settings=_CAFFE,
  ),
  Layout(
    'torchvision_resnet',
    "torchvision's ImageNet ResNets",
    (r'layer1\.0\.conv1\.weight', r'conv1\.weight'),
    _in_order(_NO_HEAD),
    {r'fc\.': "ImageNet's classifier"},
    _HEADLESS,
    settings={'pixels': 'torchvision'},
  ),
  Layout(
    'deeplab_vgg',
    "AdaptSegNet's VGG-16 segmenter",
    (r'features\.0\.weight', r'classifier\.conv2d_list\.0\.weight'),
    _in_order((r'layer6\.', 'classifier.')),
  ),
  Layout(
    'vgg',
    "ImageNet's VGG-16 as torchvision names it, and its caffe conversion",
    (r'features\.0\.weight', r'features\.28\.weight'),
    _in_order(_NO_HEAD, *_CONV5, _FC),
    {r'(classifier|fc\d?)\.': _OTHER_FC},
    _HEADLESS,
  ),
  Layout(
    'caffe_vgg',
    "ImageNet's VGG-16 as caffe names it",
    (r'conv1_1\.weight', r'conv5_3\.weight'),
    _in_order(
      _NO_HEAD,
      _FC,
      *(
        (rf'features\.{ours}\.', f'conv{theirs}.')
        for ours, theirs in _CAFFE_VGG.items()
      ),
    ),
    {r'(fc[678]|score\w*|upscore\w*)\.': _OTHER_FC},
    _HEADLESS,
  ),
  Layout(
    'discriminator',
    "AdaptSegNet's, BDL's and CLAN's discriminators",
    (r'conv4\.weight', r'classifier\.weight'),
    _same,
  ),
  Layout(
    'advent_discriminator',
    "ADVENT's discriminators",
    (r'0\.weight', r'8\.weight'),
    _in_order(
      (r'conv1\.', '0.'),
      (r'conv2\.', '2.'),
      (r'conv3\.', '4.'),
      (r'conv4\.', '6.'),
      (r'classifier\.', '8.'),
    ),
  ),
  Layout(
    'fada_discriminator',
    "FADA's discriminator alone",
    (r'D\.0\.weight', r'cls1\.weight', r'cls2\.weight'),
    _same,
  ),
)
BY_NAME = {layout.name: layout for layout in LAYOUTS}


def detect(keys: Iterable[str], where: object) -> Layout:
  """The layout of a file's keys.

  Raises:
    UserError: it is none of LAYOUTS; names `where` and the first keys.
  """
  keys = list(keys)
  for layout in LAYOUTS:
    if all(any(re.match(m, key) for key in keys) for m in layout.marks):
      return layout
  first = ', '.join(keys[:4]) or 'none'
  raise UserError(
    f'{where} has the keys of no known model: {first}'
    f'{", ..." if len(keys) > 4 else ""}.'
  )
