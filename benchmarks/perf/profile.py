"""Where a step's time goes: a trace, and a table of its operations.

  python -m benchmarks.perf.profile [--config=configs/advent.py] [--steps=3]
    [--top=25] [--trace=DIR] [--config.KEY=VALUE ...]

The trace in --trace (default runs/trace) opens in TensorBoard's profile plugin
or at ui.perfetto.dev. The table sums what the device did, by operation: which
part of the network it came from, its kind, and its share of the time.
"""

import collections
import pathlib
import re
import sys

import jax

from benchmarks.perf import common
from jaxuda.utils import cli

# What encloses other events and would count their time twice.
_ENCLOSING = re.compile(r'(while|call|conditional|ThunkExecutor|Wait)')


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.integer('steps', 3, 'Steps that are traced.')
  command.integer('top', 25, 'Lines of the table.')
  command.text('trace', 'runs/trace', 'Where the trace goes.')
  return command


def operations(folder: pathlib.Path, names: dict[str, str]) -> dict:
  """Return {instruction: (seconds, calls)} of the newest trace in a folder.

  Args:
    folder: of jax.profiler.trace.
    names: of `origins`; events that are none of its instructions are left out.
  """
  path = max(folder.glob('**/*.xplane.pb'), key=lambda p: p.stat().st_mtime)
  found = collections.defaultdict(lambda: [0.0, 0])
  for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
    for line in plane.lines:
      for event in line.events:
        name = event.name.removesuffix('.clone')
        if name in names and not _ENCLOSING.match(name):
          found[name][0] += event.duration_ns / 1e9
          found[name][1] += 1
  return {name: tuple(value) for name, value in found.items()}


def origins(compiled) -> dict[str, str]:
  """Return {instruction: where in the model it comes from} of a step."""
  found = {}
  for line in compiled.as_text().splitlines():
    head = re.match(r'\s*(?:ROOT )?%?([\w.-]+) = ', line)
    if head:
      name = re.search(r'op_name="([^"]*)"', line)
      found[head[1]] = name[1] if name else ''
  return found


def kind(instruction: str, origin: str) -> str:
  """Return 'layer3 conv2 backward: convolution' of an instruction's names."""
  backward = 'backward' if 'transpose(' in origin else 'forward'
  parts = re.findall(
    r'(layer\d|conv\w+|bn\d|downsample_\d|classifier|D_\d|cls\d|conv2d_list)',
    origin,
  )
  place = ' '.join(dict.fromkeys(parts)) or origin.split('/')[-1] or 'other'
  what = re.sub(r'[.\d]+$', '', instruction)
  return f'{place} {backward}: {what}'


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  asked = common.parse(command, argv, __doc__)
  if asked is None:
    return 0
  given = command.values
  step = common.Step(asked.config)
  step()
  folder = pathlib.Path(given.trace)
  with jax.profiler.trace(str(folder)):
    for i in range(given.steps):
      with jax.profiler.StepTraceAnnotation('step', step_num=i):
        step()
  names = origins(step.compiled)
  table = collections.defaultdict(lambda: [0.0, 0])
  for instruction, (seconds, calls) in operations(folder, names).items():
    row = table[kind(instruction, names[instruction])]
    row[0] += seconds
    row[1] += calls
  total = sum(seconds for seconds, _ in table.values())
  print(f'{"ms a step":>10} {"share":>6} {"calls":>6}  operation')
  ordered = sorted(table.items(), key=lambda item: -item[1][0])
  for name, (seconds, calls) in ordered[: given.top]:
    print(
      f'{1e3 * seconds / given.steps:10.2f} {seconds / total:6.1%} '
      f'{calls // given.steps:6}  {name}'
    )
  print(f'{1e3 * total / given.steps:10.2f} in all; the trace is in {folder}')

  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
