"""What a config builds, and what a run's folder gives back."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from jaxuda import checkpoints, labels, methods, optim, state, step
from jaxuda import config as config_lib
from jaxuda.config import defaults
from jaxuda.models import segmenter as segmenter_lib
from jaxuda.state import Nets, NetworkState, TrainState, Txs
from jaxuda.utils.errors import UserError

NETWORKS = defaults.EVAL['network'].choices  # of a run, which predict


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained segmenter.

  Attributes:
    config: the experiment's.
    net: the segmenter.
    params, batch_stats: its variables, on the host.
    step: of the checkpoint.
    network: which of the run's networks it is, one of NETWORKS.
    space: the class space of its logits.
    eval_space: the class space in which it is scored.
  """

  config: ml_collections.ConfigDict
  net: segmenter_lib.Segmenter
  params: dict
  batch_stats: dict
  step: int
  network: str
  space: labels.LabelSpace
  eval_space: labels.LabelSpace


def segmenter(config) -> segmenter_lib.Segmenter:
  """Return the segmenter that a config describes.

  Raises:
    UserError: a setting is none of its choices.
  """
  config_lib.check_values(config)
  return segmenter_lib.build(config)


def build(config) -> tuple[Nets, Txs]:
  """Return the modules and optimizers of an experiment."""
  method = methods.load(config.method)
  nets = Nets(
    segmenter(config), method.discriminators(config), method.ema is not None
  )
  return nets, Txs(optim.segmenter(config), optim.discriminators(config))


def abstract_state(config) -> TrainState:
  """Return the shapes and types of an experiment's state; traced once."""
  return _abstract_state(ml_collections.FrozenConfigDict(config))


@functools.cache
def _abstract_state(config):
  return state.abstract(*build(config))


def train_step(config) -> Callable:
  """Return step.train_step of an experiment, of (state, batch, constants)."""
  nets, txs = build(config)
  return functools.partial(
    step.train_step,
    nets=nets,
    txs=txs,
    method=methods.load(config.method),
    config=config,
  )


def constants(
  config,
  before: Run | NetworkState | None,
  priors: Mapping[str, Any] | None = None,
) -> dict:
  """Return what a step takes beside its state and its batch.

  Args:
    config: an experiment's.
    before: has the segmenter's variables before training; None where the method
      does not compare with them.
    priors: of Method.priors; None for none.

  Returns:
    {'rng': the data of the key of `seed`, of which steps draw}; 'encoder': its
    variables before training, of a method that compares with them; 'priors':
    these, where there are some.
  """
  method = methods.load(config.method)
  # Not in the program, or it would be compiled for each seed; and on the host,
  # as only from there it goes to the devices of several processes.
  key = jax.random.key_data(jax.random.key(config.seed))
  found = {'rng': np.asarray(key)}
  if method.compares_with_start(config):
    found['encoder'] = {
      'params': before.params['encoder'],
      'batch_stats': before.batch_stats.get('encoder', {}),
    }
  if priors:
    found['priors'] = dict(priors)
  return found


def load(
  workdir: str | os.PathLike,
  checkpoint: str | int = 'latest',
  network: str | None = None,
) -> Run:
  """Restore a run's network on the host, whatever it was trained on.

  Args:
    workdir: the run's folder.
    checkpoint: 'latest', 'best' or a step.
    network: 'segmenter', or 'ema' for its teacher; None for `eval.network`.

  Raises:
    UserError: not a run, no such checkpoint or network, or a damaged one.
  """
  workdir = pathlib.Path(workdir)
  config = config_lib.read_run(workdir)
  network = network or config.eval.network
  if network not in NETWORKS:
    raise UserError(f'--network={network} is none of {", ".join(NETWORKS)}.')
  if network == 'ema' and methods.load(config.method).ema is None:
    raise UserError(
      f'--network=ema: {workdir} is a run of {config.method}, which has no '
      'teacher.'
    )
  parts = [f'{network}/params', f'{network}/batch_stats']
  at, tree, _ = checkpoints.restore_part(
    workdir / 'checkpoints', _step(checkpoint), parts
  )
  found = tree[network]
  return from_variables(
    config, found['params'], found.get('batch_stats', {}), at, network
  )


def from_variables(
  config,
  params: dict,
  batch_stats: dict,
  step: int,
  network: str = 'segmenter',
) -> Run:
  """Return the run of a config, with these variables of its segmenter."""
  return Run(
    config,
    segmenter(config),
    params,
    batch_stats,
    step,
    network,
    labels.space(config.classes),
    labels.space(config.eval.classes or config.classes),
  )


def image_size(config) -> tuple[int, int] | None:
  """Return the size at which images are evaluated, or else trained.

  That of the target; None where its images have sizes of their own.
  """
  return config.eval.size or config.target.size


def load_discriminators(
  workdir: str | os.PathLike, checkpoint: str | int = 'latest'
) -> dict[str, dict]:
  """Return {discriminator: params} of a run, on the host; as `load`."""
  config = config_lib.read_run(workdir)
  if not methods.load(config.method).discriminators(config):
    return {}
  _, tree, _ = checkpoints.restore_part(
    pathlib.Path(workdir) / 'checkpoints',
    _step(checkpoint),
    ('discriminators/params',),
  )
  return tree['discriminators']['params']


def _step(checkpoint: str | int) -> str | int:
  return int(checkpoint) if str(checkpoint).isdecimal() else checkpoint
