"""What the README shows is what is there."""

import importlib
import re
import subprocess
import sys

import pytest
import tiny

README = (tiny.ROOT / 'README.md').read_text()


@pytest.mark.parametrize(
  'path', ['jaxuda/methods/adaptsegnet.py', 'configs/adaptsegnet.py']
)
def test_the_example_of_a_method_is_its_file(path):
  code = (tiny.ROOT / path).read_text().rstrip()
  assert f'```python\n{code}\n```' in README


@pytest.mark.parametrize('page', tiny.configs())
def test_every_config_page_is_named(page):
  assert f'{page}.py' in README


@pytest.mark.parametrize('page', tiny.configs())
def test_a_page_says_its_command_and_its_hours(page):
  doc = importlib.import_module(f'configs.{page}').__doc__
  command = f'  python -m jaxuda.main --config=configs/{page}.py:streets'
  assert command in doc
  assert re.search(r'About \d+ hours? on one V100', doc)


def test_what_needs_jax_flax_and_optax_alone():
  """The rooms that the README names, without what the others need."""
  absent = 'tensorflow tensorflow_datasets ml_collections clu PIL matplotlib'
  said = re.search(r'\n(.*) need jax, flax and optax alone', README, re.DOTALL)
  names = re.findall(r'`(?:jaxuda\.)?(\w+)`', said[1].rpartition('\n\n')[2])
  assert 'step' in names and 'methods' in names
  names += [f'methods.{name}' for name in tiny.all_methods()]
  imports = '\n'.join(f'import jaxuda.{name}' for name in names)
  code = f'import sys\nfor n in {absent.split()}: sys.modules[n] = None\n'
  done = subprocess.run(
    [sys.executable, '-c', code + imports],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
