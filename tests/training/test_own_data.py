"""What is settled of users' own data, and what is refused in a sentence."""

import shutil

import pytest
from PIL import Image

from jaxuda import config as config_lib
from jaxuda import input as input_lib
from jaxuda.datasets import own, prepare, specs
from jaxuda.training import own_data
from jaxuda.utils.errors import UserError

TABLE = """
classes = [{ name = "road", id = 1 }, { name = "sky", id = 2 }]
[splits.train]
images = "seen/*.png"
[splits.val]
images = "seen/*.png"
labels = "ids/*.png"
"""


def settled(name, *overrides, stored=None):
  config = config_lib.load(f'configs/{name}.py:mine', overrides)
  own_data.settle(config, stored or {})
  return config


@pytest.fixture
def photos(tmp_path, monkeypatch):
  """Three photos of 3:4, seen from the folder above; data.toml has labels."""
  monkeypatch.chdir(tmp_path)
  for folder in ('seen', 'ids'):
    (tmp_path / folder).mkdir()
    for i in range(3):
      mode = 'RGB' if folder == 'seen' else 'L'
      Image.new(mode, (30, 40), 1).save(tmp_path / f'{folder}/{i}.png')
  (tmp_path / 'data.toml').write_text(TABLE)
  return tmp_path


@pytest.mark.parametrize(
  ('name', 'overrides', 'told'),
  [
    ('advent', ['target.name='], 'name a folder of images with --config.tar'),
    ('advent', ['target.name=folder:x'], r'there is no folder .*/x \(folder:'),
    ('advent', ['target.name=folder:seen/1.png'], 'is a file: name the folder'),
    ('advent', ['target.name=folder:empty'], 'hold no image'),
    # What reads labels needs them, whatever the method.
    (
      'ass',
      ['target.name=folder:seen'],
      r'config\.labelled\.name=folder:.*/seen has no labels in its split train,'
      r' and ass needs them: .* --config\.labelled\.name=PATH\.toml',
    ),
    (
      'oracle',
      ['target.name=folder:seen'],
      r'config\.source\.name=.*no labels',
    ),
    (
      'ass',
      ['target.name=data.toml'],
      r'labelled\.name=.*data\.toml has no',
    ),
    (
      'advent',
      ['target.name=data.toml', 'eval.name=data.toml', 'eval.split=train'],
      r'config\.eval\.name=.*no labels in its split train, and a score needs',
    ),
    (
      'advent',
      ['target.name=data.toml', 'eval.name=data.toml', 'eval.split=valid'],
      r"config\.eval\.split=valid: .*no such split; did you mean 'val'",
    ),
    ('oracle', ['target.name=data.toml', 'target.split=val'], 'size is open'),
  ],
)
def test_what_is_refused(photos, name, overrides, told):
  (photos / 'empty').mkdir()
  with pytest.raises(UserError, match=told):
    settled(name, *overrides)


def test_labelled_images_are_the_targets(photos):
  """As in the other presets, where that has labels; and of its size."""
  config = settled('ass', 'target.name=data.toml', 'target.split=val')
  path = str(photos / 'data.toml')
  assert config.labelled.name == config.target.name == path
  assert config.labelled.split == 'val'
  assert config.labelled.size == config.target.size == (160, 112)


def test_a_folder_of_images_is_named(photos):
  for name in ('seen', str(photos / 'seen')):
    with pytest.raises(UserError, match=f'a folder of images is folder:{name}'):
      specs.module(specs.specs_of(name)[0])


def test_a_run_goes_on_as_it_began(photos, capsys):
  """Its size stays, and its records, although there is another photo."""
  before = settled('cbst', 'target.name=folder:seen')
  stored = config_lib.flatten(config_lib.to_json(before))
  assert tuple(before.target.size) == (160, 112)
  size, name = (40, 32), before.target.name
  folder = prepare.prepare(name, size=size, data_dir=photos / 'data', workers=1)
  for i in range(5):
    Image.new('RGB', (40, 30)).save(photos / f'seen/wide{i}.png')
  assert settled('cbst', 'target.name=folder:seen').target.size == (112, 160)
  capsys.readouterr()
  again = settled('cbst', 'target.name=folder:seen', stored=stored)
  assert config_lib.flatten(config_lib.to_json(again)) == stored
  assert not capsys.readouterr().out
  data = photos / 'data'
  with pytest.raises(UserError, match=f'have changed .*; delete {folder} and'):
    prepare.ensure(name, size, data)
  for _ in range(2):  # for each stream that reads them
    assert prepare.ensure(name, size, data, resumed=True) == folder
  assert capsys.readouterr().out.count('note: the files of folder:') == 1


def test_a_run_does_not_go_on_with_other_photos(photos):
  """As another run had them prepared, after the folder was deleted."""
  name, data = own.absolute('folder:seen'), photos / 'data'

  def prepared():
    """What a run notes of its data, and its folder."""
    folder = prepare.prepare(name, size=(40, 32), data_dir=data, workers=1)
    records = input_lib.open_records(name, (40, 32), 'train', data)
    stream = input_lib.Stream(records, None, 1)
    return own_data.fingerprints({'target': stream}), str(folder)

  noted, folder = prepared()
  assert list(noted) == [folder]
  shutil.rmtree(data)
  again, _ = prepared()
  own_data.refuse_changed(again, noted)  # the same files
  Image.new('RGB', (30, 40)).save(photos / 'seen/3.png')
  shutil.rmtree(data)
  other, _ = prepared()
  with pytest.raises(UserError, match=f'{folder} was prepared again since'):
    own_data.refuse_changed(other, noted)
  own_data.refuse_changed(other, {})  # before its first checkpoint


def test_a_broken_photo_is_told_with_what_finds_all(photos):
  (photos / 'seen/3.jpg').write_bytes(b'\xff\xd8\xff')
  told = r'seen/3\.jpg: cannot be .*`python -m data\.verify folder:.*/seen` lis'
  with pytest.raises(UserError, match=told):
    prepare.prepare('folder:seen', size=None, data_dir='data', workers=1)
  assert not [*(photos / 'data').rglob('*.json')]
