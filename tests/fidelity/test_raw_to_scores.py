"""From raw files to scores: the experiment on each dataset's files.

Trees of rendered scenes in the exact raw encodings are prepared, verified,
trained on for two steps and evaluated. The scores are computed again from the
raw labels, as Pillow reads them, and from the ids that the prediction writes
for the raw images.
"""

import json
import pathlib
import shutil
from typing import NamedTuple

import numpy as np
import pytest
import run_folders
import tiny
from PIL import Image

from benchmarks import raw_trees
from data import prepare, verify
from jaxuda import checkpoints, experiment, predict, train
from jaxuda import config as config_lib
from jaxuda.datasets import specs
from jaxuda.evaluation import evaluator
from jaxuda.evaluation import scores as scores_lib
from jaxuda.models import segmenter
from jaxuda.utils import metrics_csv

RAW_SIZE, SIZE, COUNT = (72, 144), '64x96', 2
SPECS = (
  'gta5',
  'synthia',
  'cityscapes',
  'crosscity/rome',
  'bdd100k',
  'camvid',
)

# Label ids of the 19 classes in the files of Cityscapes and Cross-City, from
# the table of cityscapesScripts.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
WALL, FENCE, POLE, TERRAIN, TRUCK, TRAIN = 3, 4, 5, 9, 14, 16
NINETEEN = tuple(range(19))
SIXTEEN = tuple(c for c in NINETEEN if c not in (TERRAIN, TRUCK, TRAIN))
THIRTEEN = tuple(c for c in SIXTEEN if c not in (WALL, FENCE, POLE))
# Each of the 19 in CamVid's files: sky 0, building 1, pole 2, road 3, pavement
# 4, tree 5, sign 6, fence 7, car 8, pedestrian 9, bicyclist 10; no wall.
AS_CAMVID = (3, 4, 1, -1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10)


class Case(NamedTuple):
  """An experiment, and where the raw files of what it scores are."""

  argument: str
  target: str
  overrides: tuple[str, ...]
  images: str
  label: str  # of the image {0}
  means: tuple[str, ...]


# Each dataset once at least: Cityscapes is the source of Rome, and GTA5 of the
# last two.
CASES = {
  'synthia': Case(
    ':synthia',
    'cityscapes',
    (),
    'leftImg8bit/val/frankfurt',
    'gtFine/val/frankfurt/{0}_gtFine_labelIds.png',
    ('mIoU-16', 'mIoU-13'),
  ),
  'crosscity': Case(
    ':rome',
    'crosscity/rome',
    (),
    'Rome/Images/Test',
    'Rome/Labels/Test/{0}_eval.png',
    ('mIoU',),
  ),
  'bdd100k': Case(
    ':bdd100k',
    'bdd100k',
    (),
    'bdd100k/images/10k/val',
    'bdd100k/labels/sem_seg/masks/val/{0}.png',
    ('mIoU',),
  ),
  'camvid': Case(
    '',
    'camvid',
    ('eval.classes=camvid11',),
    'val',
    'valannot/{0}.png',
    ('mIoU',),
  ),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The folders raw/ and prepared/ of all datasets, by the command lines."""
  root = tmp_path_factory.mktemp('datasets')
  where = f'--data_dir={root / "prepared"}'
  report = f'--json={root / "report.json"}'
  for spec in SPECS:
    name = spec.partition('/')[0]
    tree = f'--raw={root / "raw" / name}'
    raw_trees.write_raw_tree(name, root / 'raw' / name, COUNT, RAW_SIZE)
    with pytest.MonkeyPatch.context() as patch:
      module = specs.module(name)
      patch.setattr(module, 'COUNTS', dict.fromkeys(module.COUNTS, COUNT))
      assert verify.main(['verify', spec, tree, report]) == 0
      assert prepare.main(['prepare', spec, tree, where, f'--size={SIZE}']) == 0
      assert verify.main(['verify', spec, where, f'--size={SIZE}', report]) == 0
  return root


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
  """pretrained(config) -> a run whose weights stand in for ImageNet's.

  Random ones would predict one class everywhere.
  """
  root = tmp_path_factory.mktemp('pretrained')

  def write(settings):
    path = root / settings.classes
    if not path.exists():
      shapes = segmenter.abstract(experiment.segmenter(settings))
      path.mkdir()
      stored = json.dumps(config_lib.to_json(settings))
      (path / 'config.json').write_text(stored)
      with checkpoints.Checkpoints(path / 'checkpoints') as manager:
        manager.save(0, {'segmenter': tiny.drawn(shapes)})
    return path

  yield write
  shutil.rmtree(root)


def predictions(path: pathlib.Path, images: pathlib.Path, tmp_path):
  """Return {name: class indices}, as jaxuda.predict writes them."""
  output = tmp_path / 'predicted'
  arguments = [f'--workdir={path}', f'--images={images}', f'--output={output}']
  assert predict.main(['predict', *arguments]) == 0
  found = {p.stem: np.asarray(Image.open(p)) for p in output.glob('*_ids.png')}
  assert len(found) == COUNT
  return {
    name.removesuffix('_ids').removesuffix('_leftImg8bit'): ids
    for name, ids in found.items()
  }


def by_hand(case: str, predicted: dict, tree: pathlib.Path) -> np.ndarray:
  """Return the IoUs of the scored classes by NumPy, from raw label files."""
  model = SIXTEEN if case == 'synthia' else NINETEEN
  scored = {'synthia': SIXTEEN, 'crosscity': THIRTEEN}.get(case, NINETEEN)
  labels, predictions = [], []
  for name, ids in predicted.items():
    label = np.asarray(Image.open(tree / CASES[case].label.format(name)))
    assert label.shape == ids.shape == RAW_SIZE
    labels.append(label)
    predictions.append(np.array(model)[ids])  # of the 19
  label, prediction = np.stack(labels), np.stack(predictions)
  if case == 'camvid':
    names, prediction = range(11), np.array(AS_CAMVID)[prediction]
  elif case == 'bdd100k':  # whose files have indices
    names = NINETEEN
  else:
    names, prediction = [IDS[c] for c in scored], np.array(IDS)[prediction]
  counted = np.isin(label, names)
  ious = []
  for name in names:
    true, found = label == name, (prediction == name) & counted
    union = (true | found).sum()
    ious.append((true & found).sum() / union if union else np.nan)
  return np.array(ious)


SMALL = ('model.encoder.blocks=(1,1,1,1)', 'model.encoder.width=8')


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_raw_to_scores(case, folder, pretrained, tmp_path, monkeypatch):
  argument, target, overrides, images, _, means = CASES[case]
  settings = [
    'steps=2',
    'log_every=1',
    'num_log_images=0',
    'num_unlabelled_images=0',
    'eval.batch_size=2',
    'patch.size=32',
    f'data_dir={folder / "prepared"}',
    f'target.name={target}',
    f'eval.name={target}',
    *(f'{stream}.size={SIZE}' for stream in ('source', 'target', 'eval')),
    *overrides,
    *SMALL,
  ]
  spec = f'configs/advent_patch.py{argument}'
  start = pretrained(config_lib.load(spec, settings))
  config = config_lib.load(spec, [*settings, f'init={start}'])
  path = tmp_path / 'run'
  monkeypatch.setattr(train, '_write_report', lambda workdir: None)
  assert train.train(config, path) == 0

  rows = metrics_csv.read_metrics(path / 'metrics.csv')
  assert [r['step'] for r in rows if 'loss/seg_source_main' in r] == [1, 2]
  assert rows[-2]['skipped'] == 0
  trained = run_folders.read(path / 'scores.json')
  scores = scores_lib.from_json(trained)
  if case == 'camvid':  # whose classes are merged; the others are as trained
    run = experiment.load(path)
    assert run.step == 2
    before, after = (
      r.params['encoder']['layer3_0']['conv2']['kernel']
      for r in (experiment.load(start), run)
    )
    assert np.any(before != after)
    evaluator.evaluate_run(run, path)
    written = (path / 'evaluation').glob('*-2/scores.json')
    [found] = map(run_folders.read, written)
    assert found == found | trained | {'step': 2, 'dataset': target}
  tree = folder / 'raw' / target.partition('/')[0]
  predicted = predictions(path, tree / images, tmp_path)
  assert len(np.unique(np.stack(list(predicted.values())))) > 1
  expected = by_hand(case, predicted, tree)
  np.testing.assert_allclose(scores.ious, expected, atol=2e-3)
  assert tuple(scores.means) == means
  assert scores.means[means[0]] == pytest.approx(np.nanmean(expected), abs=2e-3)
  if case == 'synthia':
    thirteen = expected[np.isin(SIXTEEN, THIRTEEN)]
    assert scores.means['mIoU-13'] == pytest.approx(
      np.nanmean(thirteen), abs=2e-3
    )
  shutil.rmtree(path)
