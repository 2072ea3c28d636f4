"""What the README shows is what is there."""

import importlib
import re

import pytest
import tiny

README = (tiny.ROOT / 'README.md').read_text()


@pytest.mark.parametrize(
  'path', ['jaxuda/methods/advent.py', 'configs/advent.py']
)
def test_the_example_of_a_method_is_its_file(path):
  code = (tiny.ROOT / path).read_text().rstrip()
  assert f'```python\n{code}\n```' in README


@pytest.mark.parametrize('page', tiny.pages())
def test_every_config_page_is_named(page):
  assert f'{page}.py' in README


@pytest.mark.parametrize('page', tiny.pages())
def test_a_page_says_its_command_and_its_hours(page):
  doc = importlib.import_module(f'configs.{page}').__doc__
  command = f'  python -m jaxuda.main --config=configs/{page}.py:streets'
  assert command in doc
  assert re.search(r'About \d+ hours? on one V100', doc)
