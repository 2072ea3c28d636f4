"""Every command of the README and the docs: run here, or marked as to why not.

The mark is an HTML comment on the line before a block of commands:

  runs                    test_the_commands_run runs it, with few small scenes
                          and a tiny network
  run by FILE             that test runs it
  tests                   .ci/run runs it
  needs real data         downloads that cannot be here
  needs an accelerator
"""

import importlib
import os
import re
import shlex

import numpy as np
import PIL.Image
import pytest
import tiny
import tiny_runs

from jaxuda.datasets import specs

FILES = sorted(
  [
    tiny.ROOT / 'README.md',
    tiny.ROOT / 'CONTRIBUTING.md',
    tiny.ROOT / 'benchmarks/README.md',
    *(tiny.ROOT / 'docs').glob('*.md'),
  ]
)
BLOCK = re.compile(
  r'(?:<!-- ([^>]*?) -->\n)?```(?:bash|sh)\n(.*?)```', re.DOTALL
)
MARKS = ('runs', 'tests', 'needs real data', 'needs an accelerator')
DOWNLOADED = r'DIR|gta5|cityscapes|synthia|crosscity|bdd100k|camvid|\.pth'
# CI does this for the README's own command.
INSTALLS = ('python3 -m venv', '.venv/bin/pip', 'pip install')


def blocks(path):
  """Return the (mark, commands) of each block of commands."""
  return BLOCK.findall(path.read_text())


def commands(text):
  """Return the arguments of each command, of several with '&&', too."""
  found = []
  for line in text.replace('\\\n', ' ').splitlines():
    for part in line.split('&&'):
      words = shlex.split(part, comments=True)
      if words and not part.strip().startswith(INSTALLS):
        found.append(words)
  return found


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_every_block_has_a_mark_that_is_true(path):
  for mark, text in blocks(path):
    by = re.fullmatch(r'run by (\S+)', mark)
    assert mark in MARKS or by, text
    if mark == 'needs real data':
      assert re.search(DOWNLOADED, text), text
    if by:
      source = (tiny.ROOT / by[1]).read_text()
      for _, _, module, *_ in commands(text):
        assert module.rpartition('.')[2] in source, (module, by[1])


def test_no_command_is_hidden():
  """Blocks of other kinds show code or output, no command."""
  for path in FILES:
    for kind, text in re.findall(
      r'```(\w*)\n(.*?)```', path.read_text(), re.DOTALL
    ):
      if kind not in ('bash', 'sh', 'python'):
        assert 'python -m' not in text, path


def arguments(words):
  """Return a module and its arguments, with a tiny network for its config.

  That is a ResNet, where the config names no encoder.
  """
  assert words[0] in ('python', '.venv/bin/python') and words[1] == '-m'
  _, _, module, *given = words
  for i, flag in enumerate(given):
    if flag.startswith('--config='):
      given[i] += ',encoder=resnet' * ('encoder' not in flag)
      small = tiny_runs.small(given[i].partition('=')[2], stages=True)
      given += [f'--config.{setting}' for setting in small]
  return module, given


@pytest.mark.slow
def test_the_commands_run(tmp_path, monkeypatch, capsys):
  """From top to bottom, the README first: its run is what others start from."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'data'))
  monkeypatch.setattr(
    specs.module('streets'), 'COUNTS', {'train': 6, 'val': 3, 'tune': 3}
  )
  os.mkdir('photos')
  for i in range(2):
    pixels = np.random.default_rng(i).integers(0, 256, (40, 72, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(f'photos/{i}.png')
  ran = 0
  for path in sorted(FILES, key=lambda p: p.name != 'README.md'):
    for mark, text in blocks(path):
      for words in commands(text) if mark == 'runs' else ():
        module, given = arguments(words)
        main = importlib.import_module(module)
        main = (
          getattr(main, 'main', None)
          or importlib.import_module(f'{module}.__main__').main
        )
        assert main([module, *given]) == 0, words
        ran += 1
  assert ran >= 10
  assert len(os.listdir('predicted')) == 8 + 2
  assert sorted(os.listdir('exported')) == ['labels.json', 'model.onnx']
  assert os.path.isfile('runs/mine/scores.json')
