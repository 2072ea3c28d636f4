"""Check a dataset file by file: the raw download, or the prepared records.

  python -m data.verify gta5 --raw=DIR
  python -m data.verify gta5 --size=720x1280

Raw files: number of examples against the published one, missing pairs, two
files of one name, files that cannot be read, wrong label encodings, ids outside
the map, image and label of different sizes, labels without a single pixel of
any class. Prepared records (streets: of the default size if none is given):
their number against the published one, checksums, sizes and ids. Prints a
table, writes a JSON file, exits with 0 if all is well (there may be warnings),
1 if not, 2 if it could not look.
"""

import pathlib
import sys

from jaxuda.datasets import own, specs
from jaxuda.utils import cli, files
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('raw', None, 'Folder of the download.')
  command.text('size', None, 'HxW of the prepared records.')
  command.text(
    'data_dir',
    None,
    'Root of the prepared datasets; default: $TFDS_DATA_DIR or '
    '~/tensorflow_datasets.',
  )
  command.text('json', None, 'Path of the report; default: verify-NAME.json.')
  command.integer(
    'workers', None, 'Number of processes; default: all cores.', lower_bound=1
  )
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  doc = f'{__doc__}\nThe datasets: {", ".join(specs.datasets())}.\n'
  found = command.parse(argv, doc, ['NAME'])
  if found is None:
    return 0
  given, [name] = command.values, found
  named = specs.specs_of(name)
  module = specs.module(specs.split_spec(named[0])[0])
  count = bool(given.raw) + bool(given.size)
  # What is rendered has no raw files, so that one of the two is left; a user's
  # own data says itself where they are.
  of_user = own.is_own(name)
  if count > 1 or (not count and module.NEEDS_RAW and not of_user):
    raise UserError(
      'give --raw=DIR to check raw files or --size=HxW to check prepared '
      'records, one of the two.'
    )

  from jaxuda.datasets import verify, verify_prepared

  reports = []
  for spec in named:
    if given.raw or (of_user and not given.size):
      reports.append(verify.verify_raw(spec, given.raw, given.workers))
    else:
      size = module.DEFAULT_SIZE
      if given.size:
        size = specs.parse_size(given.size)
      reports += verify_prepared.verify(
        spec, size, given.data_dir, given.workers
      )
  for report in reports:
    verify.show(report)
  ok = all(report['ok'] for report in reports)
  stem = own.slug(name) if of_user else name.replace('/', '-')
  path = given.json or f'verify-{stem}.json'
  path = pathlib.Path(path).expanduser()
  files.write_json(path, {'ok': ok, 'reports': reports})
  print(f'written to {path}')
  return 0 if ok else 1


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
