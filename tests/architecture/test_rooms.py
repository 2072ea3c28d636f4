"""The rooms and their order, as docs/architecture.md describes them."""

import pathlib
import re

import grimp
import tiny
from importlinter.cli import lint_imports

METHODS = 'jaxuda.methods'


def test_the_order_of_dependence(monkeypatch):
  """The contracts of pyproject.toml: layers, no circles, a light core."""
  monkeypatch.chdir(tiny.ROOT)
  assert lint_imports(no_cache=True) == 0


def test_no_method_imports_another():
  graph = grimp.build_graph('jaxuda', cache_dir=None)
  for name in tiny.all_methods():
    imported = graph.find_modules_directly_imported_by(f'{METHODS}.{name}')
    within = {m for m in imported if m.startswith(f'{METHODS}.')}
    assert all(m.startswith(f'{METHODS}._') for m in within), (name, within)


def sources(*left_out):
  """Return {path: text} of the library's files outside of some rooms."""
  root = pathlib.Path(tiny.ROOT) / 'jaxuda'
  return {
    path: path.read_text()
    for path in root.rglob('*.py')
    if path.relative_to(root).parts[0] not in left_out
  }


def test_layers_are_named_where_networks_are():
  """Other rooms ask the encoder or the decoder."""
  layer = re.compile(r"""['"./](layer[1-6]|conv[1-5]|bn[1-3])\b['"_]""")
  for path, text in sources('models', 'torch_weights').items():
    assert not layer.search(text), path


def test_nothing_branches_on_the_name_of_a_method():
  branch = re.compile(r'\.method (==|!=|in)\b')
  named = re.compile(rf"""['"]({'|'.join(tiny.all_methods())})['"]""")
  for path, text in sources('methods', 'models', 'torch_weights').items():
    assert not branch.search(text) and not named.search(text), path
