"""A run's config.json, as it was written, and in hostile hands."""

import copy
import json

import pytest
import run_folders
import tiny

from jaxuda import config as config_lib
from jaxuda.utils.errors import UserError


@pytest.fixture(scope='module')
def content():
  return config_lib.to_json(tiny.config('local_alignment'))


def refusal(folder, content):
  """What is said of a config.json that somebody has edited."""
  (folder / 'config.json').write_text(json.dumps(content))
  with pytest.raises(UserError) as caught:
    config_lib.read_run(folder)
  said = str(caught.value)
  assert said.startswith(f'{folder / "config.json"}')
  assert '\n' not in said and said.isprintable()
  return said.removeprefix(f'{folder / "config.json"}').strip(' :')


@pytest.mark.parametrize('name', tiny.configs())
def test_a_config_survives(name, tmp_path):
  config = config_lib.load(f'configs/{name}.py')
  config_lib.write_run(tmp_path, config_lib.to_json(config))
  assert config_lib.read_run(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parametrize(
  ('key', 'value', 'said'),
  [
    (
      'eval.size',
      [10**7, 10**7],
      'config.eval.size=(10000000, 10000000) must ',
    ),
    ('eval.size', 'x', "config.eval.size='x' must be 2 whole numbers"),
    ('steps', '9', "config.steps='9' must be a whole number"),
    ('steps', {'a': 1}, 'it lacks steps'),
    ('method', 'no_such', "there is no method 'no_such'"),
    ('method', 5, 'it lacks method'),
    ('model', 5, 'it lacks model.encoder.name'),
    ('model.encoder.name', '../x', "there is no encoder '../x'"),
    ('loss_weights', [1], 'it lacks loss_weights'),
    ('init_stage.steps', None, 'config.steps=None must be'),
    ('source', None, 'it lacks source.name'),
    ('eval.network', 'none', "config.eval.network='none' is none of segmenter"),
  ],
)
def test_values_that_it_cannot_have(key, value, said, content, tmp_path):
  content = copy.deepcopy(content)
  *above, last = key.split('.')
  node = content
  for name in above:
    node = node[name]
  node[last] = value
  assert refusal(tmp_path, content).startswith(said)


def test_no_key_may_be_absent(content, tmp_path):
  """Nor any of a stage; what users name themselves may."""
  free = ('loss_weights', 'crc32')
  lacking = []

  def drop(node, path):
    for key in [*node]:
      value = node.pop(key)
      if isinstance(value, dict) and key not in free:
        node[key] = value
        drop(value, [*path, key])
        continue
      lacking.append('.'.join([*path, key]))
      assert refusal(tmp_path, content).startswith('it lacks '), lacking[-1]
      node[key] = value

  content = copy.deepcopy(content)
  drop(content, [])
  assert {'steps', 'model.encoder.width', 'init_stage.optim.lr'} <= {*lacking}


def test_what_was_written_and_what_not(content, tmp_path):
  config_lib.write_run(tmp_path, content)
  assert run_folders.read(tmp_path / 'config.json') == content
  text = (tmp_path / 'config.json').read_text()
  (tmp_path / 'config.json').write_text(text.replace('"seed": 0', '"seed": 1'))
  with pytest.raises(UserError, match=r'is damaged \(its crc32 .* copy of it'):
    config_lib.read_run(tmp_path)
  assert config_lib.read_stored(tmp_path) == {}
  with pytest.raises(UserError, match=r'is not a run: it has no config\.json'):
    config_lib.read_run(tmp_path / 'nothing')
