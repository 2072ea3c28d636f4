"""The VGG-16 of AdaptSegNet and FADA, at output stride 8.

(AdaptSegNet, model/deeplab_vgg.py: torchvision's features without pool4 and
pool5, conv5 dilated by 2, then fc6 and fc7 as 3x3 convolutions dilated by 4.)
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers, torch_names
from jaxuda.models.torch_names import Layout
from jaxuda.utils.settings import Setting

Array = jax.Array

SETTINGS = {'width': Setting(64, 'channels of the first layer', least=1)}
INPUT_NORM = 'caffe'
DECODER = 'deeplab_v2'
SIDES_DIVIDE_BY = 1
DEEPEST = 'fc7'
RNGS = ()

# (index in the checkpoint's Sequential, channels at width 64, dilation);
# 0 channels is a 2x2 max-pooling.
_LAYERS = (
  (0, 64, 1),
  (2, 64, 1),
  (4, 0, 0),
  (5, 128, 1),
  (7, 128, 1),
  (9, 0, 0),
  (10, 256, 1),
  (12, 256, 1),
  (14, 256, 1),
  (16, 0, 0),
  (17, 512, 1),
  (19, 512, 1),
  (21, 512, 1),
  (23, 512, 2),
  (25, 512, 2),
  (27, 512, 2),
  (29, 1024, 4),  # fc6
  (31, 1024, 4),  # fc7
)


class Encoder(nn.Module):
  """Convolutions with bias and ReLU; no norm, no dropout.

  Attributes:
    width: channels of the first layer, 64 as published.
    dtype: compute type.
    remat: whether each convolution's activations are recomputed.
  """

  width: int = 64
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> dict[str, Array]:
    """Map f[B, H, W, 3] to fc7, f[B, H // 8, W // 8, 16 width]."""
    del train  # nothing here behaves differently
    conv = nn.remat(layers.Conv) if self.remat else layers.Conv
    for index, size, dilation in _LAYERS:
      if size == 0:
        x = nn.max_pool(x, (2, 2), (2, 2))
        continue
      x = conv(
        size * self.width // 64,
        3,
        padding=dilation,
        dilation=dilation,
        use_bias=True,
        dtype=self.dtype,
        name=f'features_{index}',
      )(x)
      x = nn.relu(x)
    return {DEEPEST: x}


def build(config) -> Encoder:
  """Return the encoder that `config.model` describes."""
  model = config.model
  return Encoder(model.encoder.width, jnp.dtype(model.dtype), model.remat)


def channels(encoder_config) -> dict[str, int]:
  """Return the channels of each map that the encoder gives."""
  return {DEEPEST: 16 * encoder_config.width}


def param_group(path: tuple[str, ...], config) -> str:
  """Return a parameter's group: all of them are trained."""
  del path, config
  return 'backbone'


def times_listed(path: tuple[str, ...]) -> int:
  """Return how often the originals' SGD lists a parameter: once."""
  del path
  return 1


# conv5_1 to conv5_3 follow a pooling in torchvision that DeepLab leaves out.
_CONV5 = tuple(
  (rf'features\.{ours}\.', f'features.{theirs}.')
  for ours, theirs in ((23, 24), (25, 26), (27, 28))
)
_NO_FC = (r'features\.(29|31)\.', None)  # fc6 and fc7 as convolutions
_CAFFE = {
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

LAYOUTS = (
  Layout(
    'vgg',
    "ImageNet's VGG-16 as torchvision names it, and its caffe conversion",
    (r'features\.0\.weight', r'features\.28\.weight'),
    torch_names.in_order(*_CONV5, _NO_FC),
    {r'(classifier|fc\d?)\.': _OTHER_FC},
    torch_names.HEADLESS,
  ),
  Layout(
    'caffe_vgg',
    "ImageNet's VGG-16 as caffe names it",
    (r'conv1_1\.weight', r'conv5_3\.weight'),
    torch_names.in_order(
      _NO_FC,
      *(
        (rf'features\.{ours}\.', f'conv{theirs}.')
        for ours, theirs in _CAFFE.items()
      ),
    ),
    {r'(fc[678]|score\w*|upscore\w*)\.': _OTHER_FC},
    torch_names.HEADLESS,
  ),
)
