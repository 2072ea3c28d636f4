"""The VGG-16 of AdaptSegNet and FADA, at output stride 8.

(AdaptSegNet, model/deeplab_vgg.py: torchvision's features without pool4 and
pool5, conv5 dilated by 2, then fc6 and fc7 as 3x3 convolutions dilated by 4.)
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers

Array = jax.Array

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


class VGG16(nn.Module):
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
  def __call__(self, x: Array) -> Array:
    """f[B, H, W, 3] -> f[B, H // 8, W // 8, 16 width]."""
    conv = nn.remat(layers.Conv) if self.remat else layers.Conv
    for index, channels, dilation in _LAYERS:
      if channels == 0:
        x = nn.max_pool(x, (2, 2), (2, 2))
        continue
      x = conv(
        channels * self.width // 64,
        3,
        padding=dilation,
        dilation=dilation,
        use_bias=True,
        dtype=self.dtype,
        name=f'features_{index}',
      )(x)
      x = nn.relu(x)
    return x
