"""The notebook, executed from top to bottom by a fresh kernel."""

import shutil

import nbclient
import nbformat
import PIL.Image
import prepared
import pytest
import tiny

from data.streets import render
from jaxuda import labels

SIZE = (48, 96)

# Three steps of a tiny network on small images.
SMALL = [
  f'--config.{setting}'
  for setting in (
    'steps=3',
    'num_log_images=2',
    'source.size=48x96',
    'target.size=48x96',
    'model.encoder.blocks=(1,1,1,1)',
    'model.encoder.width=4',
  )
]
FLAGS = [
  *SMALL,
  *('--config.eval.size=48x96', '--config.patch.size=32'),
  '--config.discriminator.width=4',
]


@pytest.fixture
def notebook():
  return nbformat.read(tiny.ROOT / 'colab.ipynb', as_version=4)


@pytest.fixture
def copy(tmp_path):
  """Copy the repository's code, so that runs/ is written elsewhere."""
  for name in ('jaxuda', 'configs', 'data'):
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(tiny.ROOT / name, tmp_path / 'copy' / name, ignore=ignored)
  return tmp_path / 'copy'


def prepare(data_dir, domain, splits):
  """Write some of the scenes as the dataset that would be rendered whole."""

  def example(split, index):
    image, label = render.render(domain, index, SIZE, split)
    full = None if split == 'train' else label
    return prepared.example(f'{split}{index}', image, label, full)

  examples = {
    split: [example(split, i) for i in range(n)] for split, n in splits.items()
  }
  prepared.write(data_dir, f'streets/{domain}', SIZE, examples)


def set_flags(notebook, flags):
  """Write the flags and an encoder into the notebook, as its user would."""
  cell = next(c for c in notebook.cells if 'FLAGS = []' in c.source)
  cell.source = cell.source.replace('FLAGS = []', f'FLAGS = {flags!r}')
  cell.source = cell.source.replace(':streets', ':streets,encoder=resnet')


def give_photos(notebook, folder):
  """Put photographs where the notebook looks, and adapt to them in no time."""
  (folder / 'photos').mkdir()
  for index in range(3):
    image, _ = render.render('city', index, SIZE, 'val')
    PIL.Image.fromarray(image).save(folder / 'photos' / f'{index}.jpg')
  cell = next(c for c in notebook.cells if c.id == 'photos')
  for old, new in (
    ('daformer.py:mine', 'adabn.py:mine,encoder=resnet'),
    ('MY_FLAGS = []', f'MY_FLAGS = {SMALL!r}'),
  ):
    assert old in cell.source
    cell.source = cell.source.replace(old, new)


def test_is_stored_without_outputs(notebook):
  nbformat.validate(notebook)
  cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert cells
  for cell in cells:
    assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.slow
def test_runs_from_top_to_bottom(notebook, copy, tmp_path, monkeypatch):
  data_dir = tmp_path / 'data'
  prepare(data_dir, 'game', {'train': 8})
  prepare(data_dir, 'city', {'train': 8, 'val': 3})
  monkeypatch.setenv('TFDS_DATA_DIR', str(data_dir))
  set_flags(notebook, FLAGS)
  give_photos(notebook, copy)
  monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))
  nbclient.NotebookClient(
    notebook, timeout=1200, resources={'metadata': {'path': str(copy)}}
  ).execute()

  said = {
    cell.id: ''.join(o.text for o in cell.outputs if o.output_type == 'stream')
    for cell in notebook.cells
    if cell.cell_type == 'code'
  }
  assert said['install'] == ''  # it runs inside the repository
  last = said['train'].splitlines()[-1]
  assert last.startswith('mIoU ') and '3 images' in last
  for name in labels.space('cityscapes19').classes:
    assert name in said['evaluate']
  assert 'evaluation' in said['evaluate'].splitlines()[-1]
  # The evaluation finds what the training has found.
  score = float(last.split()[1])
  row = next(x for x in said['evaluate'].splitlines() if 'mIoU' in x)
  assert float(row.split()[-1]) == score
  look = next(cell for cell in notebook.cells if cell.id == 'look')
  pictures = [o for o in look.outputs if 'image/png' in o.get('data', {})]
  assert len(pictures) == 3
  for name in ('confusion', 'entropy', 'qualitative'):
    assert f'{name}.png' in said['look']
  assert 'CpuDevice' in said['devices']
  assert 'trained without labels of the target' in said['photos']
  mine = next(cell for cell in notebook.cells if cell.id == 'photos')
  shown = [o for o in mine.outputs if 'image/png' in o.get('data', {})]
  assert len(shown) == 3
  assert (copy / 'runs' / 'mine' / 'report.html').is_file()


@pytest.mark.slow
def test_a_failing_command_stops_it(notebook, copy):
  set_flags(notebook, ['--config.stepz=3'])
  client = nbclient.NotebookClient(
    notebook, timeout=60, resources={'metadata': {'path': str(copy)}}
  )
  with pytest.raises(nbclient.exceptions.CellExecutionError):
    client.execute()
  train = next(cell for cell in notebook.cells if cell.id == 'train')
  assert "error: config has no key 'stepz'; did you mean 'steps'?" in ''.join(
    o.text for o in train.outputs if o.output_type == 'stream'
  )
