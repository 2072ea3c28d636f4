"""Networks of a run as PyTorch files, and what such a file holds."""

import pathlib

import numpy as np

from jaxuda import experiment
from jaxuda.torch_weights import files as torch_files
from jaxuda.torch_weights import layouts, matching
from jaxuda.torch_weights.load import _paths
from jaxuda.utils.errors import UserError

# Where each repository puts its discriminators: beside the segmenter's file.
_D_FILES = {
  'discriminator': {'aux': '_D1', 'main': '_D2'},
  'advent_discriminator': {'aux': '_D_aux', 'main': '_D_main'},
}


def to_tensors(tree: dict, layout: layouts.Layout) -> dict[str, np.ndarray]:
  """A network's variables by their names in a file, in torch's layout.

  Raises:
    UserError: the layout has no name for one of them.
  """
  tensors = {}
  for path, leaf in _paths(tree):
    name = layouts.plain_name(path)
    key = layout.rename(name)
    if key is None:
      raise UserError(f'layout {layout.name} has no place for {name}.')
    array = matching.to_torch(np.asarray(leaf))
    whole = array.dtype.kind == 'i'  # torch counts in 64 bits
    tensors[key] = array.astype(np.int64) if whole else array
  return tensors


def export(
  workdir: pathlib.Path,
  output: pathlib.Path,
  checkpoint: str = 'latest',
  layout: str | None = None,
) -> list[pathlib.Path]:
  """Writes a run's networks as the originals name them; returns the files.

  The discriminators go into files beside `output`, as AdaptSegNet (_D1, _D2)
  and ADVENT (_D_aux, _D_main) keep them, or into the same file, as FADA does.

  Args:
    workdir: of the run.
    output: the segmenter's file.
    checkpoint: 'latest', 'best' or a step.
    layout: 'bdl' for one head called layer5; None for the method's own.

  Raises:
    UserError: not a run, a layout that is not for it, or a file that cannot be
      written.
  """
  run = experiment.load(workdir, checkpoint)
  names = layouts.BY_NAME[_export_layout(run.config, layout)]
  tensors = to_tensors(run.params, names) | to_tensors(run.batch_stats, names)
  d_params = experiment.load_discriminators(workdir, run.step)
  if names.name == 'fada':
    for params in d_params.values():
      tensors |= to_tensors(params, names)
    torch_files.write(output, _by_network(tensors))
    return [output]
  torch_files.write(output, tensors)
  written = [output]
  d_names = 'advent_discriminator'
  if run.config.method == 'adaptsegnet':
    d_names = 'discriminator'
  for head, params in d_params.items():
    suffix = _D_FILES[d_names][head]
    path = output.with_name(f'{output.stem}{suffix}{output.suffix}')
    torch_files.write(path, to_tensors(params, layouts.BY_NAME[d_names]))
    written.append(path)
  return written


def _export_layout(config, layout) -> str:
  """The name of the layout to write, which has a place for every tensor."""
  own = ('deeplab', 'bdl')
  if config.model.backbone == 'vgg16':
    own = ('deeplab_vgg',)
  if config.method == 'fada':
    own = ('fada',)
  if layout not in (None, *own):
    raise UserError(f'--layout={layout} is none of {", ".join(own)}.')
  return layout or own[0]


def _by_network(tensors):
  """FADA's dict of dicts."""
  networks = {}
  for key, tensor in tensors.items():
    network, _, name = key.partition('.')
    networks.setdefault(network, {})[name] = tensor
  return networks


def inspect(path: pathlib.Path) -> None:
  """Prints what a file holds."""
  tensors = torch_files.read(path)
  layout = layouts.detect(tensors, path)
  count = sum(t.size for t in tensors.values() if t.dtype.kind == 'f')
  print(f'{layout.name}: {layout.about}')
  print(f'{len(tensors)} tensors, {count:,} numbers')
  width = max(map(len, tensors))
  for key, tensor in tensors.items():
    print(f'{key:{width}}  {tensor.dtype}  {tuple(tensor.shape)}')
