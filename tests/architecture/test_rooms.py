"""The rooms and their order, as docs/architecture.md describes them."""

import pathlib
import re
import subprocess
import sys

import grimp
import tiny

METHODS = 'jaxuda.methods'


def test_the_order_of_dependence():
  """The contracts of pyproject.toml: layers, no circles, a light core.

  In a process of its own, as the linter takes the logging of its process.
  """
  code = 'from importlinter.cli import lint_imports as lint; raise SystemExit('
  done = subprocess.run(
    [sys.executable, '-c', f'{code}lint(no_cache=True))'],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout


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
