"""What is exported: from an image to class indices and probabilities."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from jaxuda.evaluation import inference
from jaxuda.evaluation.predictor import MIN_SIDE
from jaxuda.experiment import Run
from jaxuda.models import layers

Array = jax.Array

IMAGE = 'image'  # the input's name
LEAST = (f'h >= {MIN_SIDE}', f'w >= {MIN_SIDE}')  # of images of any size
PLATFORMS = ('cpu', 'cuda', 'tpu')


# eq=False: JAX keeps it as a function, by what it is.
@dataclasses.dataclass(frozen=True, eq=False)
class Program:
  """A run's segmenter, from an image to what it predicts of it.

  Attributes:
    run: the trained network.
    size: (height, width) of the image; None for any.
    settings: scales, flip and more of `inference.probabilities`.
    probabilities: whether they are among the outputs.
  """

  run: Run
  size: tuple[int, int] | None
  settings: dict[str, Any]
  probabilities: bool

  @property
  def shape(self) -> tuple:
    """The image's, (1, H, W, 3); of any size with symbols for H and W."""
    if self.size:
      return (1, *self.size, 3)
    return export.symbolic_shape('1, h, w, 3', constraints=LEAST)

  @property
  def image(self) -> jax.ShapeDtypeStruct:
    """The input."""
    return jax.ShapeDtypeStruct(self.shape, jnp.uint8)

  @property
  def variables(self) -> tuple[dict, dict]:
    """What `__call__` takes as such."""
    return self.run.params, self.run.batch_stats

  def __call__(self, variables: tuple, image: Array) -> dict[str, Array]:
    """Segment an image at its own size.

    Args:
      variables: params and batch_stats.
      image: u8[1, H, W, 3] RGB.

    Returns:
      'ids', u8[1, H, W], and perhaps 'probabilities', f32[1, H, W, C].
    """
    p = inference.probabilities(
      *variables,
      image,
      net=self.run.net,
      size=image.shape[1:3],
      **self.settings,
    )
    outputs = {'ids': jnp.argmax(p, -1).astype(jnp.uint8)}
    return outputs | ({'probabilities': p} if self.probabilities else {})

  def on_each_platform(self, variables: tuple, image: Array) -> dict:
    """Do the same, with convolutions in the form that each platform wants."""
    return jax.lax.platform_dependent(
      variables, image, cpu=self, default=self.plain
    )

  def plain(self, variables: tuple, image: Array) -> dict[str, Array]:
    """Do the same, with convolutions as they come."""
    with layers.plain_convolutions():
      return self(variables, image)
