"""The benchmark that makes the README's tables, without its training runs."""

import json
import os

import jax
import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import streets_table


@pytest.fixture(autouse=True)
def parsed():
  """The flags' defaults."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['streets_table'])


@pytest.mark.parametrize(
  ('setting', 'titles'),
  [
    (
      'streets',
      ['source-only', 'AdaBN control', 'ADVENT', 'random-patch', 'oracle'],
    ),
    ('camvid', ['source-only', 'AdaBN control', 'random-patch']),
  ],
)
def test_every_seed_is_written(setting, titles, tmp_path, monkeypatch, capsys):
  path = tmp_path / f'{setting}.json'
  stored = []

  def run(name, page, overrides, seed):
    if path.exists():
      stored.append(json.loads(path.read_text()))
    return {'means': {'mIoU': 0.25 + 0.5 * int(seed)}}

  monkeypatch.setattr(streets_table, 'RESULTS', tmp_path)
  monkeypatch.setattr(streets_table, 'run', run)
  with flagsaver.flagsaver(setting=setting, seeds=['0', '1']):
    streets_table.main([])
  found = json.loads(path.read_text())
  assert [t.partition(' (')[0] for t in found['miou']] == titles
  assert found['miou']['AdaBN control'] == {'0': 25.0, '1': 75.0}
  assert len(stored) == len(titles)  # all of the second seed's runs
  assert stored[0]['miou']['source-only'] == {'0': 25.0}
  assert found['device'] == jax.devices()[0].device_kind
  assert found['cores'] == os.cpu_count()
  assert found['steps'] == {'first': 1000, 'second': 800}
  assert '| AdaBN control | 25.0, 75.0 | 50.0' in capsys.readouterr().out


def test_all_rows_see_as_many_steps():
  with flagsaver.flagsaver(first=70, second=30):
    rows = streets_table.rows('streets')
  assert rows.pop('oracle')[1] == ['steps=100']
  init = 'init=configs/source_only.py:streets,steps=70'
  for _, overrides in rows.values():
    assert overrides == [init, 'steps=30']
