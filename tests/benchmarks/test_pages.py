"""The tables of the pages are those of the results' files."""

import json

import pytest

from benchmarks import pages
from jaxuda.utils.errors import UserError

MIOU = {
  'source-only': {'0': 30.0, '1': 32.0},
  'AdaBN control': {'0': 40.0, '1': 44.0},
  'DACS': {'0': 45.0, '1': 47.0},
}


@pytest.fixture
def results(tmp_path):
  path = tmp_path / 'self_training.json'
  path.write_text(json.dumps({'miou': MIOU}))
  return tmp_path


def test_the_pages_are_as_they_were_measured(capsys):
  status = pages.main(['pages', '--check'])
  assert status == 0, capsys.readouterr().out


def test_a_table_by_hand(results):
  text = 'x\n<!-- table: self_training -->\nold\n<!-- end of table -->\ny\n'
  assert pages.filled(text, results) == (
    'x\n<!-- table: self_training -->\n'
    '| method | steps | in all | seeds | mIoU | over AdaBN |\n'
    '|---|---|---|---|---|---|\n'
    '| source-only | 2000 | 2000 | 30.0, 32.0 | 31.0 ± 1.4 | -11.0 ± 1.4 |\n'
    '| AdaBN control | 2000 | 2000 | 40.0, 44.0 | 42.0 ± 2.8 | +0.0 ± 0.0 |\n'
    '| DACS | 2000 | 2000 | 45.0, 47.0 | 46.0 ± 1.4 | +4.0 ± 1.4 |\n'
    '<!-- end of table -->\ny\n'
  )


def test_the_readme_says_what_is_not_measured(results):
  text = pages.table('readme, 2,000 steps', results)
  assert '| `dacs.py` | 52.1 | 46.0 ± 1.4 | +4.0 ± 1.4 |' in text
  assert '| `daformer.py` | 56.0 | not measured |  |' in text


def test_what_is_not_there(results):
  with pytest.raises(UserError, match="the table 'other'; there are methods"):
    pages.table('other', results)
  with pytest.raises(UserError, match=r'camvid\.json cannot be read'):
    pages.table('camvid', results)
