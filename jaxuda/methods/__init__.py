"""Methods, one file each, found by name: METHOD is what a file exports.

Beside it stand the functions that METHOD names, in the order and the words of
the method's paper. What two methods share is a function in `_adversarial.py`,
`_augment.py`, `_self_training.py` or `_views.py`; no method imports another
one. What goes with any method, as MIC, exports `add_to(method) -> Method` in
METHOD's place.
"""

import dataclasses
import functools
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import numpy as np

from jaxuda.models.segmenter import Outputs
from jaxuda.utils import names
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting

Array = jax.Array


class Example(NamedTuple):
  """What the segmenter is trained on in one forward pass.

  Attributes:
    image: u8[B, H, W, 3], or floats of the same range.
    label: u8[B, H, W] class indices, 255 where ignored; None for no cross
      entropy.
    soft: u8[B, H, W, C], a distribution over the classes in the label's place,
      up to a factor; None for the label alone.
    weight: f32[B, H, W], of each pixel in the cross entropy, which is then a
      mean over all pixels; None for none.
    extra: whatever else the method's terms want to know of it.
  """

  image: Array
  label: Array | None = None
  soft: Array | None = None
  weight: Array | None = None
  extra: Mapping[str, Array] = {}


class SourceLabels(Protocol):
  """All labels of the source, as `Method.priors` sees them.

  Attributes:
    class_counts: i64[N, C], the pixels of each class in each label.
  """

  @property
  def class_counts(self) -> np.ndarray:
    """See above."""

  def label_maps(self, count: int) -> Iterator[np.ndarray]:
    """Iterate over so many labels at most, u8[H, W], spread over all."""


@dataclasses.dataclass(frozen=True)
class StepContext:
  """What a method sees of one step.

  Attributes:
    batch: a stream's name to its 'image', its 'label' where it has one, and
      'soft' where that is soft; of the target pseudo labels at most.
    config: the experiment's, a ConfigDict.
    step: i32[], from 0.
    keys: key[B], one for each place in the batch.
    inputs: of `Method.inputs`; {} while that runs.
    outputs: an input's name to the segmenter's Outputs; {} while inputs are
      made, constants for the discriminators' losses.
    params: the segmenter's.
    discriminate: applies a discriminator: (name, its input) -> its logits; a
      key as the third argument is what it drops units by.
    decode: the heads once more: (an input's name, 'heads' or 'features') ->
      {head: logits}, of which only the heads' own parameters have a gradient,
      or only what comes before them; in `segmenter_losses` alone.
    predict: a teacher's Outputs for an image u8[B, H, W, 3], without gradient;
      None where the method has no teacher. It normalises by the batch's
      statistics and updates its own running ones, as the segmenter does.
    encode: the maps {name: f[B, h, w, c]} of the encoder as it was before
      training, for an image, without gradient; None where the method does not
      ask for it.
    priors: of `Method.priors`.
  """

  batch: Mapping[str, Mapping[str, Array]]
  config: Any
  step: Array
  keys: Array
  inputs: Mapping[str, Example] = dataclasses.field(default_factory=dict)
  outputs: Mapping[str, Outputs] = dataclasses.field(default_factory=dict)
  params: Mapping = dataclasses.field(default_factory=dict)
  discriminate: Callable[..., Array] | None = None
  decode: Callable[[str, str], dict[str, Array]] | None = None
  predict: Callable[[Array], Outputs] | None = None
  encode: Callable[[Array], Mapping[str, Array]] | None = None
  priors: Mapping[str, Array] = dataclasses.field(default_factory=dict)

  def rng(self, name: str, images: int | None = None) -> Array:
    """Return key[images], for the first places of the batch.

    Args:
      name: what is drawn; each name has its own keys, the same in every call.
      images: how many; None for one for each place.
    """
    number = zlib.crc32(name.encode())
    return jax.vmap(jax.random.fold_in, (0, None))(self.keys[:images], number)


def _as_read(ctx: StepContext) -> dict[str, Example]:
  """Return each stream as it is read, in the batch's order."""
  return {
    stream: Example(each['image'], each.get('label'), each.get('soft'))
    for stream, each in ctx.batch.items()
  }


def _nothing(*_) -> dict:
  return {}


def _never(_) -> bool:
  return False


def _accept(_) -> None:
  pass


@dataclasses.dataclass(frozen=True)
class Method:
  """A method of domain adaptation.

  Attributes:
    streams: what is read, in this order; 'source' first.
    inputs: what is forwarded, in its order: ctx -> {name: Example}; outside of
      every gradient. By default the streams as they are read.
    segmenter_losses: ctx -> {term: f32[]}, beside the cross entropies
      `seg_<input>_<head>` of all inputs with labels, which are the step's own.
    input_losses: an input's name to ctx -> {term: f32[]}, terms that need the
      outputs of that input alone. Where a method has no others, its gradients
      are taken input by input.
    discriminators: config -> {name: flax module}.
    discriminator_losses: ctx -> {term: f32[]}; no gradient of theirs reaches
      the segmenter.
    ema: (config, i32[] step) -> f32[], how much of itself a teacher keeps when
      it takes over the segmenter's parameters after the step of that index;
      None for no teacher.
    compares_with_start: config -> whether its inputs call `ctx.encode`.
    priors: (config, SourceLabels) -> {name: array}, what its terms take for
      given of the source's labels as a whole; found at each start of a run.
    settings: {key: Setting} of all that a config of the method has beyond what
      every config has.
    check: config -> None; raises UserError for settings that cannot work.
    torch_layout: the layout by which its discriminators, or all its networks,
      are exported; '' for the discriminators' own.

  Each term is multiplied by `config.loss_weights` of its name. What has a slash
  in its name, such as d_main/source_accuracy, is no term: it is only logged.
  """

  streams: tuple[str, ...]
  inputs: Callable[[StepContext], dict[str, Example]] = _as_read
  segmenter_losses: Callable[[StepContext], dict[str, Array]] = _nothing
  input_losses: Mapping[str, Callable[[StepContext], dict[str, Array]]] = (
    dataclasses.field(default_factory=dict)
  )
  discriminators: Callable[[Any], Mapping[str, nn.Module]] = _nothing
  discriminator_losses: Callable[[StepContext], dict[str, Array]] = _nothing
  ema: Callable[[Any, Array], Array] | None = None
  compares_with_start: Callable[[Any], bool] = _never
  priors: Callable[[Any, SourceLabels], Mapping[str, np.ndarray]] = _nothing
  settings: Mapping[str, Setting] = dataclasses.field(default_factory=dict)
  check: Callable[[Any], None] = _accept
  torch_layout: str = ''

  @property
  def has_joint_losses(self) -> bool:
    """Whether a term may need the outputs of several inputs."""
    return self.segmenter_losses is not _nothing


def refuse_accumulation(config, what: str) -> None:
  """Refuse a step that goes through its batch in parts.

  Args:
    config: an experiment's.
    what: the quantity that is a mean over the pixels that count in a whole
      batch; parts of it have different numbers of them.

  Raises:
    UserError: config.grad_accum_steps is above 1.
  """
  if config.grad_accum_steps > 1:
    raise UserError(
      f'config.grad_accum_steps={config.grad_accum_steps}: {what} is a mean '
      'over the pixels that count in the whole batch.'
    )


def require_twin_heads(config) -> None:
  """Refuse a network that has not two heads on the same features.

  Args:
    config: an experiment's.

  Raises:
    UserError: names the keys.
  """
  decoder = config.model.decoder
  if not (decoder.multi_level and decoder.shared_features):
    raise UserError(
      f'method {config.method} needs config.model.decoder.multi_level=True and '
      'config.model.decoder.shared_features=True: two heads on one map.'
    )


@functools.cache  # equal methods are one object, by which steps are compiled
def load(name: str) -> Method:
  """Return the method of that name; a UserError names the nearest.

  'mic+dacs' is DACS with MIC added to it: the method of the file that stands
  last, to which each one before it adds by its `add_to`.
  """
  *added, base = name.split('+')
  method = _load(base, 'METHOD')
  for other in reversed(added):
    method = _load(other, 'add_to')(method)
  return method


def _load(name, what):
  file = names.load(sys.modules[__name__], name, 'method')
  if not hasattr(file, what):
    raise UserError(
      f'{name} is added to a method, as in {name}+dacs.'
      if what == 'METHOD'
      else f'{name} is a method, and nothing that is added to one.'
    )
  return getattr(file, what)
