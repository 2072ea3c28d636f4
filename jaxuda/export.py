"""Write a trained run as a file that predicts without jaxuda.

  python -m jaxuda.export --workdir=RUN --output=DIR
    --format=stablehlo|savedmodel|onnx [--size=HxW|any] [--noprobabilities]
    [--checkpoint=latest|best|STEP] [--network=segmenter|ema]
    [--scales=0.7,1.0,1.3] [--flip]

DIR then holds labels.json, the names and colours of the classes, and one of

  model.stablehlo   for jax.export, on CPUs, NVIDIA's GPUs and TPUs
  saved_model/      for TensorFlow
  model.onnx        for onnxruntime

which map an image, u8[1, H, W, 3], to `ids`, u8[1, H, W], and `probabilities`,
f32[1, H, W, C]. It is read back, compared with what the run predicts, and
timed. docs/export.md has the programs that use each of them.
"""

import os
import sys

from jaxuda.utils import cli
from jaxuda.utils.errors import UserError

FORMATS = ('stablehlo', 'savedmodel', 'onnx')


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('workdir', None, 'Folder of the run.')
  command.text('output', None, 'Folder that is made.')
  command.enum('format', None, FORMATS, 'What is written.')
  command.text(
    'size',
    None,
    "HxW of the image, or any; default: the size of the run's evaluation, or "
    'of its target.',
  )
  command.boolean('probabilities', True, 'Whether they are among the outputs.')
  cli.define_checkpoint(command)
  cli.define_averaging(command)
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  command.require('workdir', 'output', 'format')
  given = command.values
  scales = cli.parse_scales(given.scales)
  workdir, output = map(os.path.expanduser, (given.workdir, given.output))

  from jaxuda.datasets import specs
  from jaxuda.exporting import formats

  formats.check(given.format, output)
  size = given.size
  if size not in (None, 'any'):
    size = specs.parse_size(size)
    if size is None:
      raise UserError('--size=full: an exported file takes HxW, or any size.')

  from jaxuda import experiment
  from jaxuda.exporting import exporter
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  run = experiment.load(workdir, given.checkpoint, given.network)
  cli.print_if_best(given.checkpoint)
  exporter.export_run(
    run,
    output,
    given.format,
    size=size,
    scales=scales,
    flip=given.flip,
    probabilities=given.probabilities,
  )
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
