"""Originals that step in turn, against our one step: equal to first order.

Both start from the same weights of a network of two linear maps. The distance
after an iteration falls with the square of the learning rate, so that halving
that quarters it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from contexts import context, outputs

from jaxuda.losses import SOURCE, TARGET, binary_cross_entropy, cross_entropy
from jaxuda.methods import Example, cycada, mcd, pycda

# Of its own: with other numbers a label could change within a step.
RNG = np.random.default_rng(1)
CLASSES, SIZE = 4, (3, 5)
IMAGES = {
  stream: jnp.array(RNG.standard_normal((2, *SIZE, 6)), jnp.float32)
  for stream in ('source', 'target')
}
LABEL = jnp.array(RNG.integers(0, CLASSES, (2, *SIZE)), jnp.uint8)


def drawn(**shapes):
  return {
    name: jnp.array(RNG.standard_normal(shape) / 2, jnp.float32)
    for name, shape in shapes.items()
  }


PARAMS = drawn(encoder=(6, 5), main=(5, CLASSES), aux=(5, CLASSES))
D_PARAMS = drawn(d=(CLASSES,))


def logits(params, stream, encoder=lambda x: x, heads=lambda x: x):
  features = IMAGES[stream] @ encoder(params['encoder'])
  return {head: features @ heads(params[head]) for head in ('main', 'aux')}


def of_labels(params, heads=('main', 'aux')):
  found = logits(params, 'source')
  return sum(cross_entropy(found[head], LABEL) for head in heads)


def descend(loss, params, rate, names=None, times=1):
  """Take steps of plain gradient descent in some of the parameters."""
  for _ in range(times):
    slopes = jax.grad(loss)(params)
    params = {
      name: leaf - rate * slopes[name] if not names or name in names else leaf
      for name, leaf in params.items()
    }
  return params


def distance(one, other):
  gaps = (np.square(one[name] - other[name]).sum() for name in one)
  return np.sqrt(sum(map(float, gaps)))


def weighted(terms, name):
  """The sum of a method's terms with the weights of its config."""
  weights = tiny.weights(name)
  return sum(weights[k] * v for k, v in terms.items() if '/' not in k)


def shown(params):
  return {s: outputs(logits(params, s)) for s in IMAGES}


def mcd_in_turn(params, rate):
  """adapt_trainer.py: all, then the heads, then four times the encoder."""

  def apart(params):
    return mcd.discrepancy(logits(params, 'target'))

  heads = ('main', 'aux')
  params = descend(of_labels, params, rate)
  params = descend(lambda p: of_labels(p) - apart(p), params, rate, names=heads)
  return descend(apart, params, rate, names=('encoder',), times=4)


def mcd_at_once(params, rate):
  def loss(params):
    def decode(name, trains):
      stop = jax.lax.stop_gradient
      if trains == 'heads':
        return logits(params, name, encoder=stop)
      return logits(params, name, heads=stop)

    given = context(tiny.config('mcd'), None, shown(params))
    given = given.__class__(
      **vars(given)
      | {
        'decode': decode,
        'inputs': {'source': Example(IMAGES['source'], LABEL)},
      }
    )
    return of_labels(params) + weighted(mcd.segmenter_losses(given), 'mcd')

  return descend(loss, params, rate)


def cycada_d(d_params, params):
  """The discriminator's loss, of scores that are held constant."""
  answers = {s: logits(params, s)['main'] @ d_params['d'] for s in IMAGES}
  pairs = (('source', SOURCE), ('target', TARGET))
  return sum(binary_cross_entropy(answers[s], d) for s, d in pairs) / 2


def cycada_in_turn(params, rate):
  """train_fcn_adda.py: D, the segmenter against the new D, the source."""
  own = {name: params[name] for name in PARAMS}
  d = descend(lambda d: cycada_d(d, own), {'d': params['d']}, rate)
  weight = tiny.weights('cycada')['adv_main']

  def fooling(params):
    answers = logits(params, 'target')['main'] @ d['d']
    return weight * binary_cross_entropy(answers, SOURCE)

  own = descend(fooling, own, rate)
  return descend(lambda p: of_labels(p, ('main',)), own, rate) | d


def cycada_at_once(params, rate):
  config = tiny.config('cycada')

  def given(own, d):
    def discriminate(name, seen, key):
      return seen @ d['d']

    return context(config, discriminate, shown(own))

  def loss(own):
    terms = cycada.segmenter_losses(given(own, {'d': params['d']}))
    return of_labels(own, ('main',)) + weighted(terms, 'cycada')

  def d_loss(d):
    return cycada.discriminator_losses(given(own, d))['d_main']

  own = {name: params[name] for name in PARAMS}
  d = descend(d_loss, {'d': params['d']}, rate)
  return descend(loss, own, rate) | d


SHARES = jnp.array([0.4, 0.3, 0.2, 0.1])


def pycda_terms(params):
  config = tiny.config('pycda', 'pyramid.boxes=(1,2)')
  given = context(config, None, shown(params))
  given = given.__class__(**vars(given) | {'priors': {'shares': SHARES}})
  return weighted(pycda.curriculum(given), 'pycda')


def pycda_in_turn(params, rate):
  """train_pycda.py: the source, then the target."""
  params = descend(lambda p: of_labels(p, ('main',)), params, rate)
  return descend(pycda_terms, params, rate)


def pycda_at_once(params, rate):
  return descend(
    lambda p: of_labels(p, ('main',)) + pycda_terms(p), params, rate
  )


@pytest.mark.parametrize(
  ('in_turn', 'at_once', 'start'),
  [
    (mcd_in_turn, mcd_at_once, PARAMS),
    (cycada_in_turn, cycada_at_once, PARAMS | D_PARAMS),
    (pycda_in_turn, pycda_at_once, PARAMS),
  ],
  ids=['mcd', 'cycada', 'pycda'],
)
def test_equal_to_first_order(in_turn, at_once, start):
  gaps, moved = [], []
  for rate in (0.02, 0.01):
    one, other = in_turn(start, rate), at_once(start, rate)
    gaps.append(distance(one, other))
    moved.append(distance(other, start))
  assert moved[0] / moved[1] == pytest.approx(2, rel=0.1)
  assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.15)
  assert gaps[1] < 0.1 * moved[1]
