"""Decoders, one file each, found by name: feature maps in, logits out.

A decoder's file exports

  SETTINGS: {key: Setting} of config.model.decoder, all but its name
  build(config, num_classes) -> Decoder, a flax module: ({name: f[B, h, w, c]},
    train) -> {head: f32[B, h, w, C]} and the map that the main head reads;
    its `predicted(logits)` are the prediction's logits
  main_channels(config) -> the channels of that map
  RNGS: as an encoder's
  heads(decoder_config) -> the names of these heads, the main one first
  param_group(path, config) -> 'head', or 'frozen' for what is never updated
  head_params(params) -> {head: its parameters}
  LAYOUTS: the torch_names.Layouts of files that hold a whole segmenter
  ATTENTION (optional): settings that HRDA's scale attention, which is a decoder
    of the same kind, has in place of the config's
  exports(config.model) (optional) -> the names of the originals' layouts that a
    run's segmenter can be written by, the default first
"""

import sys
from types import ModuleType

from jaxuda.utils import names


def load(name: str) -> ModuleType:
  """Return the decoder's file of that name; a UserError names the nearest."""
  return names.load(sys.modules[__name__], name, 'decoder')
