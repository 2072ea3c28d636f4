"""Chains of experiments: a run that starts from another run's weights."""

import json
import pathlib
from collections.abc import Sequence

from jaxuda import checkpoints, experiment
from jaxuda.config import loading as config_lib
from jaxuda.datasets import specs, stored
from jaxuda.evaluation.scores import Scores, from_json, table
from jaxuda.models import deeplab
from jaxuda.pseudo_labels import rules
from jaxuda.torch_weights import files as torch_files
from jaxuda.training import start
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError

START = 'start_scores.json'  # of the network that a run starts from


def page(named: str | None, seed: int) -> str | None:
  """The config page that a setting such as `init` names, with a run's seed.

  None where it names nothing or a folder.
  """
  path, arg = config_lib.parse_spec(named or '')
  if not path.endswith('.py'):
    return None
  if config_lib.given(arg, 'seed'):
    return named
  separator = ',' if ':' in named else ':'
  return f'{named}{separator}seed={seed}'


def folder(
  named: str | None, seed: int, workdir: pathlib.Path
) -> pathlib.Path | None:
  """The folder that a setting such as `init` names, None for nothing.

  That of a config page's run is beside the run in `workdir`.
  """
  if not named:
    return None
  spec = page(named, seed)
  if spec is None:
    return pathlib.Path(named)
  return workdir.parent / config_lib.run_name(spec)


def pseudo_folders(
  config, streams: Sequence[str], workdir: pathlib.Path
) -> dict[str, pathlib.Path | None]:
  """Where the pseudo labels of each stream are or will be; None for none.

  Raises:
    UserError: `labels` names neither such a folder nor what makes one; or they
      are of another checkpoint than a run's last.
  """
  return {s: _pseudo_folder(config, s, workdir) for s in streams}


def _pseudo_folder(config, stream, workdir):
  s = config[stream]
  named = folder(s.labels, config.seed, workdir)
  if named is None or specs.is_prepared(named):
    return named
  key = f'config.{stream}.labels={s.labels}'
  is_run = page(s.labels, config.seed) or (named / 'config.json').is_file()
  if not is_run:
    raise UserError(
      f'{key} is neither a folder of pseudo labels nor a run that could make '
      'them.'
    )
  if 'pseudo' not in config:
    raise UserError(
      f'{key} is a run, and this page does not say how it shall make labels: '
      f'`python -m jaxuda.pseudo_label --workdir={named}` does; then name what '
      'it writes.'
    )
  given = config.pseudo.to_dict()
  chosen = rules.settings(given.pop('rule'), given)
  made = rules.default_folder(named, s.name, s.size, chosen)
  steps = checkpoints.steps(named / 'checkpoints')
  if specs.is_prepared(made) and steps:
    step = stored.metadata(made)['pseudo']['step']
    if step != steps[-1]:
      raise UserError(
        f'{made} has the labels of step {step}, and {named} is at step '
        f'{steps[-1]}: delete that folder, and they are made anew, or name it in '
        f'config.{stream}.labels.'
      )
  return made


def read_scores(
  workdir: pathlib.Path, name: str = 'scores.json'
) -> Scores | None:
  """The final (or other) scores of a run, None where there are none."""
  path = workdir / name
  if not path.is_file():
    return None
  return from_json(json.loads(path.read_text()))


def check_labels(config, streams: Sequence[str]) -> None:
  """Refuses labels by a network that started, or was trained, otherwise.

  Raises:
    UserError: a page that the target's `labels` names was trained on another
      variant of the config's source, the images as they are or translated; or
      one that a stream's names has no `init`, nor have the pages before it, and
      the config's is a file of weights.
  """
  ours = config.source.name
  for stream in streams:
    named = root = config[stream].labels
    if not page(named, config.seed):
      continue
    theirs = config_lib.load(named).source.name
    same_dataset = theirs.partition('/')[0] == ours.partition('/')[0]
    # A source with pseudo labels is the other run's target, as FADA's third stage.
    if stream != 'source' and same_dataset and theirs != ours:
      raise UserError(
        f'config.{stream}.labels={named} is trained on {theirs}, and this run '
        f'on {ours}: name it with the same, as '
        f'{stream}.labels=({named},source.name={ours}).'
      )
    if not torch_files.is_weights_file(config.init or ''):
      continue
    while page(root, config.seed):
      root = config_lib.load(root).init
    if root is None:
      raise UserError(
        f'config.{stream}.labels={named} starts from random weights, and this '
        f'run from {config.init}: name it with its own, as '
        f'{stream}.labels=({named},init={config.init}).'
      )


def check_page(named: str | None, config) -> None:
  """Refuses a page, as `init`, before it is trained for nothing.

  Raises:
    UserError: its network is another one than the config's.
  """
  if spec := page(named, config.seed):
    theirs = deeplab.abstract(experiment.segmenter(config_lib.load(spec)))
    start.fitted(start.leaves(theirs), config, spec)


def conclude(
  workdir: pathlib.Path, scores: Scores, init_run: pathlib.Path | None
) -> None:
  """Says the table, where the pictures are, and the headline."""
  columns = {workdir.name: scores}
  before = read_scores(workdir, START)
  if before:
    columns = {init_run.name: before} | columns
  print0('\n' + table(columns) + '\n')
  for path in sorted((workdir / 'figures').glob('*.png')):
    print0(f'figure: {path}')
  name, value = scores.headline
  line = f'{name} {100 * value:.1f} (last checkpoint, {scores.images} images)'
  if before:
    line += f'; {100 * before.headline[1]:.1f} at its start, {init_run.name}'
  print0(line)
