"""Writing a run's segmenter in a format, and reading it back to check it."""

import contextlib
import dataclasses
import io
import os
import pathlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

import jaxuda
from jaxuda import experiment, labels
from jaxuda.datasets import specs
from jaxuda.evaluation import inference
from jaxuda.evaluation.predictor import MIN_SIDE
from jaxuda.experiment import Run
from jaxuda.exporting import check, formats
from jaxuda.exporting import program as program_lib
from jaxuda.exporting.program import Program
from jaxuda.input import open_records
from jaxuda.models import segmenter
from jaxuda.utils import files
from jaxuda.utils.errors import UserError

ANY = 'any'  # in place of a size
_SOME_SIZE = (256, 512)  # to try it at, where no size is known


def export_run(
  run: Run,
  output: str | os.PathLike,
  kind: str,
  *,
  size: tuple[int, int] | str | None = None,
  scales: Sequence[float] | None = None,
  flip: bool | None = None,
  probabilities: bool = True,
) -> None:
  """Write a run's segmenter, and labels.json beside it, into a new folder.

  What is written is read back, compared with the run and timed; all of this is
  printed.

  Args:
    run: the trained network.
    output: the folder; it may be there if it is empty.
    kind: the name of a format.
    size: (height, width) of the image; ANY; or None for the size at which the
      run is evaluated.
    scales, flip: see inference.probabilities; None for the run's own.
    probabilities: whether they are among the outputs.

  Raises:
    UserError: no such format, or it needs a package; the folder is not empty or
      not writable; the network does not take images of that size; or what was
      written is not what the run predicts. Then nothing is left behind.
  """
  formats.check(kind, output)
  form, output = formats.load(kind), pathlib.Path(output).absolute()
  program = _program(run, form, size, scales, flip, probabilities)
  with files.whole_folder(output) as folder:
    form.write(program, folder / form.FILE)
    _check(program, form, folder / form.FILE)
    files.write_json(folder / 'labels.json', _labels(program, kind, form))
  print(f'{output / form.FILE} and labels.json')


def _program(run, form, size, scales, flip, probabilities) -> Program:
  """Return what is to be written."""
  settings = inference.protocol(run.config.eval, scales=scales, flip=flip)
  slides = any(settings['window']) or any(run.config.model.detail)
  if size == ANY and slides:
    raise UserError(
      '--size=any: this run slides windows over the image (config.eval.window, '
      'config.model.detail), and how many follows from its size: --size=HxW.'
    )
  size = size or experiment.image_size(run.config)
  if size is None:
    raise UserError(
      'the run was evaluated on images of many sizes: give --size=HxW, or '
      '--size=any.'
    )
  divisor = segmenter.sides_divide_by(run.config)
  if size != ANY and any(side % divisor for side in size):
    raise UserError(
      f'--size={size[0]}x{size[1]}: this network takes sides that divide by '
      f'{divisor}.'
    )
  if run.config.model.dtype not in form.DTYPES:
    run = _computing_in(form.DTYPES[0], run)
  return Program(run, None if size == ANY else size, settings, probabilities)


def _computing_in(dtype: str, run: Run) -> Run:
  """Return a run whose convolutions are of another type."""
  print(f'computed in {dtype}, not in {run.config.model.dtype}')
  config = run.config.copy_and_resolve_references()
  config.model.dtype = dtype
  return dataclasses.replace(
    run, config=config, net=experiment.segmenter(config)
  )


def _check(program: Program, form: ModuleType, path: pathlib.Path) -> None:
  """Compare what was written with the run; print how equal and how fast.

  Raises:
    UserError: it predicts something else.
  """
  sizes = [program.size]
  if program.size is None:
    known = experiment.image_size(program.run.config) or _SOME_SIZE
    larger = tuple(3 * side // 2 + 1 for side in known)
    divisor = segmenter.sides_divide_by(program.run.config)
    sizes = [_taken(size, divisor) for size in (known, larger)]
  shown, images = _images(program.run.config, sizes)
  expected, found = check.reference(program), form.load(path)
  agreement = check.compare(expected, found, images)
  what = _describe(agreement)
  print(f'{path.name}, {size_of(path) / 1e6:.1f} MB: {what} ({shown})')
  if not agreement.equal:
    raise UserError(
      f'{path.name} does not predict what the run does: {what}. Nothing was '
      'written; this is a bug of jaxuda, or of a package that it was written '
      'with, unless the run itself predicts nan.'
    )
  image = images[0]
  height, width = image.shape[1:3]
  print(
    f'milliseconds an image of {height}x{width} on this CPU or accelerator: '
    f'predict {check.milliseconds(expected, image):.1f}, '
    f'{path.name} {check.milliseconds(found, image):.1f}'
  )


def _describe(agreement: check.Agreement) -> str:
  """'ids equal on 18,430 pixels of 18,432, 2 ties, ...'."""
  text = f'ids equal on {agreement.pixels - agreement.different:,} pixels'
  text += f' of {agreement.pixels:,}, {agreement.ties:,} ties'
  if agreement.largest is not None:
    text += f', probabilities within {agreement.largest:.0e}'
  return text


def _taken(size, divisor):
  """Return a size that a file of any size takes, near to another one."""
  least = [max(side, MIN_SIDE) for side in size]
  return tuple(-(-side // divisor) * divisor for side in least)


def _images(config, sizes) -> tuple[str, list[np.ndarray]]:
  """Return an image at several sizes, and in words what it is.

  It is the target's first; where that is not here, coloured patches.
  """
  target = config.target
  prepared = any(
    specs.is_prepared(
      specs.prepared_dir(target.name, target.size, config.data_dir, jpeg=jpeg)
    )
    for jpeg in (False, True)
  )
  colors = np.random.default_rng(0).integers(0, 256, (6, 12, 3), np.uint8)
  image, shown = Image.fromarray(colors), 'coloured patches'
  with contextlib.suppress(UserError):  # damaged data is no matter here
    if prepared:
      records = open_records(
        target.name, target.size, target.split, config.data_dir, resumed=True
      )
      image = Image.open(io.BytesIO(records.parse(0)['image'])).convert('RGB')
      shown = f'an image of {target.name}'
  resized = [
    image.resize(size[::-1], Image.Resampling.BICUBIC) for size in sizes
  ]
  return shown, [np.asarray(each)[None] for each in resized]


def size_of(path: pathlib.Path) -> int:
  """Return the bytes of a file, or of all files of a folder."""
  inside = [path, *path.rglob('*')]
  return sum(each.stat().st_size for each in inside if each.is_file())


def _labels(program: Program, kind: str, form: ModuleType) -> dict[str, Any]:
  """Return what labels.json says: the classes, and what goes in and out."""
  run = program.run
  sides = program.size or (None, None)
  outputs = {'ids': {'type': 'uint8', 'shape': [1, *sides]}}
  if program.probabilities:
    shape = [1, *sides, len(run.space.classes)]
    outputs['probabilities'] = {'type': 'float32', 'shape': shape}
  return labels.describe(run.space) | {
    'format': kind,
    'file': form.FILE,
    'input': {
      'name': program_lib.IMAGE,
      'type': 'uint8',
      'shape': [1, *sides, 3],
      'channels': 'red, green, blue',
      'normalisation': 'none: it is inside',
    },
    'outputs': outputs,
    'run': {
      'config': run.config.name,
      'step': run.step,
      'network': run.network,
      **program.settings,
    },
    'jaxuda': jaxuda.__version__,
  }
