"""What two fidelity tests check against an original's recorded run."""

import jax
import numpy as np
import originals
import pytest
import seeded

# What we log, by its name in the originals' logs.
LOSSES = {
  'AdaptSegNet': {
    'seg_source_aux': 'loss_seg1',
    'seg_source_main': 'loss_seg2',
    'adv_aux': 'loss_adv_target1',
    'adv_main': 'loss_adv_target2',
    'd_aux': 'loss_D1',
    'd_main': 'loss_D2',
  },
  'AdvEnt': {
    'seg_source_aux': 'loss_seg_src_aux',
    'seg_source_main': 'loss_seg_src_main',
    'adv_aux': 'loss_adv_trg_aux',
    'adv_main': 'loss_adv_trg_main',
    'd_aux/target_loss': 'loss_d_aux',
    'd_main/target_loss': 'loss_d_main',
  },
  'MinEnt': {
    'seg_source_aux': 'loss_seg_src_aux',
    'seg_source_main': 'loss_seg_src_main',
    'ent_aux': 'loss_ent_aux',
    'ent_main': 'loss_ent_main',
  },
  'FADA': {
    'seg_source_main': 'loss_seg',
    'adv_main': 'loss_adv_tgt',
    'd_main': 'loss_D',
    'd_main/source_loss': 'loss_D_src',
    'd_main/target_loss': 'loss_D_tgt',
  },
}


def check_losses(trace, losses, rel=1e-4):
  """Every loss of every step, to a share of itself."""
  for ours, theirs in zip(losses, trace['losses'], strict=True):
    for name, key in LOSSES[trace['method']].items():
      if '/' in name and key not in theirs:  # not every record has halves
        continue
      logged = name if '/' in name else f'loss/{name}'
      if logged not in ours:  # the aux head of single-level ADVENT
        assert theirs[key] == 0
        continue
      value = ours[logged]
      if key == 'loss_adv_tgt':  # FADA logs it weighted
        value *= trace.get('weight', 0.001)
      if '/' in name:  # and the halves as halves
        value *= 0.5
      assert value == pytest.approx(theirs[key], rel=rel), name


def changes(trace, start, end):
  """{(module, key): [sum, norm, dot]} of every tensor's change."""
  parts = [
    ('segmenter', start.segmenter.params, end.segmenter.params),
    ('segmenter', start.segmenter.batch_stats, end.segmenter.batch_stats),
  ]
  before, after = start.discriminators.params, end.discriminators.params
  parts += [(name, before[name], after[name]) for name in before]
  found = {}
  for part, old, new in parts:
    leaves = jax.tree_util.tree_leaves_with_path(old)
    for (path, a), b in zip(leaves, jax.tree.leaves(new), strict=True):
      module, key = originals.name(trace, part, path)
      found[module, key] = seeded.change(
        key, *(originals.to_torch(np.asarray(x)) for x in (a, b))
      )
  return found


def check_changes(trace, found):
  """Norm and dot of each change, to a share of the change's norm.

  Both sides compute in float32, and batch norm over a few hundred pixels
  amplifies their rounding: five tensors may be off by more than 1 %, as many as
  PyTorch's own on other numbers of threads (docs/fidelity.md); which ones
  depends on the processor. A wrong rule is off by far more in many.
  """
  errors = change_errors(trace, found)
  assert max(errors.values()) < 0.03, max(errors, key=errors.get)
  close = [error < 0.01 for error in errors.values()]
  assert sum(close) >= len(close) - 5


def change_errors(trace, found):
  """{(module, key): how far norm and dot are off, as shares of the norm}.

  Asserts that all tensors are there, and that those that the original did not
  move have not moved.
  """
  counters = {k for k in found if k[1].endswith('num_batches_tracked')}
  unknown = originals.recorded_names(trace) ^ (found.keys() - counters)
  assert not {k for k in unknown if k[0] not in ('d_aux',)}
  errors = {}
  for (module, key), ours in found.items():
    if key.endswith('num_batches_tracked'):
      assert ours[0] == 2 * trace['steps']  # of the source and of the target
      continue
    theirs = originals.recorded_change(trace, module, key)
    norm = theirs[1]
    if norm == 0:  # a frozen affine, a dead branch: not moved at all
      assert ours[1] == 0, key
      continue
    errors[module, key] = max(abs(np.subtract(ours, theirs)[1:])) / norm
  return errors


def check_logits(trace, net, segmenter, rel=1e-3):
  """The main head's logits on the first target image, after the last step."""
  image, _ = seeded.images(trace['seed'] + 2, 1, trace['target_hw'])
  variables = {
    'params': segmenter.params,
    'batch_stats': segmenter.batch_stats,
  }
  logits = net.apply(variables, image, train=False).logits
  logits = np.asarray(logits['main'], np.float64).transpose(0, 3, 1, 2)
  recorded = trace['eval_logits']
  assert list(logits.shape) == recorded['shape_nchw']
  assert np.linalg.norm(logits) == pytest.approx(recorded['norm'], rel=rel)
  share = rel * np.abs(logits)  # of all that is summed, of the largest
  assert logits.sum() == pytest.approx(recorded['sum'], abs=share.sum())
  first = logits.ravel()[:8]
  np.testing.assert_allclose(first, recorded['first8'], atol=share.max())
