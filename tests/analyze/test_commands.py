"""The command lines of the analyses: bad input, and --help."""

import pathlib
import subprocess
import sys

import pytest
from analyses import analyze

from jaxuda.utils.errors import UserError


@pytest.mark.parametrize(
  'arguments, sentence',
  [
    ([], 'usage: .*NAME, one of class_center_distance, confusion'),
    (['entrpy'], "no analysis 'entrpy'; did you mean 'entropy'"),
    (['_common'], "no analysis '_common'"),
    (['confusion', '--nonsense=1'], 'nonsense'),
    (['confusion', 'more'], "unexpected argument 'more'"),
    (['confusion'], '--workdirs=RUN,RUN is needed'),
    (['confusion', '--workdirs=no/run'], 'no/run has no scores.json'),
    (['confusion', '--workdirs=a,a'], 'names a folder twice'),
    (['entropy', '--workdirs=no/run'], 'no/run is not a run'),
    (['entropy', '--workdirs=x', '--images=0'], 'images'),
    (['domain_classifier', '--patches=97'], 'from 1 to 96'),
    (['domain_classifier', '--patches=a'], 'from 1 to 96'),
    (['domain_classifier', '--patches=²'], 'from 1 to 96'),
    (['domain_classifier', '--size=full'], '--size must be HxW'),
    (['domain_classifier', '--encoding=rgb'], 'encoding'),
    (['domain_similarity', '--source=gta'], "did you mean 'gta5'"),
    (
      ['domain_similarity', '--source=crosscity/rome', '--classes=crosscity13'],
      '--source_size=HxW of crosscity/rome is needed',
    ),
    (
      ['domain_similarity', '--source=synthia'],
      '--source_size=HxW of synthia is needed',
    ),
    (
      ['domain_similarity', '--config=configs/sorce_only.py'],
      "did you mean 'configs/source_only.py'",
    ),
    (
      ['domain_similarity', '--config=configs/source_only.py:gta'],
      "'gta' is no preset; did you mean 'gta5'",
    ),
    (['domain_similarity', '--classes=x', '--data_dir=.'], 'class space'),
  ],
)
def test_bad_input_gives_a_sentence(arguments, sentence, tmp_path):
  if len(arguments) > 0:
    arguments = [*arguments, f'--output={tmp_path / "out"}']
  with pytest.raises(UserError, match=sentence):
    analyze(*arguments)
  assert not list((tmp_path / 'out').glob('*'))


def test_help_is_quick_and_complete():
  code = (
    'import sys; from jaxuda.analyze import __main__ as m, analyses\n'
    'm.main(["x", "--help"])\n'
    'for n in analyses(): m.main(["x", n, "--help"])\n'
    'print([m for m in ("tensorflow", "matplotlib") if m in sys.modules])'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  ).stdout
  assert out.splitlines()[-1] == '[]'
  assert '--workdirs' in out and '--encoding' in out and 'Eq. 9' in out
  assert str(pathlib.Path.cwd()) not in out
