"""Writes a run's target training images with labels that the run predicts.

  python -m jaxuda.pseudo_label --workdir=RUN [--rule=median] [--output=DIR]

The rules are `argmax` (FADA: every prediction), `median` (BDL) and `balanced`
(CBST, CRST); jaxuda/pseudo.py has what they do, and --portion, --cap, --stride,
--soft, --input, --scales, --flip and --upsample change their numbers. Any
config trains on what is written: --config.target.labels=DIR. DIR holds

  *.array_record*    images and labels, as data/ writes them
  thresholds.json    the confidence that each class had to reach
  coverage.csv       how much of each class was kept, and how sure the run was
  pseudo_labels.png  a few images, what was predicted and what was kept

Cityscapes at 512x1024 goes through the network three times (once with argmax)
and takes as much disk as when it is prepared; memory does not grow with it.
"""

import functools
import pathlib
import sys
from typing import Any

from absl import flags

from jaxuda import predict
from jaxuda.config import loading as config_lib
from jaxuda.datasets import specs
from jaxuda.pseudo_labels import rules
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError, exit_with_sentence


def define_flags() -> flags.FlagValues:
  """The flags of this command line; settings that are None are the rule's."""
  given = flags.FlagValues()
  text = functools.partial(flags.DEFINE_string, flag_values=given)
  number = functools.partial(flags.DEFINE_float, flag_values=given)
  text('workdir', None, 'Folder of the run.')
  text('rule', 'median', f'One of {", ".join(rules.RULES)}.')
  text('checkpoint', 'latest', 'latest, best or a step.')
  text('output', None, f'A new folder; default: RUN/{rules.FOLDER}/<name>.')
  text('size', None, "Of the images, HxW or full; default: the run's target's.")
  text('data_dir', None, 'Where prepared datasets are.')
  number('portion', None, "Which of a class's confidences is its threshold.")
  number('cap', None, 'The largest threshold (median).')
  flags.DEFINE_integer(
    'stride',
    None,
    "Thresholds look at every STRIDE-th of a class's pixels (balanced).",
    flag_values=given,
  )
  number('soft', None, "Soft labels: LRENT's alpha (balanced).")
  text('input', None, 'HxW that the network sees; default: as it is evaluated.')
  flags.DEFINE_list(
    'scales', None, 'Input scales that are averaged.', flag_values=given
  )
  flags.DEFINE_bool(
    'flip', None, 'Average with the mirrored input, too.', flag_values=given
  )
  text('upsample', None, 'What is enlarged: logits or probabilities.')
  return given


def _chosen(given) -> dict[str, Any]:
  """The settings that a command line asks for."""
  asked = {
    key: given[key].value
    for key in sorted(set().union(*rules.RULES.values()))
    if given[key].value is not None
  }
  if 'input' in asked:
    asked['input'] = specs.parse_size(asked['input'])
  if 'scales' in asked:
    asked['scales'] = predict.parse_scales(asked['scales'])
  return rules.settings(given.rule, asked)


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  given = define_flags()
  if not cli.parse(given, argv, __doc__):
    return 0
  if not given.workdir:
    raise UserError('--workdir is needed; see --help.')
  chosen = _chosen(given)

  from jaxuda import experiment
  from jaxuda.input import open_records
  from jaxuda.pseudo_labels import writer
  from jaxuda.utils import compile_cache

  workdir = pathlib.Path(given.workdir).expanduser()
  config = config_lib.read_run(workdir)
  if 'target' not in config:
    raise UserError(f'{workdir} is a run without a target: nothing to label.')
  target = config.target
  size = specs.parse_size(given.size) if given.size else target.size
  if given.output:
    folder = pathlib.Path(given.output).expanduser()
  else:
    folder = rules.default_folder(workdir, target.name, size, chosen)
  if folder.exists():
    raise UserError(f'{folder} is there already: delete it or give --output.')
  compile_cache.enable()
  run = experiment.load(workdir, given.checkpoint)
  if given.checkpoint == 'best':
    print('oracle-selected: this checkpoint was chosen by target labels.')
  records = open_records(
    target.name, size, target.split, given.data_dir or config.data_dir
  )
  writer.make(run, records, folder, chosen, workdir)
  return 0


if __name__ == '__main__':
  try:
    exit_with_sentence(main, sys.argv)
  except KeyboardInterrupt:
    print('interrupted; nothing was left behind', file=sys.stderr)
    sys.exit(130)
