"""All raw files of a dataset, complete or as complete as is allowed."""

import os
import pathlib

from jaxuda.datasets import check, files, own, specs
from jaxuda.utils.errors import UserError


def gather(
  spec: str,
  raw: str | os.PathLike | None,
  allow_missing: bool,
  command: str,
) -> tuple[dict[str, files.Split], list[str]]:
  """Find every example of a dataset and check that none is missing.

  What is missing although it is allowed to be is printed: single files, and
  splits of which nothing is there, as long as one split has examples.

  Args:
    spec: NAME or NAME/VARIANT.
    raw: folder of the download; not of own data, which says where it is.
    allow_missing: see `prepare.prepare`.
    command: prepares the dataset; named with the flag that allows what is
      refused.

  Returns:
    split -> its examples, and the files left out because they lack a partner.

  Raises:
    UserError: something is missing, or two files have one name.
  """
  name, variant = specs.split_spec(spec)
  module = specs.module(name)
  raw = _folder(spec, raw, module)
  splits, left_out, absent = {}, [], {}
  for split, published in module.COUNTS.items():
    try:
      found = module.examples(pathlib.Path(raw).expanduser(), variant, split)
    except files.AbsentError as e:
      absent[split] = e
      continue
    if found is None:
      print(f'{spec}: there is no {split} split in {raw}')
      continue
    _refuse_duplicates(found)
    if not allow_missing:
      _refuse_missing(f'{raw}: {spec}', split, found, published, command)
    found, alone = _pairs(found)
    if alone:
      left_out += alone
      print(
        f'{spec}, {split}: left out {len(alone):,} files without a partner, '
        f'the first is {alone[0]}'
      )
    if not found.examples:
      absent[split] = files.AbsentError(
        f'{raw}: no {split} images of {spec}; {specs.page(name)} shows the '
        'expected files.'
      )
      continue
    if not found.labelled:
      print(f'{spec}, {split}: without labels')
    splits[split] = found
  _settle_absent(spec, absent, splits, allow_missing, command)
  return splits, left_out


def _folder(spec, raw, module):
  """Return the folder of the raw files, of which what is rendered has none."""
  if own.is_own(spec):
    own.refuse_raw(spec, raw)
    return module.path
  if module.NEEDS_RAW and not raw:
    name, _ = specs.split_spec(spec)
    raise UserError(
      f'{spec} is made from its download: give its folder with --raw=DIR '
      f'({specs.page(name)} says where to get it).'
    )
  return raw or '.'


def _settle_absent(spec, absent, splits, allow_missing, command):
  """Print which splits are left out; refuse where they may not be."""
  for split, error in absent.items():
    if not splits:
      raise error
    if not allow_missing:
      raise UserError(
        f'{error} `{command} --allow_missing` leaves the {split} split out.'
      )
    print(f'{spec}: left out the {split} split: {error}')


def _refuse_duplicates(found):
  for problem in found.problems:
    if problem.kind not in check.WARNINGS:
      raise problem


def _refuse_missing(where, split, found, published, command):
  for example in found.examples:
    for problem in check.missing(example, found.labelled):
      raise UserError(
        f'{problem} `{command} --allow_missing` leaves such files out.'
      )
  if published not in (None, len(found.examples)):
    raise UserError(
      f'{where} has {published:,} {split} images, but here are '
      f'{len(found.examples):,}; `{command} --allow_missing` prepares what is '
      'there.'
    )


def _pairs(found):
  """Return the split without incomplete pairs, and the files of those."""
  complete, left_out = [], []
  for example in found.examples:
    missing = check.missing(example, found.labelled)
    left_out += [problem.path for problem in missing]
    if not missing:
      complete.append(example)
  return found._replace(examples=complete), left_out
