"""All that is to be known of an accelerator, in one command that goes on.

  python -m benchmarks.perf.accelerator [--minutes=9]
    [--experiments=advent,dacs] [--dtypes=bfloat16,float32]
    [--batches=1,2,4,8,16] [--torch=eager,channels_last,compile]
    [--rounds=10] [--name=accelerator] [--output=DIR]
    [--more='KEY=VALUE;KEY=VALUE'] [--plan]

Times steps on noise, each in a process of its own, the most telling ones first:
each experiment at a batch of 1, beside PyTorch where it is installed and has
that experiment; then larger batches, the other precision, forms of the
convolutions, and XLA's flags, each alone. Needs no data and no TensorFlow.

What is measured goes into <output>/<name>.json at once. Started again, the
command goes on with what is missing there; what has failed, as by too little
memory, is not tried again (delete its line for that). --minutes is how long new
ones are begun; --plan prints them all and measures nothing.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.perf import common
from jaxuda.utils import cli, files
from jaxuda.utils.errors import UserError

# An experiment's config, and whether train_step has its twin in PyTorch.
EXPERIMENTS = {
  'advent': ('configs/advent.py', True),
  'patches': ('configs/advent_patch.py', True),
  'dacs': ('configs/dacs.py', False),
  'dacs_mit': ('configs/dacs.py:gta5,encoder=mit', True),
  'mic': ('configs/mic.py', False),
  'dinov2': ('configs/mic.py:gta5,encoder=dinov2', False),
}
FORMS = ('plain', 'matrix')
# What is said to help: each is tried alone, on the first experiment.
FLAGS = (
  '--xla_gpu_enable_latency_hiding_scheduler=true',
  '--xla_gpu_enable_triton_gemm=false',
  '--xla_gpu_enable_command_buffer=',
  '--xla_gpu_enable_cudnn_fusion=true',
  '--xla_gpu_autotune_level=0',
)
_MOST_S = 240  # of one of them, its compilation included


class Case(NamedTuple):
  """One thing to time.

  Attributes:
    experiment: of EXPERIMENTS.
    dtype: 'bfloat16' or 'float32'.
    batch: images of each domain.
    contestant: as train_step names it: 'jaxuda FORM' or 'torch VARIANT'.
    flag: of XLA; '' for none.
  """

  experiment: str
  dtype: str
  batch: int
  contestant: str
  flag: str = ''

  @property
  def key(self) -> str:
    """Its name in the file of results."""
    parts = (self.experiment, self.dtype, f'batch {self.batch}')
    return ', '.join(filter(None, (*parts, self.contestant, self.flag)))


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.number('minutes', 9.0, 'After which nothing new is begun.')
  command.list('experiments', [*EXPERIMENTS], 'Which of them.')
  command.list('dtypes', ['bfloat16', 'float32'], 'Precisions.')
  command.list('batches', ['1', '2', '4', '8', '16'], 'Images of a domain.')
  command.list(
    'torch', ['eager', 'channels_last', 'compile'], 'Variants of PyTorch.'
  )
  command.integer('rounds', 10, 'Timed steps of each.', lower_bound=1)
  command.text('name', 'accelerator', 'Of the file of results.')
  command.text('more', '', 'KEY=VALUE of all configs, for smaller ones.')
  command.boolean('plan', False, 'Whether they are only printed.')
  common.define_output(command)
  return command


def cases(given) -> Iterator[Case]:
  """Yield what there is to time, the most telling ones first.

  Args:
    given: values of the flags.

  Raises:
    UserError: an experiment or a number is none.
  """
  if unknown := [e for e in given.experiments if e not in EXPERIMENTS]:
    raise UserError(
      f'--experiments={unknown[0]} is none of {", ".join(EXPERIMENTS)}.'
    )
  batches = common.whole_numbers('batches', given.batches)
  has_torch = importlib.util.find_spec('torch') is not None
  torch = [f'torch {variant}' for variant in given.torch if has_torch]
  first, smallest = given.dtypes[0], batches[0]
  of_torch = [e for e in given.experiments if EXPERIMENTS[e][1]]
  for experiment in given.experiments:
    yield Case(experiment, first, smallest, 'jaxuda auto')
    for contestant in torch if experiment in of_torch else ():
      yield Case(experiment, first, smallest, contestant)
  for batch in batches[1:]:
    for experiment in given.experiments:
      yield Case(experiment, first, batch, 'jaxuda auto')
      if torch and experiment in of_torch:
        yield Case(experiment, first, batch, torch[-1])
  for dtype in given.dtypes[1:]:
    for experiment in given.experiments:
      yield Case(experiment, dtype, smallest, 'jaxuda auto')
      for contestant in torch if experiment in of_torch else ():
        yield Case(experiment, dtype, smallest, contestant)
  experiment = given.experiments[0]
  for form in FORMS:
    yield Case(experiment, first, smallest, f'jaxuda {form}')
  for flag in FLAGS:
    yield Case(experiment, first, smallest, 'jaxuda auto', flag)


def measure(case: Case, given) -> dict[str, Any]:
  """Time one case in a process of its own.

  Args:
    case: what to time.
    given: values of the flags.

  Returns:
    What train_step prints of it, or {'failed': the reason}.
  """
  config, _ = EXPERIMENTS[case.experiment]
  command = [
    *(sys.executable, '-m', 'benchmarks.perf.train_step'),
    *(f'--config={config}', f'--only={case.contestant}'),
    f'--rounds={given.rounds}',
    f'--config.model.dtype={case.dtype}',
    *(
      f'--config.{stream}.batch_size={case.batch}'
      for stream in ('source', 'target')
    ),
    *(f'--config.{override}' for override in common.parts(given.more)),
  ]
  flags = f'{os.environ.get("XLA_FLAGS", "")} {case.flag}'.strip()
  try:
    done = subprocess.run(
      command,
      capture_output=True,
      text=True,
      timeout=_MOST_S,
      env=os.environ | {'XLA_FLAGS': flags},
    )
  except subprocess.TimeoutExpired:
    return {'failed': f'more than {_MOST_S} s'}
  if done.returncode:
    said = done.stderr.strip().splitlines() or ['it says nothing']
    return {'failed': f'status {done.returncode}: {said[-1][:200]}'}
  return json.loads(done.stdout.splitlines()[-1])


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  given = command.values
  planned = {case.key: case for case in cases(given)}
  if given.plan:
    print('\n'.join(planned))
    return 0
  path = pathlib.Path(given.output or common.RESULTS) / f'{given.name}.json'
  result = _stored(path)
  until = time.monotonic() + 60 * given.minutes
  missing = [key for key in planned if key not in result['rows']]
  for number, key in enumerate(missing):
    if time.monotonic() > until:
      print(f'{len(missing) - number} are left: start it again.')
      break
    print(f'{number + 1}/{len(missing)}  {key}', flush=True)
    result['rows'][key] = measure(planned[key], given)
    files.write_json(path, result)
  print(table(result['rows'], planned))
  print(path)
  return 0


def _stored(path):
  """Return the file's content; a new one says where it is measured."""
  if path.exists():
    found = json.loads(path.read_text())
    here = common.where()['device']
    if found['device'] != here:
      raise UserError(
        f'{path} is of {found["device"]}, and this is {here}: give --name.'
      )
    return found
  return common.where() | {'rows': {}}


def table(rows: dict[str, dict], planned: dict[str, Case]) -> str:
  """Return what was measured as lines to read.

  The floor of a case is its experiment's, at its batch and precision. Between
  two steps is what a step that is waited for takes longer than one of many.

  Args:
    rows: of the file, by the key of a case.
    planned: the cases.
  """
  floors = {
    (c.experiment, c.dtype, c.batch): rows[key]['floor']
    for key, c in planned.items()
    if 'floor' in rows.get(key, {})
  }
  width = max(map(len, planned))
  lines = [
    f'{"":{width}}{"ms":>9}{"images/s":>10}{"MFU":>6}{"between, ms":>13}'
    f'{"GiB":>7}{"compiled, s":>13}'
  ]
  for key, case in planned.items():
    row = rows.get(key)
    if row is None:
      continue
    if 'failed' in row:
      lines.append(f'{key:{width}}  {row["failed"]}')
      continue
    seconds = common.median(row['all_s'])
    floor = floors.get((case.experiment, case.dtype, case.batch))
    mfu, between = '', ''
    if floor:
      mfu = f'{floor["tflop"] / floor["tflop_per_s"] / seconds:.0%}'
    if 'pipelined_s' in row:
      between = f'{1000 * (seconds - row["pipelined_s"]):.1f}'
    lines.append(
      f'{key:{width}}{1000 * seconds:>9.4g}{row["images"] / seconds:>10.4g}'
      f'{mfu:>6}{between:>13}{row.get("device_peak_gib", ""):>7}'
      f'{row.get("compile_s", ""):>13}'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
