"""PyTorch weights in and out.

python -m jaxuda.weights inspect FILE
python -m jaxuda.weights import FILE --config=PAGE --workdir=RUN
python -m jaxuda.weights export --workdir=RUN --output=FILE
  [--checkpoint=latest|best|STEP] [--layout=NAME]

Files are .safetensors, or .pth where torch is installed; what kind of model a
file holds is told by its keys. `--config.init=FILE` starts a training from
one, and `python -m jaxuda.evaluate --weights=FILE --config=PAGE` scores one.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxuda import config as config_lib
from jaxuda import runs, state, torch_files, torch_match, torch_names
from jaxuda.errors import UserError, exit_with_sentence
from jaxuda.log import say
from jaxuda.models import deeplab
from jaxuda.torch_match import Match

# Where each repository puts its discriminators: beside the segmenter's file.
_D_FILES = {
  'discriminator': {'aux': '_D1', 'main': '_D2'},
  'advent_discriminator': {'aux': '_D_aux', 'main': '_D_main'},
}


def load_segmenter(config, path: str | pathlib.Path) -> tuple[runs.Run, Match]:
  """The segmenter of an experiment with the weights of a file; says the match.

  Args:
    config: an experiment's; its network, and the exceptions `init_unused` and
      `init_fresh`.
    path: a file of tensors.

  Returns:
    The run, whose params lack what the match calls fresh; the match.

  Raises:
    UserError: the file cannot be read, or does not fit the network.
  """
  leaves = dict(_paths(deeplab.abstract(runs.segmenter(config))))
  found = torch_match.match(
    {keys[1:]: leaf.shape for keys, leaf in leaves.items()},
    torch_files.read(path),
    path,
    config.init_unused,
    config.init_fresh,
  )
  filled = _nested(
    {
      keys: found.arrays[keys[1:]].astype(leaf.dtype)
      for keys, leaf in leaves.items()
      if keys[1:] in found.arrays
    }
  )
  say(f'{path}: {found.describe()}')
  _tell_settings(config, path, found.layout.settings)
  run = runs.from_variables(
    config, filled['params'], filled.get('batch_stats', {}), step=0
  )
  return run, found


def _tell_settings(config, path, settings):
  """Says what no shape tells: a network of another geometry or input."""
  for key, value in settings.items():
    if config.model[key] != value:
      say(
        f'note: {path} is for model.{key}={value}; the config has '
        f'{config.model[key]}.'
      )


def load_discriminators(config) -> dict[str, dict]:
  """{discriminator: params} of what `config.discriminator.init` names.

  A run, one file for all (FADA's), or NAME=FILE,NAME=FILE.

  Raises:
    UserError: no such discriminator, or one that does not fit.
  """
  init = config.discriminator.init
  if not init:
    return {}
  wanted = state.abstract(*runs.build(config)).discriminators.params
  if not wanted:
    raise UserError(
      f'config.discriminator.init={init}: method {config.method} has no '
      'discriminators.'
    )
  if pathlib.Path(init).is_dir():
    found = runs.load_discriminators(init)
    if _shapes(found) != _shapes(wanted):
      raise UserError(
        f"config.discriminator.init: {init}'s discriminators are others than "
        "this experiment's."
      )
    return found
  files = dict(item.partition('=')[::2] for item in init.split(','))
  if not files.keys() <= wanted.keys():
    files = {}
    if torch_files.is_weights_file(init) and len(wanted) == 1:
      files = dict.fromkeys(wanted, init)
  if not files:
    names = ','.join(f'{name}=FILE' for name in wanted)
    raise UserError(
      f'config.discriminator.init={init} is no run and not {names}.'
    )
  return {k: _load_discriminator(wanted[k], path) for k, path in files.items()}


def _load_discriminator(abstract, path):
  found = torch_match.match(
    _shapes(abstract), torch_files.read(path), path, part='discriminator'
  )
  say(f'{path}: {found.describe()}')
  return _nested(found.arrays)


def _paths(tree):
  """(path of names, leaf) of nested dicts."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    yield tuple(key.key for key in path), leaf


def _shapes(tree):
  return {path: leaf.shape for path, leaf in _paths(tree)}


def _nested(leaves: Mapping[tuple[str, ...], Any]) -> dict:
  """Nested dicts of leaves by path."""
  tree = {}
  for (*parents, last), leaf in leaves.items():
    node = tree
    for name in parents:
      node = node.setdefault(name, {})
    node[last] = leaf
  return tree


def to_tensors(tree: dict, layout: torch_names.Layout) -> dict[str, np.ndarray]:
  """A network's variables by their names in a file, in torch's layout.

  Raises:
    UserError: the layout has no name for one of them.
  """
  tensors = {}
  for path, leaf in _paths(tree):
    name = torch_names.plain_name(path)
    key = layout.rename(name)
    if key is None:
      raise UserError(f'layout {layout.name} has no place for {name}.')
    array = torch_match.to_torch(np.asarray(leaf))
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
  run = runs.load(workdir, checkpoint)
  names = torch_names.BY_NAME[_export_layout(run.config, layout)]
  tensors = to_tensors(run.params, names) | to_tensors(run.batch_stats, names)
  d_params = runs.load_discriminators(workdir, run.step)
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
    torch_files.write(path, to_tensors(params, torch_names.BY_NAME[d_names]))
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
  layout = torch_names.detect(tensors, path)
  count = sum(t.size for t in tensors.values() if t.dtype.kind == 'f')
  print(f'{layout.name}: {layout.about}')
  print(f'{len(tensors)} tensors, {count:,} numbers')
  width = max(map(len, tensors))
  for key, tensor in tensors.items():
    print(f'{key:{width}}  {tensor.dtype}  {tuple(tensor.shape)}')


def import_file(path: pathlib.Path, config, workdir: pathlib.Path) -> None:
  """Makes a run of a file, at step 0, with what it lacks drawn afresh.

  Raises:
    UserError: `workdir` holds something, or the file does not fit.
  """
  from jaxuda import checkpoint, scores, stages

  if workdir.exists() and not (workdir.is_dir() and not any(workdir.iterdir())):
    raise UserError(f'{workdir} is not empty: choose another --workdir.')
  with config.unlocked(), config.ignore_type():
    config.init = str(path)
  run, _ = load_segmenter(config, path)
  d_params = load_discriminators(config)
  current = stages.begin(config.seed, *runs.build(config), run, d_params)
  scores.write_json(workdir / 'config.json', config_lib.to_json(config))
  with checkpoint.Checkpoints(workdir / 'checkpoints') as checkpoints:
    checkpoints.save(0, current)
  for reason in checkpoints.failed.values():
    raise UserError(f'{workdir} could not be written ({reason}).')
  print(f'run: {workdir}')


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m jaxuda.weights',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(dest='command', required=True)
  inspecting = commands.add_parser('inspect', help='what a file holds')
  importing = commands.add_parser('import', help='a file to a run')
  exporting = commands.add_parser('export', help='a run to files')
  for command in (inspecting, importing):
    command.add_argument('file', type=pathlib.Path)
  importing.add_argument('--config', required=True, help='a config page')
  for command in (importing, exporting):
    command.add_argument('--workdir', required=True, type=pathlib.Path)
  exporting.add_argument('--output', required=True, type=pathlib.Path)
  exporting.add_argument('--checkpoint', default='latest')
  exporting.add_argument('--layout', help='how to name the tensors')
  return parser


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  argv, overrides = config_lib.split_overrides(argv)
  args = _parser().parse_args(argv)
  if overrides and args.command != 'import':
    raise UserError('--config.KEY=VALUE is for import, which makes a run.')
  if args.command == 'inspect':
    inspect(args.file)
  elif args.command == 'import':
    config = config_lib.load(args.config, overrides)
    import_file(args.file, config, args.workdir)
  else:
    for path in export(args.workdir, args.output, args.checkpoint, args.layout):
      print(path)
  return 0


if __name__ == '__main__':
  exit_with_sentence(main, sys.argv[1:])
