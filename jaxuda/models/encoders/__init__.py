"""Encoders, one file each, found by name: images in, feature maps out.

An encoder's file exports

  SETTINGS: {key: Setting} of config.model.encoder, all but its name
  INPUT_NORM: the name of segmenter.INPUT_NORMS that its usual weights expect
  DECODER: the decoder that configs give it
  SIDES_DIVIDE_BY: the number by which both sides of an image must be divisible
  DEEPEST: the name of the map that a decoder's main head reads
  RNGS: the names of the random streams that training draws from, as 'dropout';
    where the module has none of that name, as in a teacher, it draws nothing
  build(config) -> Encoder, a flax module: (f[B, H, W, 3], train) ->
    {name: f[B, h, w, c]}
  channels(encoder_config) -> {name: c} of these maps
  param_group(path, config) -> 'backbone', 'no_decay' for what weight decay
    leaves out, or 'frozen' for what is never updated; path is a parameter's,
    below the encoder
  times_listed(path) -> how often the originals' optimizer lists a parameter
  LAYOUTS: the torch_names.Layouts of files that hold such an encoder alone
  package(encoder_config) -> Package, where one brings its ImageNet weights
"""

import sys
from types import ModuleType
from typing import NamedTuple

from jaxuda.utils import names


class Package(NamedTuple):
  """A package of the registry that brings pretrained weights.

  Attributes:
    distribution: as pip calls it.
    module: as Python calls it.
    file: of the weights, in its folder.
    sha256: of that file.
  """

  distribution: str
  module: str
  file: str
  sha256: str


def load(name: str) -> ModuleType:
  """Return the encoder's file of that name; a UserError names the nearest."""
  return names.load(sys.modules[__name__], name, 'encoder')
