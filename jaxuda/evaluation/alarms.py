"""Sentences for what looks wrong in a run, without any label of its target.

They are made of the rows of a metrics.csv: what unlabelled.py measures at each
evaluation, and what a training step measures of its discriminators. The limits
are chosen by hand.
"""

from collections.abc import Mapping, Sequence

Row = Mapping[str, float]

PREDICTED, VANISHED = 1e-3, 1e-4  # shares of the target's pixels
MOST = 0.9  # of them that one class may take
MOST_SURE = 0.98  # of them that a network may be sure of
FLIPS = 0.1  # what their agreement may lose
SOURCE = 0.8  # of its best mIoU on the source that a network keeps
TEACHER = 0.6  # of the pixels in which it agrees with its teacher
AHEAD, CHANCE = 0.95, 0.55  # a discriminator's accuracy


def summary(step: int, row: Row) -> str:
  """Return in one line what an evaluation measured without labels.

  Args:
    step: of the weights.
    row: of unlabelled.Unlabelled.measure, and the source's mIoU.
  """
  named = (
    ('target/entropy', 'entropy {:.3f}'),
    ('target/confident_share', 'sure of {:.0%}'),
    ('target/flip_agreement', 'flips agree in {:.0%}'),
    ('target/teacher_agreement', 'student and teacher in {:.0%}'),
    ('target/ensv', 'with all checkpoints so far in {:.0%}'),
  )
  parts = [text.format(row[key]) for key, text in named if key in row]
  line = f'unlabelled target at step {step}: {", ".join(parts)}'
  if 'source/mIoU' in row:
    line += f'; source, val: mIoU {100 * row["source/mIoU"]:.1f}'
  return line


def alarms(rows: Sequence[Row]) -> list[str]:
  """Return a sentence for each thing that looks wrong at an evaluation.

  Args:
    rows: of the run up to this evaluation, whose row is the last.
  """
  *before, now = [row for row in rows if 'target/entropy' in row]
  found = []
  gone = _vanished(before, now)
  if gone:
    named = ', '.join(f'{name} ({share:.1%})' for name, share in gone.items())
    found.append(
      f'no longer predicted on the target: {named} of its pixels before'
    )
  shares = {k: v for k, v in now.items() if k.startswith('share/')}
  largest = max(shares, key=lambda name: shares[name])
  if shares[largest] > MOST:
    name = largest.partition('/')[2]
    found.append(f'{name} takes {shares[largest]:.0%} of the target')
  if now['target/confident_share'] > MOST_SURE:
    found.append(
      f'the network is sure of {now["target/confident_share"]:.1%} of the '
      'target, right or wrong'
    )
  if now.get('target/teacher_agreement', 1.0) < TEACHER:
    found.append(
      'student and teacher agree in no more than '
      f'{now["target/teacher_agreement"]:.0%} of the target'
    )
  flips = _best(before, 'target/flip_agreement')
  if now['target/flip_agreement'] < flips - FLIPS:
    found.append(
      f'mirrored images agree in {now["target/flip_agreement"]:.0%} of the '
      f'pixels, {flips:.0%} before'
    )
  source = _best(before, 'source/mIoU')
  if now.get('source/mIoU', source) < SOURCE * source:
    found.append(
      f'the source is being unlearned: mIoU {100 * now["source/mIoU"]:.1f} on '
      f'its val, {100 * source:.1f} before'
    )
  return found


def balance(rows: Sequence[Row]) -> list[str]:
  """Return a sentence on each discriminator's game, as it was logged last.

  Args:
    rows: of the run so far.
  """
  trained = [row for row in rows if any(k.startswith('loss/') for k in row)]
  end = '/source_accuracy'
  last = trained[-1] if trained else {}
  return [
    _stand(key.removesuffix(end), last) for key in last if key.endswith(end)
  ]


def _stand(name, row):
  source, target = (row[f'{name}/{d}_accuracy'] for d in ('source', 'target'))
  right = (source + target) / 2
  if right > AHEAD:
    verdict = 'it is far ahead, and the segmenter does not reach it'
  elif abs(source - target) > 0.5:
    everything = 'source' if source > target else 'target'
    verdict = f'it takes nearly everything for {everything}'
  elif right < CHANCE:
    verdict = 'that is chance: the domains look alike to it, or it has given up'
  else:
    verdict = 'neither side has won'
  return (
    f'{name} tells {source:.0%} of the source and {target:.0%} of the target '
    f'right: {verdict}'
  )


def _vanished(before, now) -> dict[str, float]:
  """Return the classes that were predicted and no longer are: best shares."""
  found = {}
  for name, share in now.items():
    if name.startswith('share/') and share < VANISHED:
      best = _best(before, name)
      if best >= PREDICTED:
        found[name.partition('/')[2]] = best
  return found


def _best(rows, name) -> float:
  return max((row[name] for row in rows if name in row), default=0.0)
