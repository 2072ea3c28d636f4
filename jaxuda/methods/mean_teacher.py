"""Mean teacher: the student agrees with its own moving average on the target.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, as
French et al., "Self-ensembling for visual domain adaptation", ICLR 2018, have
it for adaptation: the student sees the target under colour jitter, the teacher
as it is, and the squared distance of their probabilities is a loss.
"""

import jax
import jax.numpy as jnp

from jaxuda.methods import Example, Method, _augment, _self_training
from jaxuda.utils.settings import Setting


def inputs(ctx) -> dict:
  """Return the source, and the jittered target with what the teacher says."""
  source, target = ctx.batch['source'], ctx.batch['target']
  keys = ctx.rng('jitter', len(target['image']))
  taught = jax.nn.softmax(ctx.predict(target['image']).logits['main'])
  return {
    'source': Example(source['image'], source.get('label'), source.get('soft')),
    'target': Example(
      _augment.color_jitter(target['image'], keys, ctx.config.teacher.jitter),
      target.get('label'),
      target.get('soft'),
      extra={'teacher': taught},
    ),
  }


def consistency(ctx) -> dict:
  """Return consistency_main: the mean squared distance of probabilities."""
  student = jax.nn.softmax(ctx.outputs['target'].logits['main'])
  teacher = ctx.inputs['target'].extra['teacher']
  return {'consistency_main': jnp.square(student - teacher).mean()}


METHOD = Method(
  streams=('source', 'target'),
  inputs=inputs,
  input_losses={'target': consistency},
  ema=_self_training.ema,
  settings=_self_training.TEACHER
  | {
    'teacher.jitter': Setting(
      0.2, "strength of the student's colour jitter", least=0.0, most=0.5
    ),
  },
)
