"""requirements.lock: every requirement, at a version of its range, by hash."""

import re

import pytest
import tiny
from packaging.requirements import Requirement

LOCK = (tiny.ROOT / 'requirements.lock').read_text()


def requirements(name):
  """Yield the requirements of a file and of those that it names."""
  for line in (tiny.ROOT / name).read_text().splitlines():
    line = line.partition('#')[0].strip()
    if line.startswith('-r'):
      yield from requirements(line[2:].strip())
    elif line:
      yield Requirement(line)


def locked():
  """{name: [(version, marker and hashes)]}."""
  found = {}
  for entry in re.split(r'\n(?=\S)', LOCK):
    if match := re.match(r'([\w.-]+)==(\S+)', entry):
      found.setdefault(match[1], []).append((match[2], entry))
  return found


@pytest.mark.parametrize(
  'wanted', requirements('requirements-dev.txt'), ids=lambda r: r.name
)
def test_a_requirement_is_locked(wanted):
  versions = locked()[wanted.name.replace('_', '-')]
  for version, _ in versions:
    assert wanted.specifier.contains(version), f'{wanted}: {version}'


def test_all_have_hashes():
  found = locked()
  assert len(found) > 100
  for entries in found.values():
    for version, entry in entries:
      assert '--hash=sha256:' in entry, version
  assert 'http' not in LOCK and 'file:' not in LOCK and '/opt' not in LOCK
