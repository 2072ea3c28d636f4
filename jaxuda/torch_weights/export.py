"""Networks of a run, written as PyTorch files; what such a file holds."""

import pathlib

import numpy as np
from flax import traverse_util

from jaxuda import config as config_lib
from jaxuda import experiment, methods
from jaxuda.models import decoders
from jaxuda.models.torch_names import Layout, plain_name
from jaxuda.torch_weights import files as torch_files
from jaxuda.torch_weights import layouts, matching
from jaxuda.utils import names
from jaxuda.utils.errors import UserError


def to_tensors(tree: dict, layout: Layout) -> dict[str, np.ndarray]:
  """Return a network's variables by their names in a file, as torch has them.

  Raises:
    UserError: the layout has no name for one of them.
  """
  tensors = {}
  for path, leaf in traverse_util.flatten_dict(tree).items():
    key = layout.key(path)
    if key is None:
      name = plain_name(path)
      raise UserError(f'layout {layout.name} has no place for {name}.')
    array = matching.to_torch(path, np.asarray(leaf))
    array = matching.reorder_levels(layout, path, array)
    whole = array.dtype.kind == 'i'  # torch counts in 64 bits
    tensors[key] = array.astype(np.int64) if whole else array
  return tensors


def export(
  workdir: pathlib.Path,
  output: pathlib.Path,
  checkpoint: str = 'latest',
  layout: str | None = None,
  network: str | None = None,
) -> list[pathlib.Path]:
  """Write a run's networks as the originals name them; return the files.

  The discriminators go into files beside `output`, as AdaptSegNet (_D1, _D2)
  and ADVENT (_D_aux, _D_main) keep them, or into the same file, as FADA does.

  Args:
    workdir: of the run.
    output: the segmenter's file.
    checkpoint: 'latest', 'best' or a step.
    layout: 'bdl' for one head called layer5, 'jaxuda' for names of our own,
      which all networks have; None for the method's.
    network: 'segmenter', or 'ema' for its teacher; None for `eval.network`.

  Raises:
    UserError: not a run, a layout that is not for it, or a file that cannot be
      written.
  """
  known = segmenter_layouts(config_lib.read_run(workdir))
  if layout not in (None, *known):
    raise UserError(f'--layout={layout} is none of {", ".join(known)}.')
  names = layouts.BY_NAME[layout or known[0]]
  if names.teacher:  # the file has a place for each
    network = network or 'segmenter'
  run = experiment.load(workdir, checkpoint, network)
  tensors = _tensors_of(run, names)
  d_params = experiment.load_discriminators(workdir, run.step)
  if names.discriminator:  # it holds all networks
    for params in d_params.values():
      tensors |= to_tensors(params, names)
    torch_files.write(output, _by_network(tensors))
    return [output]
  files = {output: tensors}
  modules = methods.load(run.config.method).discriminators(run.config)
  if names.teacher:
    files = {output: {'state_dict': tensors | _teacher(workdir, run, names)}}
  for name, params in d_params.items():
    own = layouts.BY_NAME[_discriminator_layout(run.config, modules[name])]
    suffix = own.suffixes.get(name, f'_D_{name}')
    path = output.with_name(f'{output.stem}{suffix}{output.suffix}')
    files[path] = to_tensors(params, own)
  for path, content in files.items():
    torch_files.write(path, content)
  return list(files)


def _tensors_of(run, layout):
  return to_tensors(run.params, layout) | to_tensors(run.batch_stats, layout)


def _teacher(workdir, run, layout):
  """Return the tensors of a run's teacher by their names in the file."""
  if methods.load(run.config.method).ema is None:
    raise UserError(
      f'--layout={layout.name} has a teacher; {run.config.method} has none.'
    )
  teacher = experiment.load(workdir, str(run.step), 'ema')
  before = len('model.')
  return {
    layout.teacher + key[before:]: tensor
    for key, tensor in _tensors_of(teacher, layout).items()
  }


def segmenter_layouts(config) -> tuple[str, ...]:
  """Return what a config's segmenter can be written as, the default first."""
  model = config.model
  of_method = layouts.BY_NAME.get(methods.load(config.method).torch_layout)
  if of_method and of_method.discriminator:  # its files hold all networks
    return (of_method.name,)
  exports = getattr(decoders.load(model.decoder.name), 'exports', lambda _: ())
  return (*exports(model), layouts.OWN.name)


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
    shown = names.printable(key)
    print(f'{shown:{width}}  {tensor.dtype}  {tuple(tensor.shape)}')
