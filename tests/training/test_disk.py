"""Whether checkpoints will find room, by hand."""

import collections
import shutil

import jax
import numpy as np
import pytest
import tiny

from jaxuda.training import disk
from jaxuda.utils.errors import UserError

Usage = collections.namedtuple('Usage', 'total used free')


@pytest.mark.parametrize(
  ('settings', 'there', 'count'),
  [
    # Two latest, the best and the one that is written.
    ('steps=100 eval_every=10 checkpoint_every=50', (), 4),
    ('steps=100 eval_every=10 checkpoint_every=50', (10, 20, 30), 1),
    ('steps=100 eval_every=10 keep_checkpoints.latest=7', (), 9),
    ('steps=100 eval_every=10 keep_checkpoints.every=50', (), 6),
    ('steps=100 eval_every=100 checkpoint_every=100', (), 1),
    ('steps=100 eval_every=60 checkpoint_every=70', (), 3),
  ],
)
def test_what_will_be_needed(settings, there, count, tmp_path, monkeypatch):
  config = tiny.config('advent', *settings.split())
  for step in there:
    (tmp_path / 'run' / 'checkpoints' / str(step) / 'state').mkdir(parents=True)
  state = tiny.first_state('advent')
  needed = count * sum(np.asarray(x).nbytes for x in jax.tree.leaves(state))
  free = needed
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(0, 0, free))
  disk.check_room(config, tmp_path / 'run')
  free = needed - 1
  with pytest.raises(UserError, match=f'and {count} checkpoints will take'):
    disk.check_room(config, tmp_path / 'run')
