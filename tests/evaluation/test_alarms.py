"""Which sentence comes when."""

import pytest

from jaxuda.evaluation import alarms

SOUND = {
  'target/entropy': 0.3,
  'target/confident_share': 0.5,
  'target/flip_agreement': 0.9,
  'target/teacher_agreement': 0.95,
  'source/mIoU': 0.6,
  'share/road': 0.5,
  'share/train': 0.004,
  'share/bus': 0.0005,
}
TRAINED = {
  'loss/d_main': 0.6,
  'd_main/source_accuracy': 0.8,
  'd_main/target_accuracy': 0.7,
}


def test_a_sound_run_has_none():
  assert alarms.alarms([SOUND]) == []
  assert alarms.alarms([SOUND, {'loss/a': 1.0}, SOUND]) == []


@pytest.mark.parametrize(
  ('changed', 'sentence'),
  [
    (
      {'share/train': 0.00005},
      'no longer predicted on the target: train (0.4%)',
    ),
    ({'share/road': 0.95}, 'road takes 95% of the target'),
    ({'target/confident_share': 0.991}, 'sure of 99.1% of the target'),
    ({'target/teacher_agreement': 0.4}, 'agree in no more than 40%'),
    ({'target/flip_agreement': 0.7}, 'agree in 70% of the pixels, 90% before'),
    ({'source/mIoU': 0.4}, 'unlearned: mIoU 40.0 on its val, 60.0 before'),
  ],
)
def test_each(changed, sentence):
  [found] = alarms.alarms([SOUND, SOUND | changed])
  assert sentence in found
  # A class that was never there cannot vanish, nor what was never measured.
  assert alarms.alarms([SOUND, SOUND | {'share/bus': 0.0}]) == []
  without = {k: v for k, v in SOUND.items() if not k.startswith('source')}
  assert alarms.alarms([without, without]) == []


@pytest.mark.parametrize(
  ('source', 'target', 'verdict'),
  [
    (0.99, 0.97, 'far ahead'),
    (0.99, 0.1, 'nearly everything for source'),
    (0.1, 0.99, 'nearly everything for target'),
    (0.5, 0.52, 'that is chance'),
    (0.8, 0.7, 'neither side has won'),
  ],
)
def test_the_balance_of_the_game(source, target, verdict):
  row = TRAINED | {
    'd_main/source_accuracy': source,
    'd_main/target_accuracy': target,
  }
  [found] = alarms.balance([TRAINED, row, SOUND])  # the last one trained
  start = f'd_main tells {source:.0%} of the source and {target:.0%} of the'
  assert found.startswith(start) and verdict in found
  assert alarms.balance([SOUND]) == alarms.balance([]) == []


def test_the_summary():
  line = alarms.summary(200, SOUND | {'target/ensv': 0.875})
  assert line == (
    'unlabelled target at step 200: entropy 0.300, sure of 50%, flips agree in '
    '90%, student and teacher in 95%, with all checkpoints so far in 88%; '
    'source, val: mIoU 60.0'
  )
