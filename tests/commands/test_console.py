"""The `jaxuda` command: a word for each module that is a command."""

import ast
import importlib
import importlib.metadata
import os
import re
import resource
import subprocess
import sys
import tomllib

import jax
import pytest
import tiny

from jaxuda import __main__ as console
from jaxuda.utils.cli import run_cli

PROJECT = tomllib.loads((tiny.ROOT / 'pyproject.toml').read_text())
DYNAMIC = PROJECT['tool']['setuptools']['dynamic']


@pytest.fixture
def jaxuda(capsys):
  """jaxuda(*arguments) -> (exit status, stdout, stderr)."""

  def call(*arguments):
    with pytest.raises(SystemExit) as e:
      run_cli(console.main, ['jaxuda', *arguments])
    return e.value.code, *capsys.readouterr()

  return call


def runs_as_a_program(path):
  """Whether a file has a block `if __name__ == '__main__'`."""
  return any(
    isinstance(node, ast.If) and ast.unparse(node.test).startswith('__name__')
    for node in ast.parse(path.read_text()).body
  )


def test_every_command_has_a_word():
  files = [
    path
    for pattern in ('jaxuda/*.py', 'jaxuda/*/__main__.py', 'data/*.py')
    for path in tiny.ROOT.glob(pattern)
    if runs_as_a_program(path)
  ]
  parts = [path.relative_to(tiny.ROOT).with_suffix('').parts for path in files]
  names = {'.'.join(each) for each in parts}
  assert names - {'jaxuda.__main__'} == set(console.COMMANDS.values())


@pytest.mark.parametrize('word', console.COMMANDS)
def test_a_word_runs_its_module(word, jaxuda):
  status, said, _ = jaxuda(word, '--help')
  doc = importlib.import_module(console.COMMANDS[word]).__doc__
  assert status == 0
  assert said.startswith(doc)


def test_a_word_passes_on_arguments_and_errors(jaxuda, tmp_path, monkeypatch):
  """From any folder, as the config file is found beside jaxuda."""
  monkeypatch.chdir(tmp_path)
  assert jaxuda(
    'train', '--config=configs/advent.py:streets', '--config.stepz=3'
  ) == (2, '', "error: config has no key 'stepz'; did you mean 'steps'?\n")
  assert not list(tmp_path.iterdir())


def test_an_unknown_word(jaxuda):
  assert jaxuda('evalute', '--workdir=runs/mine') == (
    2,
    '',
    "error: there is no command 'evalute'; did you mean 'evaluate'?\n",
  )


@pytest.mark.parametrize('arguments', [[], ['--help']])
def test_help_is_quick(arguments, tmp_path):
  """A line for each command, none of which is imported."""
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  done = subprocess.run(
    [sys.executable, '-X', 'importtime', '-m', 'jaxuda', *arguments],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(tiny.ROOT)},
    capture_output=True,
    text=True,
  )
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert done.returncode == 0, done.stderr
  assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
  lines = done.stdout.splitlines()[-len(console.COMMANDS) :]
  for line, (word, module) in zip(lines, console.COMMANDS.items(), strict=True):
    doc = importlib.import_module(module).__doc__
    assert line.split(maxsplit=1) == [word, doc.splitlines()[0]]
  imported = re.findall(r'\| +([\w.]+)$', done.stderr, re.MULTILINE)
  assert 'jaxuda.utils.cli' in imported
  heavy = {'jax', 'numpy', 'tensorflow', 'ml_collections'}
  assert not {name.partition('.')[0] for name in imported} & heavy
  assert not set(imported) & set(console.COMMANDS.values())


def test_the_version_is_one(jaxuda):
  """Written once, and what else names it says the same."""
  status, said, _ = jaxuda('--version')
  version = re.fullmatch(r'jaxuda (\d+\.\d+\.\d+)\n', said)[1]
  assert status == 0
  assert DYNAMIC['version'] == {'attr': 'jaxuda.__version__'}
  assert 'version' not in PROJECT['project']
  citation = (tiny.ROOT / 'CITATION.cff').read_text()
  assert f'\nversion: {version}\n' in citation
  changes = (tiny.ROOT / 'CHANGELOG.md').read_text()
  assert re.search(r'\n## (\S+)', changes)[1] == version


def test_the_installed_command(monkeypatch, capsys):
  """What pip makes a script of."""
  [(name, value)] = PROJECT['project']['scripts'].items()
  assert name == 'jaxuda'
  entry = importlib.metadata.EntryPoint(name, value, 'console_scripts')
  monkeypatch.setattr(sys, 'argv', ['bin/jaxuda', 'weights'])
  with pytest.raises(SystemExit) as e:
    entry.load()()
  assert e.value.code == 2
  assert capsys.readouterr().err.startswith('error: usage: ')


def test_the_extra_dev_is_what_the_file_installs():
  lines = (tiny.ROOT / 'requirements-dev.txt').read_text().splitlines()
  named = [line.removeprefix('-r ') for line in lines if line[:1] != '#']
  extras = DYNAMIC['optional-dependencies']
  assert named == DYNAMIC['dependencies']['file'] + extras['dev']['file']
  for extra in extras.values():
    for file in extra['file']:
      assert (tiny.ROOT / file).is_file()


@pytest.mark.parametrize(
  ('raised', 'said'),
  [
    (
      'raise MemoryError()',
      'out of memory (MemoryError): make the batch or the images smaller',
    ),
    # XLA's own.
    (
      'import jax; jax.numpy.zeros(2**45).block_until_ready()',
      'out of memory (RESOURCE_EXHAUSTED: Out of memory allocating',
    ),
    (
      'from flax import linen; linen.Dense(3).apply('
      "{'params': {'kernel': jax.numpy.ones((2, 2))}}, jax.numpy.ones((1, 2)))",
      "the weights do not fit the network that the run's config.json describes",
    ),
  ],
)
def test_errors_of_libraries_that_users_cause(raised, said, capsys):
  def main(argv):
    exec(raised, {'jax': jax})

  with pytest.raises(SystemExit) as caught:
    run_cli(main, [])
  assert caught.value.code == 2
  [line] = capsys.readouterr().err.splitlines()
  assert line.startswith(f'error: {said}') and len(line) < 500
