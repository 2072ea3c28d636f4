"""What the self-training methods share: a teacher's labels, mixed and masked.

The line of DACS (Tranheden et al., WACV 2021), DAFormer (Hoyer et al., CVPR
2022), HRDA (ECCV 2022) and MIC (CVPR 2023); their code differs from their
papers in places, and what runs here is the code.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxuda import labels, losses, methods
from jaxuda.losses import IGNORE
from jaxuda.methods import Example, _augment
from jaxuda.models import segmenter
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest
from jaxuda.utils.settings import Setting

Array = jax.Array

TEACHER = {
  'teacher.decay': Setting(
    0.999,
    'the most of itself that the teacher keeps at a step; 0.99 in DACS',
    least=0.0,
    most=1.0,
  ),
  'teacher.first': Setting(
    2,
    'after step i it keeps 1 - 1 / (i + first) at most: 2 in DAFormer, whose '
    'teacher follows before the next step; 1 in DACS, whose first one is a '
    'copy',
    least=1,
  ),
}
LABELLING = TEACHER | {
  'teacher.threshold': Setting(
    0.968,
    'the probability from which a pixel is confident; their share in a batch '
    'weighs all pseudo labels',
    least=0.0,
    most=1.0,
  ),
  'teacher.margins': Setting(
    (0, 0),
    'rows at the top and at the bottom whose pseudo labels do not count, of '
    'the crop; (15, 120) in DAFormer',
    least=0,
    length=2,
  ),
}
STRONG = {
  'strong.jitter': Setting(
    0.2,
    "of a mixed or masked image's colours; 0.25 in DACS",
    least=0.0,
    most=0.5,
  ),
  'strong.blur': Setting(True, 'whether half of these batches are blurred'),
}
SETTINGS = (
  LABELLING
  | STRONG
  | {
    'mix.per_image': Setting(
      False,
      'whether an image gives half of its own classes (DACS), or half of those '
      'of the batch (DAFormer)',
    ),
  }
)
THINGS = 'things'  # those of the class table, in a list of classes
DISTANCE = {
  'feature_distance.classes': Setting(
    (THINGS,),
    "names of the classes at whose pixels features stay ImageNet's; `things`: "
    'all those that the class table names so; None for no distance',
    optional=tuple,
    item=str,
  ),
  'feature_distance.share': Setting(
    0.75,
    "of a feature's cell, from which a class is the cell's",
    least=0.0,
    most=1.0,
  ),
}


def check(config) -> None:
  """Refuse what mixing the domains cannot use.

  Raises:
    UserError: labels of the target, batches of unequal sizes, or parts of one.
  """
  check_teacher(config)
  if 'feature_distance' in config:
    _check_distance(config)
  source, target = config.source, config.target
  for key in ('batch_size', 'crop', 'size'):
    if key == 'size' and any(source.crop):
      continue
    if source[key] != target[key]:
      raise UserError(
        f'config.source.{key}={source[key]} must be config.target.{key}='
        f'{target[key]}: the one is pasted into the other.'
      )


def check_teacher(config) -> None:
  """Refuse what a teacher's labels cannot be used with.

  Raises:
    UserError: labels of the target, or batches in parts.
  """
  methods.refuse_accumulation(config, "the pseudo labels' weight")
  if config.target.labels or config.target.labels_stage:
    raise UserError(
      f'config.target.labels: {config.method} labels the target itself.'
    )


def _check_distance(config):
  """Refuse names that are no classes; a class space may lack some that are."""
  known = labels.all_classes(config.classes)
  named = config.feature_distance.classes or ()
  if named == (THINGS,) and not labels.space(config.classes).things:
    raise UserError(
      f'config.feature_distance.classes: {config.classes} has no list of '
      '`things`; add it there, name classes here, or give None.'
    )
  for name in named:
    if name not in (*known, THINGS):
      raise UserError(
        f'config.feature_distance.classes: {name!r} is not a class'
        f'{nearest(name, known)}'
      )


class PseudoLabels(NamedTuple):
  """What a teacher says of the target.

  Attributes:
    label: u8[B, H, W].
    weight: f32[B, H, W], the confident share of the batch, 0 in margins.
  """

  label: Array
  weight: Array


def ema(config, step: Array) -> Array:
  """Return min(1 - 1 / (step + first), decay)."""
  teacher = config.teacher
  return jnp.minimum(1 - 1 / (step + teacher.first), teacher.decay)


def pseudo_labels(ctx) -> PseudoLabels:
  """Return the teacher's labels of the target, and their weights.

  q = share of the batch's pixels with max_c p_c >= threshold; every pixel has
  the weight q, but for the margins (DAFormer, dacs.py).
  """
  target, teacher = ctx.batch['target'], ctx.config.teacher
  p = jax.nn.softmax(ctx.predict(target['image']).logits['main'])
  share = (p.max(-1) >= teacher.threshold).mean()
  top, bottom = teacher.margins
  rows = jnp.arange(p.shape[1])
  counts = (rows >= top) & (rows < p.shape[1] - bottom)
  weight = jnp.broadcast_to(share * counts[:, None], p.shape[:3])
  if 'valid' in target:
    weight = weight * target['valid']
  return PseudoLabels(p.argmax(-1).astype(jnp.uint8), weight)


def class_mix(
  label: Array, keys: Array, classes: int, per_image: bool
) -> Array:
  """Return where the source is pasted: bool[B, H, W].

  Of the n labels that are there, ignored ones being one of them, each image
  draws ceil(n / 2) (ClassMix, Olsson et al., WACV 2021).

  Args:
    label: u8[B, H, W], the source's.
    keys: key[B].
    classes: how many there are, without the ignored one.
    per_image: whether the labels that are there are each image's, or the
      batch's.
  """
  place = jnp.where(label == IGNORE, classes, label)
  present = (place[..., None] == jnp.arange(classes + 1)).any((1, 2))
  if not per_image:
    present = jnp.broadcast_to(present.any(0), present.shape)
  drawn = jax.vmap(lambda key: jax.random.uniform(key, (classes + 1,)))(keys)
  rank = jnp.where(present, drawn, 2.0).argsort(-1).argsort(-1)
  chosen = present & (rank < (present.sum(-1, keepdims=True) + 1) // 2)
  return jax.vmap(lambda chosen, place: chosen[place])(chosen, place)


def mixed(ctx, taught: PseudoLabels) -> Example:
  """Return the target with half of the source's classes pasted into it.

  Pasted pixels have the source's labels with weight 1; the image is then
  jittered and blurred.
  """
  config, source = ctx.config, ctx.batch['source']
  target = ctx.batch['target']['image']
  keys = ctx.rng('mixed classes', len(target))
  classes = segmenter.num_classes(config)
  pasted = class_mix(source['label'], keys, classes, config.mix.per_image)
  image = jnp.where(pasted[..., None], source['image'], target)
  return Example(
    strong(ctx, image, 'mixed'),
    jnp.where(pasted, source['label'], taught.label),
    weight=jnp.where(pasted, 1.0, taught.weight),
  )


def strong(ctx, image: Array, name: str) -> Array:
  """Return a batch that is jittered at 4 of 5 steps and blurred at 1 of 2.

  One draw decides for the whole batch, the strengths are each image's
  (DAFormer, mmseg/models/utils/dacs_transforms.py).

  Args:
    ctx: of the step.
    image: [B, H, W, 3], 0 to 255.
    name: of the input; its draws differ from those of others.

  Returns:
    f32[B, H, W, 3], 0 to 255.
  """
  config = ctx.config.strong
  decide = jax.random.uniform(ctx.rng(f'strong {name}')[0], (2,))
  image = image.astype(jnp.float32)
  image = jax.lax.cond(
    decide[0] > 0.2,
    lambda x, keys: _augment.color_jitter(x, keys, config.jitter),
    lambda x, _: x,
    image,
    ctx.rng(f'jitter {name}', len(image)),
  )
  if not config.blur:
    return image
  return jax.lax.cond(
    decide[1] > 0.5,
    _augment.blur,
    lambda x, _: x,
    image,
    ctx.rng(f'blur {name}', len(image)),
  )


def has_distance(config) -> bool:
  """Return whether the feature distance is a term."""
  return config.feature_distance.classes is not None


def source_with_distance(ctx) -> Example:
  """Return the source, and what its feature distance needs."""
  source = ctx.batch['source']
  if not has_distance(ctx.config):
    return Example(source['image'], source['label'])
  name = segmenter.deepest(ctx.config)
  before = ctx.encode(source['image'])[name].astype(jnp.float32)
  settings = ctx.config.feature_distance
  space = labels.space(ctx.config.classes)
  named = {*settings.classes}
  if THINGS in named:
    named |= {*space.things}
  chosen = [i for i, name in enumerate(space.classes) if name in named]
  cells = cells_of(source['label'], before.shape[1:3], chosen, settings.share)
  extra = {'before': before, 'cells': cells}
  return Example(source['image'], source['label'], extra=extra)


def cells_of(
  label: Array, size: tuple[int, int], classes: list[int], share: float
) -> Array:
  """Return the cells that are mostly of one of some classes: bool[B, h, w].

  Args:
    label: u8[B, H, W].
    size: (h, w); cells of W // w pixels a side.
    classes: indices.
    share: of a cell's pixels that its class must have, at least.
  """
  side = label.shape[2] // size[1]
  h, w = (min(n, m // side) for n, m in zip(size, label.shape[1:], strict=True))
  cells = label[:, : h * side, : w * side].reshape(-1, h, side, w, side)
  shares = [(cells == c).mean((2, 4)) >= share for c in classes]
  found = jnp.stack(shares).any(0)
  return jnp.pad(found, ((0, 0), (0, size[0] - h), (0, size[1] - w)))


def feature_distance(ctx) -> dict[str, Array]:
  """Return feature_distance: how far features are from ImageNet's.

  The mean over the chosen cells of ||F(x) - F_ImageNet(x)||_2 over the channels
  of the encoder's deepest map; 0 where no cell is chosen (DAFormer, section
  3.3; dacs.py, masked_feat_dist).
  """
  if not has_distance(ctx.config):
    return {}
  now = ctx.outputs['source'].features[segmenter.deepest(ctx.config)]
  extra = ctx.inputs['source'].extra
  mean = losses.feature_distance(now, extra['before'], extra['cells'])
  return {'feature_distance': mean}
