"""What the docs show is what is there."""

import importlib
import re

import pytest
import tiny

DOCS = tiny.ROOT / 'docs'


@pytest.mark.parametrize(
  ('page', 'path'),
  [
    ('add_a_method', 'jaxuda/methods/adaptsegnet.py'),
    ('add_a_method', 'configs/adaptsegnet.py'),
    ('add_a_dataset', 'data/camvid/__init__.py'),
  ],
)
def test_an_example_is_its_file(page, path):
  code = (tiny.ROOT / path).read_text().rstrip()
  assert f'```python\n{code}\n```' in (DOCS / f'{page}.md').read_text()


@pytest.mark.parametrize('name', tiny.configs())
def test_every_config_is_in_its_paper(name):
  assert f'{name}.py' in (DOCS / 'papers.md').read_text()


def test_every_method_is_in_its_paper():
  text = (DOCS / 'papers.md').read_text()
  controls = ('source_only', 'adabn')  # methods without a term
  for name in set(tiny.all_methods()) - set(controls):
    assert f'methods/{name}.py' in text, name


def test_files_that_the_docs_name_are_there():
  names = re.compile(
    r'`((?:jaxuda|configs|tests|benchmarks|data|docs)/[\w/.]+\.\w+)`'
  )
  for path in (*DOCS.glob('*.md'), *tiny.ROOT.glob('*.md')):
    if path.name != 'CHANGELOG.md':
      for name in names.findall(path.read_text()):
        assert (tiny.ROOT / name).is_file(), (path.name, name)


def test_the_readme_is_short():
  lines = (tiny.ROOT / 'README.md').read_text().splitlines()
  assert len(lines) <= 150


@pytest.mark.parametrize('name', tiny.configs())
def test_a_config_says_its_command_and_its_hours(name):
  doc = importlib.import_module(f'configs.{name}').__doc__
  command = f'  python -m jaxuda.main --config=configs/{name}.py:streets'
  assert command in doc
  assert re.search(r'About \d+ hours? on one V100', doc)
