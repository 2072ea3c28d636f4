"""JSON with a checksum: what is read is what was written, or is told."""

import json
import zlib

import pytest

from jaxuda.utils import sealed
from jaxuda.utils.errors import UserError

CONTENT = {'name': 'ä', 'size': (2, 3), 'ious': {'road': 0.5, 'sky': None}}
READ = {'name': 'ä', 'size': [2, 3], 'ious': {'road': 0.5, 'sky': None}}
FORM = sealed.form(
  {
    'name': sealed.TEXT,
    'size': {'type': 'array', 'items': sealed.COUNT},
    'ious': sealed.named(sealed.SHARE),
  },
  {'step': sealed.COUNT},
)


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'x.json'
  sealed.write(path, CONTENT)
  return path


def test_the_checksum_by_hand(path):
  text = (
    '{"ious": {"road": 0.5, "sky": null}, "name": "\\u00e4", "size": [2, 3]}'
  )
  assert json.loads(path.read_text()) == READ | {
    'crc32': zlib.crc32(text.encode())
  }
  assert sealed.read(path, FORM, 'delete it') == READ


def test_no_change_is_taken(path):
  """Each bit: an error, or what was written (white space)."""
  whole = path.read_bytes()
  changed = [
    whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i + 1 :]
    for i in range(len(whole))
    for bit in range(8)
  ]
  changed += [whole[:i] for i in range(len(whole) - 1)]
  told = 0
  for content in changed:
    path.write_bytes(content)
    try:
      assert sealed.read(path, FORM, 'delete it') == READ
    except UserError as e:
      assert str(e).startswith(f'{path} is damaged (')
      assert str(e).endswith('): delete it.') and str(e).isprintable()
      told += 1
  assert told > 0.9 * len(changed)


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    ('', 'Expecting value'),
    ('[]', 'it is no JSON object'),
    ('{"a": 1}', "'name' is a required property|'a' was unexpected"),
    ('{"name": 1}', '.*'),
    ('[' * 100_000, 'recursion|nested|levels'),
    ('{"a":' * 50 + '1' + '}' * 50, 'it is nested too deeply'),
    ('{"a": NaN}', 'it has the number NaN'),
    ('{"a": 1e999}', 'it has the number 1e999'),
    ('{"a": ' + '9' * 5000 + '}', 'digits'),
    ('{"name": "' + 'a' * 2**26 + '"}', 'more than 67,108,864 bytes'),
    (
      json.dumps(READ | {'ious': {'road': 5.0}}),
      r'ious\.road: 5\.0 is greater than the maximum of 1',
    ),
    (json.dumps(READ | {'other': 1}), "'other' was unexpected"),
  ],
)
def test_what_is_no_such_file(path, text, reason):
  path.write_text(text)
  with pytest.raises(UserError, match=rf'is damaged \(.*({reason}).*\): x\.'):
    sealed.read(path, FORM, 'x')


def test_edited_by_hand(path):
  """Without its checksum it is what it says."""
  path.write_text(json.dumps(READ | {'name': 'b'}))
  assert sealed.read(path, FORM, 'x')['name'] == 'b'


def test_what_cannot_be_read(tmp_path):
  with pytest.raises(
    UserError, match=r'cannot be read \(Is a directory\): x\.'
  ):
    sealed.read(tmp_path, FORM, 'x')
  (tmp_path / 'b').write_bytes(b'\xff\xfe')
  with pytest.raises(UserError, match=r'is damaged \(.utf-8. codec'):
    sealed.read(tmp_path / 'b', FORM, 'x')
