"""Networks of a run, written as PyTorch files; what such a file holds."""

import pathlib

import numpy as np
from flax import traverse_util

from jaxuda import experiment, methods
from jaxuda.models import decoders
from jaxuda.models.torch_names import Layout, plain_name
from jaxuda.torch_weights import files as torch_files
from jaxuda.torch_weights import layouts, matching
from jaxuda.utils.errors import UserError


def to_tensors(tree: dict, layout: Layout) -> dict[str, np.ndarray]:
  """Return a network's variables by their names in a file, as torch has them.

  Raises:
    UserError: the layout has no name for one of them.
  """
  tensors = {}
  for path, leaf in traverse_util.flatten_dict(tree).items():
    name = plain_name(path)
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
  network: str = 'segmenter',
) -> list[pathlib.Path]:
  """Write a run's networks as the originals name them; return the files.

  The discriminators go into files beside `output`, as AdaptSegNet (_D1, _D2)
  and ADVENT (_D_aux, _D_main) keep them, or into the same file, as FADA does.

  Args:
    workdir: of the run.
    output: the segmenter's file.
    checkpoint: 'latest', 'best' or a step.
    layout: 'bdl' for one head called layer5; None for the method's own.
    network: 'segmenter', or 'ema' for its teacher.

  Raises:
    UserError: not a run, a layout that is not for it, or a file that cannot be
      written.
  """
  run = experiment.load(workdir, checkpoint, network)
  names = layouts.BY_NAME[_segmenter_layout(run.config, layout)]
  tensors = to_tensors(run.params, names) | to_tensors(run.batch_stats, names)
  d_params = experiment.load_discriminators(workdir, run.step)
  if names.discriminator:  # it holds all networks
    for params in d_params.values():
      tensors |= to_tensors(params, names)
    torch_files.write(output, _by_network(tensors))
    return [output]
  files = {output: tensors}
  modules = methods.load(run.config.method).discriminators(run.config)
  for name, params in d_params.items():
    own = layouts.BY_NAME[_discriminator_layout(run.config, modules[name])]
    suffix = own.suffixes.get(name, f'_D_{name}')
    path = output.with_name(f'{output.stem}{suffix}{output.suffix}')
    files[path] = to_tensors(params, own)
  for path, content in files.items():
    torch_files.write(path, content)
  return list(files)


def _segmenter_layout(config, asked) -> str:
  """Return the name of the layout to write: the one asked for, or the first."""
  model = config.model
  own = decoders.load(model.decoder.name).EXPORTS[model.encoder.name]
  of_method = layouts.BY_NAME.get(methods.load(config.method).torch_layout)
  if of_method and of_method.discriminator:
    own = (of_method.name,)
  if asked not in (None, *own):
    raise UserError(f'--layout={asked} is none of {", ".join(own)}.')
  return asked or own[0]


def _discriminator_layout(config, module) -> str:
  """Return the name of the method's own, or else of the discriminator's."""
  return methods.load(config.method).torch_layout or module.LAYOUT


def _by_network(tensors):
  """Return FADA's dict of dicts."""
  networks = {}
  for key, tensor in tensors.items():
    network, _, name = key.partition('.')
    networks.setdefault(network, {})[name] = tensor
  return networks


def inspect(path: pathlib.Path) -> None:
  """Print what a file holds."""
  tensors = torch_files.read(path)
  layout = layouts.detect(tensors, path)
  count = sum(t.size for t in tensors.values() if t.dtype.kind == 'f')
  print(f'{layout.name}: {layout.about}')
  print(f'{len(tensors)} tensors, {count:,} numbers')
  width = max(map(len, tensors))
  for key, tensor in tensors.items():
    print(f'{key:{width}}  {tensor.dtype}  {tuple(tensor.shape)}')
