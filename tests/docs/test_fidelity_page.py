"""The commands of docs/fidelity.md have the settings of the recorded runs."""

import re
import shlex

import originals
import pytest
import tiny

from jaxuda import config as config_lib

# What a command has beyond the test that repeats the run by a bare step.
FILES = ('init', 'discriminator.init', 'eval.name')


def commands():
  """Return {run: (config file, settings)} of the page's trainings."""
  text = (tiny.ROOT / 'docs/fidelity.md').read_text()
  shared = re.search(r'^RECORDED=\(\n(.*?)^\)$', text, re.DOTALL | re.MULTILINE)
  found = {}
  trainings = re.findall(
    r'^python -m jaxuda\.main (.*?[^\\])$', text, re.DOTALL | re.MULTILINE
  )
  for training in trainings:
    words = training.replace('\\\n', ' ')
    words = words.replace('"${RECORDED[@]}"', shared[1].replace('\n', ' '))
    spec, workdir, *flags = shlex.split(words)
    name = workdir.removeprefix('--workdir=runs/')
    settings = [flag.removeprefix('--config.') for flag in flags]
    found[name] = (spec.removeprefix('--config='), settings)
  return found


COMMANDS = commands()


def test_every_recorded_run_has_its_command():
  assert sorted(COMMANDS) == originals.NAMES


@pytest.mark.parametrize('name', originals.NAMES)
def test_the_settings_of_a_run(name):
  spec, settings = COMMANDS[name]
  ours = config_lib.flatten(config_lib.load(spec, settings))
  theirs = config_lib.flatten(originals.config(originals.read(name)))
  assert ours['eval.name'] is None and ours['init'].endswith('.pth')
  for config in (ours, theirs):
    for key in FILES:
      config.pop(key)
  assert ours == theirs
