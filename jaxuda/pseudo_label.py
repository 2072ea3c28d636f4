"""Write a run's target training images, with labels that the run predicts.

  python -m jaxuda.pseudo_label --workdir=RUN [--rule=median] [--output=DIR]

The rules are `argmax` (FADA: every prediction), `median` (BDL), `balanced`
(CBST, CRST) and `global` (plain self-training); jaxuda/pseudo_labels/rules.py
explains them, and --portion, --cap, --stride, --soft, --spatial_prior, --input,
--scales, --flip and --upsample change their numbers.
Any config whose method reads the target trains on what is written, with the
weight --config.loss_weights.seg_target_main: --config.target.labels=DIR. DIR
holds

  *.array_record*    images and labels, as data.prepare writes them
  thresholds.json    the confidence that each class had to reach
  coverage.csv       how much of each class was kept, and how sure the run was
  predictions.json   the classes' pixels before that, and each image's entropy
  pseudo_labels.png  a few images, what was predicted and what was kept

Cityscapes at 512x1024 goes through the network three times (once with argmax)
and takes as much disk as when it is prepared; memory does not grow with it.
"""

import pathlib
import sys
from typing import Any

from jaxuda import config as config_lib
from jaxuda.datasets import specs
from jaxuda.pseudo_labels import rules
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command; None stands for the rule's own value."""
  command = cli.Flags()
  command.text('workdir', None, 'Folder of the run.')
  command.text('rule', 'median', f'One of {", ".join(rules.RULES)}.')
  cli.define_checkpoint(command)
  command.text(
    'output', None, f'A new folder; default: RUN/{rules.FOLDER}/<name>.'
  )
  command.text(
    'size', None, "Of the images, HxW or full; default: the run's target's."
  )
  command.text('data_dir', None, 'Where prepared datasets are.')
  command.number(
    'portion', None, "Which of a class's confidences is its threshold."
  )
  command.number('cap', None, 'The largest threshold (median).')
  command.integer(
    'stride',
    None,
    "Thresholds look at every STRIDE-th of a class's pixels (balanced and "
    'global).',
  )
  command.number('soft', None, "Soft labels: LRENT's alpha (balanced).")
  command.number(
    'spatial_prior',
    None,
    "CBST-SP: smoothing of the source's frequencies, in shares of the height "
    '(balanced).',
  )
  command.text(
    'input', None, 'HxW that the network sees; default: as in its evaluation.'
  )
  command.list('scales', None, 'Input scales that are averaged.')
  command.boolean('flip', None, 'Average with the mirrored input, too.')
  command.text('upsample', None, 'What is enlarged: logits or probabilities.')
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  command.require('workdir')
  given = command.values
  chosen = _chosen(given)
  workdir = pathlib.Path(given.workdir).expanduser()
  config = config_lib.read_run(workdir)
  target = config.target
  size = specs.parse_size(given.size) if given.size else target.size
  if given.output:
    folder = pathlib.Path(given.output).expanduser()
  else:
    other = given.network if given.network != config.eval.network else None
    folder = rules.default_folder(workdir, target.name, size, chosen, other)
  if folder.exists():
    raise UserError(f'{folder} is there already: delete it or give --output.')

  from jaxuda import experiment
  from jaxuda.input import open_records
  from jaxuda.pseudo_labels import writer
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  run = experiment.load(workdir, given.checkpoint, given.network)
  cli.print_if_best(given.checkpoint)
  records = open_records(
    target.name, size, target.split, given.data_dir or config.data_dir
  )
  writer.make(run, records, folder, chosen, workdir)
  return 0


def _chosen(given) -> dict[str, Any]:
  """Return the rule's settings, some of them from the command line."""
  asked = {
    key: given[key].value
    for key in sorted(set().union(*rules.RULES.values()))
    if given[key].value is not None
  }
  if 'input' in asked:
    asked['input'] = specs.parse_size(asked['input'])
  if 'scales' in asked:
    asked['scales'] = cli.parse_scales(asked['scales'])
  return rules.settings(given.rule, asked)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
