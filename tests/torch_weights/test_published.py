"""The list of published weights, and who names them."""

import importlib
import pathlib
import re

import pytest
import tiny

from jaxuda import config as config_lib
from jaxuda.torch_weights import files, published

NAMES = list(published.listed())
# What docstrings have in the place of a name.
PLACES = {'FILE', 'RUN', 'NAME'}


@pytest.mark.parametrize('name', NAMES)
def test_an_entry(name):
  entry = published.get(name)
  assert files.is_weights_file(entry.file)
  assert entry.page.startswith('https://') and entry.licence and entry.about
  assert len(entry.about) <= 35 and len(name) <= 24  # one line of the table
  for address in entry.addresses:
    assert re.fullmatch(r'https?://\S+', address)
    assert address.endswith(f'/{entry.file}')
  assert len(entry.sha256) in (0, 8, 64)
  assert re.fullmatch(r'[0-9a-f]*', entry.sha256)
  digits = re.search(r'-([0-9a-f]{8})\.pth$', entry.file)
  assert not digits or entry.sha256.startswith(digits[1])
  assert entry.addresses or not entry.sha256


def test_files_do_not_share_a_name():
  assert len({entry.file for entry in published.listed().values()}) == len(
    NAMES
  )


@pytest.mark.parametrize('name', tiny.configs())
def test_what_the_configs_name_is_listed(name):
  doc = importlib.import_module(f'configs.{name}').__doc__
  named = re.findall(r'--config\.((?:\w+\.)*init)=(\w+(?:\.\w+)*)', doc)
  assert {value for _, value in named} <= {*NAMES, *PLACES}
  for key, value in named:
    config_lib.load(f'configs/{name}.py', [f'{key}={value}'])


def test_the_folder(monkeypatch):
  monkeypatch.delenv(published.FOLDER, raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', '/cache')
  assert published.default_folder() == pathlib.Path('/cache/jaxuda/weights')
  monkeypatch.setenv(published.FOLDER, '~/weights')
  assert published.default_folder() == pathlib.Path.home() / 'weights'


def test_a_name_is_what_a_run_stores():
  """So that the same run in another home has the same config."""
  config = config_lib.load('configs/daformer.py', ['init=mit_b5'])
  assert config.init == 'mit_b5'
