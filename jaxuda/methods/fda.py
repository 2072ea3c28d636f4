"""FDA: the source's low frequencies take the amplitudes of the target's.

Yang and Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation",
CVPR 2020; train.py, utils/__init__.py. Nothing is trained against anything: the
segmenter learns the source in the target's colours and light, and lowers the
target's entropy, less where it is already sure.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxuda.methods import Example, Method
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting

Array = jax.Array


def check(config) -> None:
  """Refuse images without a partner of their size.

  Raises:
    UserError: names the keys.
  """
  pair = {name: config[name] for name in ('source', 'target')}
  sizes = {
    name: tuple(s.crop) if any(s.crop) else s.size for name, s in pair.items()
  }
  if None not in sizes.values() and sizes['source'] != sizes['target']:
    raise UserError(
      f'method fda needs images of one size, and they have {sizes["source"]} '
      f'and {sizes["target"]}: set config.source.crop and config.target.crop.'
    )
  batch = {name: s.batch_size for name, s in pair.items()}
  if batch['source'] != batch['target']:
    raise UserError(
      f'config.source.batch_size={batch["source"]} and '
      f'config.target.batch_size={batch["target"]} must be the same: each '
      "source image takes the target's of its place."
    )


def inputs(ctx) -> dict:
  """Return the source in the target's style, and the target."""
  source, target = ctx.batch['source'], ctx.batch['target']
  config = ctx.config.fourier
  styled = transfer(
    source['image'], target['image'], config.beta, config.window
  )
  return {
    'source': Example(styled, source['label'], source.get('soft')),
    'target': Example(target['image'], target.get('label'), target.get('soft')),
  }


def transfer(source: Array, target: Array, beta: float, window: str) -> Array:
  """Return the source with the target's amplitudes at low frequencies.

  Of each channel, without rounding or clipping. Phases stay (Eqs. 3 and 4).

  Args:
    source, target: [B, H, W, 3], 0 to 255.
    beta: b = floor(beta min(H, W)) is the half side of the window.
    window: 'centred', all frequencies up to b, symmetric and therefore exact
      (FDA_source_to_target_np); or 'corners', rows and columns -b to b - 1 of
      the spectrum, which has no real inverse: of its result torch 1's irfft
      takes the left half (FDA_source_to_target).

  Returns:
    f32[B, H, W, 3].
  """
  size = source.shape[1:3]
  ours, theirs = (
    jnp.fft.fft2(x.astype(jnp.float32), axes=(1, 2)) for x in (source, target)
  )
  # e^(i phase), 1 where there is nothing, as NumPy's angle of 0 is 0.
  phase = jnp.exp(1j * jnp.angle(ours))
  low = low_frequencies(size, int(beta * min(size)), window)
  mixed = jnp.where(low[..., None], jnp.abs(theirs) * phase, ours)
  if window == 'corners':
    half = mixed[:, :, : size[1] // 2 + 1]
    return jnp.fft.irfft2(half, s=size, axes=(1, 2))
  return jnp.fft.ifft2(mixed, axes=(1, 2)).real


def low_frequencies(size: Sequence[int], b: int, window: str) -> Array:
  """Return which entries of a spectrum are in the window, bool[H, W].

  Args:
    size: (H, W).
    b: its half side.
    window: of `transfer`.
  """
  above = b + 1 if window == 'centred' else b

  def inside(n):
    place = jnp.arange(n)
    return (place < above) | (place >= n - b)

  rows, columns = map(inside, size)
  return rows[:, None] & columns


def robust_entropy(ctx) -> dict:
  """Return ent_main: the target's entropy by a penalty that is flat near 0.

  The mean of (H^2 + 1e-8)^eta, H being the entropy of a pixel over log C; 0
  before the step `robust.first_step` (Eq. 6; its Charbonnier penalty).
  """
  log_p = jax.nn.log_softmax(ctx.outputs['target'].logits['main'])
  entropy = -(jnp.exp(log_p) * log_p).sum(-1) / jnp.log(log_p.shape[-1])
  config = ctx.config.robust
  penalty = (jnp.square(entropy) + 1e-8) ** config.eta
  begun = ctx.step >= config.first_step
  return {'ent_main': jnp.where(begun, penalty.mean(), 0.0)}


METHOD = Method(
  streams=('source', 'target'),
  inputs=inputs,
  input_losses={'target': robust_entropy},
  settings={
    'fourier.beta': Setting(
      0.01,
      "the window's half side, in shares of the shorter side; 0.05 and 0.09 in "
      'the other two of three networks',
      least=0.0,
      most=0.5,
    ),
    'fourier.window': Setting(
      'centred',
      "the code's NumPy form, or its torch form, which is not symmetric",
      ('centred', 'corners'),
    ),
    'robust.eta': Setting(2.0, 'the power of the entropy penalty', least=0.5),
    'robust.first_step': Setting(
      1,
      "from which the entropy's term counts: 50,001 by the code's default, 1 "
      'by its README',
      least=0,
    ),
  },
  check=check,
)
