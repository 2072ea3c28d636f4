"""Patterns of files: images and labels that match the same belong together."""

import pathlib
import re
from collections.abc import Container

from jaxuda.datasets import files, photos
from jaxuda.utils.errors import UserError

_WILDCARDS = {'**/': '(?:[^/]+/)*', '*': '[^/]*', '?': '[^/]'}


def find(
  root: pathlib.Path, pattern: str, suffixes: Container[str], where: str
) -> files.Found:
  """Return the files that a pattern matches, by what its wildcards match.

  What a wildcard of the suffix matches is not among it: 'a.jpg' and 'a.png'
  match `*.*` alike. How many files are passed over for their suffix is printed.

  Args:
    root: the folder to which a pattern is relative that is not absolute.
    pattern: of files, with *, ? and **; or a folder, for all files in it and
      below it.
    suffixes: of files that match, where the pattern leaves the suffix open.
    where: names the pattern in messages.

  Raises:
    UserError: no file matches, or the pattern's folder is not there.
  """
  wild = [*pathlib.PurePath(pattern).parts]
  if not re.search('[*?]', pattern):
    wild.append('**')
  if wild[-1] == '**':
    wild.append('*')
  fixed = []
  while not re.search('[*?]', wild[0]):
    fixed.append(wild.pop(0))
  folder = root / pathlib.Path(*fixed).expanduser()
  suffix = pathlib.PurePath(wild[-1]).suffix
  is_open = not suffix or bool(re.search('[*?]', suffix))
  regex = re.compile(
    _regex('/'.join(wild).removesuffix(suffix), '({})')
    + (_regex(suffix, '{}') or r'\.[^./]*')
  )
  matches = {}
  for path in photos.walk(folder) if folder.is_dir() else ():
    name = path.relative_to(folder).as_posix()
    name += '' if suffix or path.suffix else '.'
    if match := regex.fullmatch(name):
      matches[path] = match
  found, others = files.Found(), ''
  paths = list(matches)
  if is_open:
    paths, others = photos.chosen(paths, suffixes)
  for path in paths:
    parts = (group.strip('/') for group in matches[path].groups())
    found.add('/'.join(filter(None, parts)), str(path))
  if not found:
    rest = f' but {others}' if others else ''
    raise UserError(f'{where} = "{pattern}" matches no file in {folder}{rest}.')
  if others:
    photos.print_once(f'{where} = "{pattern}": passed over {others}')
  return found


def _regex(pattern, of_wildcard):
  """Return a glob as a regular expression, wildcards in a form of theirs."""
  known = '|'.join(map(re.escape, _WILDCARDS))
  return ''.join(
    of_wildcard.format(_WILDCARDS[part])
    if part in _WILDCARDS
    else re.escape(part)
    for part in re.split(f'({known})', pattern)
  )
