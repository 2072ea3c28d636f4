"""The training of a domain classifier of label maps; see domain_classifier."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxuda import input as input_lib
from jaxuda import losses, optim
from jaxuda.analyze import _label_maps
from jaxuda.labels import IGNORE
from jaxuda.models import resnet18
from jaxuda.state import NetworkState
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError

Array = jax.Array

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4  # ACCV 2020, section 4.1
_DOMAINS = (losses.SOURCE, losses.TARGET)


class Maps(NamedTuple):
  """Label maps of one domain, for training and for validation.

  Attributes:
    train, val: records of the splits.
    train_indices, val_indices: i64[N], positions in these.
  """

  train: input_lib.Records
  train_indices: np.ndarray
  val: input_lib.Records
  val_indices: np.ndarray


class Functions(NamedTuple):
  """The jitted functions of one kind of classifier; see `functions`.

  Attributes:
    init: seed -> NetworkState.
    step: NetworkState, (source u8[B, h, w], target u8[B, h', w']), seed ->
      NetworkState; the first is donated.
    wrong: NetworkState, u8[B, h, w], domain, number of the batch -> bool[B],
      which maps are taken for the other domain's.
  """

  init: Callable
  step: Callable
  wrong: Callable


def train(
  look: _label_maps.Look,
  domains: Sequence[Maps],
  *,
  width: int,
  lr: float,
  batch_size: int,
  iterations: int,
  every: int,
  seed: int,
) -> list[float]:
  """Train one classifier from random weights.

  Args:
    look: how maps are shown to it.
    domains: source and target.
    width, lr: of the ResNet-18; the constant learning rate.
    batch_size: maps of each domain in a step.
    iterations, every: steps in all, and between two validations.
    seed: of weights, order and patches.

  Returns:
    The validation error in 0..1 at each step of `validated`: the mean of both
    domains', so that chance is 1/2.

  Raises:
    UserError: the batch cannot be split over the devices, or a map cannot be
      read.
  """
  mesh = sharding.make_mesh()
  if batch_size % mesh.size:
    raise UserError(
      f'--batch_size={batch_size} must be a multiple of the {mesh.size} '
      'devices.'
    )
  compiled = functions(look, width, lr, mesh)
  put = sharding.shard_batch(mesh)
  batches = _train_batches(look, domains, batch_size, iterations, seed)
  network, errors = compiled.init(seed), []
  validations = validated(iterations, every)
  with input_lib.prefetch(batches, put) as ready:
    for i, batch in enumerate(ready, 1):
      network = compiled.step(network, batch, seed)
      if i in validations:
        rates = [
          _error(
            compiled.wrong, network, look.space, maps, domain, batch_size, put
          )
          for maps, domain in zip(domains, _DOMAINS, strict=True)
        ]
        errors.append(float(np.mean(rates)))
  return errors


def _train_batches(look, domains, batch_size, iterations, seed):
  """Pairs of batches of label maps, one of each domain."""
  batches = []
  for name, maps in zip(('source', 'target'), domains, strict=True):
    order = input_lib.shuffled_epochs(
      len(maps.train_indices), seed, name, 0, iterations * batch_size
    )
    batches.append(
      input_lib.label_batches(
        maps.train,
        space=look.space,
        indices=maps.train_indices[order],
        batch_size=batch_size,
      )
    )
  return zip(*batches, strict=True)


def validated(iterations: int, every: int) -> list[int]:
  """Return the steps after which a classifier is validated, the last included.

  Args:
    iterations, every: steps in all, and between two validations.
  """
  return sorted({*range(every, iterations + 1, every), iterations})


def _error(wrong, network, space, maps, domain, batch_size, put):
  """Return the share of a domain's maps that is taken for the other's."""
  batches = input_lib.label_batches(
    maps.val, space=space, indices=maps.val_indices, batch_size=batch_size
  )
  total = 0
  for i, label in enumerate(batches):
    missing = batch_size - len(label)
    full = np.pad(label, ((0, missing), (0, 0), (0, 0)), constant_values=IGNORE)
    found = wrong(network, put(full), domain, i)
    total += int(np.asarray(jax.device_get(found))[: len(label)].sum())
  return total / len(maps.val_indices)


def error_of_one_pixel(
  look: _label_maps.Look, domains: Sequence[Maps], batch_size: int
) -> float:
  """Return the lowest error achievable from one random pixel's class.

  It is 1/2 - 1/4 sum_c |p_c - q_c|, of the classes' shares in the validation
  maps: the limit of the best classifier's error as patches become smaller.
  """
  whole = jax.jit(look.whole)
  shares = []
  for maps in domains:
    counts = np.zeros(256, np.int64)
    for label in input_lib.label_batches(
      maps.val,
      space=look.space,
      indices=maps.val_indices,
      batch_size=batch_size,
    ):
      counts += np.bincount(np.asarray(whole(label)).ravel(), minlength=256)
    shares.append(counts / counts.sum())
  return float(0.5 - np.abs(shares[0] - shares[1]).sum() / 4)


@functools.cache  # the trainings of one kind share it
def functions(
  look: _label_maps.Look, width: int, lr: float, mesh: jax.sharding.Mesh
) -> Functions:
  """Return the jitted functions of a classifier.

  Args:
    look: how maps are shown to it.
    width, lr: of the ResNet-18; the constant learning rate.
    mesh: of the devices.
  """
  net = resnet18.ResNet18(1, width)
  tx = optim.sgd(lambda step: lr, MOMENTUM, WEIGHT_DECAY)
  channels = _label_maps.codes(look.space, look.encoding, look.void).shape[1]

  def init(seed):
    blank = jnp.zeros((1, 32, 32, channels))
    variables = net.init(jax.random.key(seed), blank, train=False)
    params = variables['params']
    return NetworkState(params, variables['batch_stats'], tx.init(params))

  def step(network, batch, seed):
    rng = jax.random.fold_in(
      jax.random.key(seed), optax.tree.get(network.opt_state, 'count')
    )
    keys = jax.random.split(rng, (2, len(batch[0])))
    x = jnp.concatenate([look(*each) for each in zip(batch, keys, strict=True)])

    def loss(params):
      variables = {'params': params, 'batch_stats': network.batch_stats}
      logits, updated = net.apply(
        variables, x, train=True, mutable=['batch_stats']
      )
      halves = jnp.split(logits, 2)
      both = map(losses.domain_loss, halves, _DOMAINS)
      return sum(both) / 2, updated['batch_stats']

    grads, batch_stats = jax.grad(loss, has_aux=True)(network.params)
    updates, opt_state = tx.update(grads, network.opt_state, network.params)
    params = optax.apply_updates(network.params, updates)
    return NetworkState(params, batch_stats, opt_state)

  def wrong(network, label, domain, start):
    # The same patches at each validation, whatever the seed of the training.
    rng = jax.random.fold_in(jax.random.key(0), start)
    x = look(label, jax.random.split(rng, len(label)))
    variables = {'params': network.params, 'batch_stats': network.batch_stats}
    logit = net.apply(variables, x, train=False)[:, 0]
    return (logit > 0) != (domain == losses.TARGET)

  replicated = sharding.replicated(mesh)
  return Functions(
    jax.jit(init, out_shardings=replicated),
    jax.jit(step, out_shardings=replicated, donate_argnums=0),
    jax.jit(wrong, out_shardings=replicated),
  )
