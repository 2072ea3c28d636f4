"""Runs: what a config builds, and what a workdir gives back."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax.numpy as jnp
import ml_collections

from jaxuda import labels, losses, methods, optim, step
from jaxuda.config import loading as config_lib
from jaxuda.input import sampling
from jaxuda.methods import _adversarial as adversarial
from jaxuda.methods import _views as views
from jaxuda.methods import ass, fada, local_alignment
from jaxuda.models import deeplab, norm, resnet
from jaxuda.pseudo_labels import rules
from jaxuda.state import Nets, Txs
from jaxuda.utils.errors import UserError

_CHOICES = {
  'model.backbone': ('resnet', 'vgg16'),
  'model.style': resnet.STYLES,
  'model.pixels': deeplab.PIXELS,
  'model.norm': norm.MODES,
  'model.affine': ('frozen', 'trained'),
  'model.kernel_init': ('caffe', 'he'),
  'model.dtype': ('float32', 'bfloat16'),
  'optim.name': ('sgd', 'adamw'),
  'optim.repeats': ('authors', 'dedupe'),
  'source.sampling': sampling.SAMPLINGS,
  'target.sampling': sampling.SAMPLINGS,
  'labelled.sampling': sampling.SAMPLINGS,
  'seg_mean': ('batch', 'image', 'all'),
  'eval.upsample': ('logits', 'probabilities'),
  'eval.average': ('probabilities', 'logits'),
  'eval.absent': ('left_out', 'zero'),
  'statistics': ('both', 'target'),
  'discriminator.outputs': (1, 2),
  # Of some methods only.
  'information': views.SELF_INFORMATION,
  'objective': ('flipped', 'reversal'),
  'gan': losses.DOMAIN_LOSSES,
  'direction': adversarial.DIRECTIONS,
  'encoding': fada.ENCODINGS,
  'semantics': ass.SEMANTICS,
  'local.mixture': local_alignment.MIXTURES,
  'local.global_game': local_alignment.GLOBAL_GAMES,
  'pseudo.rule': rules.RULES,
  'pseudo.upsample': ('logits', 'probabilities'),
}


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained segmenter.

  Attributes:
    config: the experiment's.
    net: the segmenter.
    params, batch_stats: its variables, on the host.
    step: of the checkpoint.
    space: the class space of its logits.
    eval_space: the class space in which it is scored.
  """

  config: ml_collections.ConfigDict
  net: deeplab.DeepLabV2
  params: dict
  batch_stats: dict
  step: int
  space: labels.Space
  eval_space: labels.Space


def segmenter(config) -> deeplab.DeepLabV2:
  """The segmenter that `config.model` and `config.classes` describe.

  Raises:
    UserError: a setting is none of its choices.
  """
  flat = config_lib.flatten(config)
  for key, choices in _CHOICES.items():
    if key in flat and flat[key] not in choices:
      raise UserError(
        f'config.{key}={flat[key]!r} is none of {", ".join(map(str, choices))}.'
      )
  if config.model.backbone == 'vgg16' and config.model.multi_level:
    raise UserError(
      'config.model.multi_level=True needs the ResNet; VGG-16 has one head.'
    )
  model = config.model.to_dict()
  del model['affine']  # the optimizer's business
  model['dtype'] = jnp.dtype(model['dtype'])
  return deeplab.DeepLabV2(
    num_classes=len(labels.space(config.classes).classes), **model
  )


def build(config) -> tuple[Nets, Txs]:
  """The modules and optimizers of an experiment."""
  method = methods.load(config.method)
  nets = Nets(segmenter(config), method.discriminators(config))
  return nets, Txs(optim.segmenter(config), optim.discriminators(config))


def train_step(config) -> Callable:
  """step.train_step of an experiment: a function of (state, batch) alone."""
  nets, txs = build(config)
  return functools.partial(
    step.train_step,
    nets=nets,
    txs=txs,
    method=methods.load(config.method),
    config=config,
  )


def load(workdir: str | pathlib.Path, checkpoint: str = 'latest') -> Run:
  """Restores a run's segmenter on the host, whatever it was trained on.

  Args:
    workdir: the run's folder.
    checkpoint: 'latest', 'best' or a step.

  Raises:
    UserError: not a run, no such checkpoint, or a damaged one.
  """
  from jaxuda import checkpoints

  workdir = pathlib.Path(workdir)
  config = config_lib.read_run(workdir)
  at, tree, _ = checkpoints.restore_part(
    workdir / 'checkpoints', _step(checkpoint)
  )
  found = tree['segmenter']
  return from_variables(
    config, found['params'], found.get('batch_stats', {}), at
  )


def from_variables(config, params: dict, batch_stats: dict, step: int) -> Run:
  """The run of a config, with these variables of its segmenter."""
  return Run(
    config,
    segmenter(config),
    params,
    batch_stats,
    step,
    labels.space(config.classes),
    labels.space(config.eval.classes or config.classes),
  )


def load_discriminators(
  workdir: str | pathlib.Path, checkpoint: str | int = 'latest'
) -> dict[str, dict]:
  """{discriminator: params} of a run, on the host; as `load`."""
  from jaxuda import checkpoints

  config = config_lib.read_run(pathlib.Path(workdir))
  if not methods.load(config.method).discriminators(config):
    return {}
  _, tree, _ = checkpoints.restore_part(
    pathlib.Path(workdir) / 'checkpoints',
    _step(checkpoint),
    ('discriminators/params',),
  )
  return tree['discriminators']['params']


def _step(checkpoint: str | int) -> str | int:
  return int(checkpoint) if str(checkpoint).isdigit() else checkpoint
