"""How label-free measures rank, on runs whose ranks are known by hand."""

import json
import shutil

import pytest
import run_folders

from benchmarks.tables import label_free
from jaxuda.utils.errors import UserError

# Of three configs, one seed: entropy falls while mIoU rises, falls back at the
# end, and once stays as it is, which is no rank.
RUNS = {
  '1e-3': ([0.5, 0.4, 0.3], [0.20, 0.30, 0.40]),
  '5e-4': ([0.5, 0.2, 0.4], [0.20, 0.30, 0.26]),
  '2e-4': ([0.5, 0.5, 0.5], [0.20, 0.10, 0.50]),
}


def write(folder, name, entropies, mious, *overrides):
  rows = [
    (
      10 * (i + 1),
      {
        'eval/mIoU': miou,
        'target/entropy': entropy,
        'target/confident_share': 1 - entropy,
      },
    )
    for i, (entropy, miou) in enumerate(zip(entropies, mious, strict=True))
  ]
  run_folders.write(folder / name, *overrides, ious=[mious[-1]] * 19, rows=rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(label_free.results_file, 'provenance', str)
  for rate, series in RUNS.items():
    write(tmp_path / 'runs', f'run-{rate}', *series, f'optim.lr={rate}')
  return tmp_path


def found(folder):
  """What is kept of all runs so far, in no matter which folder they lay."""
  runs, results = folder / 'runs', folder / 'results'
  label_free.main(['', f'--folder={runs}', f'--results={results}'])
  kept = json.loads((results / 'label_free.json').read_text())['runs']
  return label_free.correlations(kept.values())


def test_ranks(folder):
  measures = found(folder)
  entropy = measures['target/entropy']
  # 3, 2, 1 against 1, 2, 3 with less for better; 5e-4: both rank 1, 3, 2.
  assert sorted(entropy['checkpoints']) == pytest.approx([1, 1])
  # The last ones, 0.3, 0.4, 0.5, rank 3, 2, 1; their mIoU 2, 1, 3:
  # 1 - 6 (1 + 1 + 4) / (3 x 8).
  assert entropy['methods'] == pytest.approx([-0.5])
  # It chooses the second checkpoint of 5e-4, and the first of equal ones.
  assert sorted(entropy['chosen']) == pytest.approx([-30, 0, 4])
  for kind, values in entropy.items():
    share = measures['target/confident_share'][kind]
    assert share == pytest.approx(values), kind
  assert measures['target/teacher_agreement'] == {
    'checkpoints': [],
    'methods': [],
    'chosen': [],
  }


def test_other_images_are_not_ranked_beside_them(folder):
  before = found(folder)['target/entropy']['methods']
  shutil.rmtree(folder / 'runs')  # as on another machine
  write(folder / 'runs', 'other', [0.1], [0.01], 'eval.split=tune')
  assert found(folder)['target/entropy']['methods'] == before


def test_no_run(tmp_path):
  with pytest.raises(UserError, match='no finished run'):
    label_free.main(['', f'--folder={tmp_path}', f'--results={tmp_path}'])
