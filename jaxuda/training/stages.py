"""The stages before a run: where they lie, and what a run says of its start."""

import pathlib
from collections.abc import Sequence

from jaxuda import checkpoints
from jaxuda import config as config_lib
from jaxuda.datasets import specs, stored
from jaxuda.evaluation import scores as scores_lib
from jaxuda.pseudo_labels import rules
from jaxuda.torch_weights import pretrained, published
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def stage_dir(stage, workdir: pathlib.Path) -> pathlib.Path:
  """Return the folder of a stage of the run in `workdir`, beside it.

  Runs whose stages have equal configs share them: the name holds a hash of all
  that makes the stage's network what it is.
  """
  name = f'{stage.name}-seed={stage.seed}-{config_lib.digest(stage)}'
  return pathlib.Path(workdir).parent / name


def init_dir(config, workdir: pathlib.Path) -> pathlib.Path | None:
  """Return the run or the file that a run starts from, None for nothing.

  Raises:
    UserError: it starts from a package's weights, which are not there.
  """
  if config.init == pretrained.IMAGENET:
    return pretrained.find(config)
  if config.init:
    return published.located(config.init)
  return config.init_stage and stage_dir(config.init_stage, workdir)


def init_title(config) -> str:
  """Return what figures and tables call the network that a run starts from."""
  if config.init:
    return pathlib.Path(config.init).name
  return config.init_stage.name


def pseudo_label_dirs(
  config, streams: Sequence[str], workdir: pathlib.Path
) -> dict[str, pathlib.Path | None]:
  """Return where each stream's pseudo labels are or will be; None for none.

  Raises:
    UserError: `labels` names neither such a folder nor a run that makes one; or
      the labels are of another checkpoint than the run's last.
  """
  return {s: _pseudo_label_dir(config, s, workdir) for s in streams}


def _pseudo_label_dir(config, stream, workdir):
  s = config[stream]
  if s.labels is None:
    if s.labels_stage is None:
      return None
    return _made_by(stage_dir(s.labels_stage, workdir), config, stream)
  named = pathlib.Path(s.labels)
  if specs.is_prepared(named):
    return named
  key = f'config.{stream}.labels={s.labels}'
  if not (named / 'config.json').is_file():
    raise UserError(
      f'{key} is neither a folder of pseudo labels nor a run that could make '
      'them.'
    )
  if 'pseudo' not in config:
    raise UserError(
      f'{key} is a run, and this config does not say how it makes labels: '
      f'run `python -m jaxuda.pseudo_label --workdir={named}`, then name the '
      'folder that it writes.'
    )
  return _made_by(named, config, stream)


def _made_by(run, config, stream):
  """Return the folder of the labels that a run makes, or has made."""
  s, chosen = config[stream], rules.of_config(config.pseudo)
  made = rules.default_folder(run, s.name, s.size, chosen)
  steps = checkpoints.steps(run / 'checkpoints')
  if specs.is_prepared(made) and steps:
    step = stored.metadata(made)['pseudo']['step']
    if step != steps[-1]:
      raise UserError(
        f'{made} has the labels of step {step}, and {run} is at step '
        f'{steps[-1]}: delete that folder, and they are made again, or name it '
        f'in config.{stream}.labels.'
      )
  return made


def print_summary(
  workdir: pathlib.Path, scores: scores_lib.Scores, config
) -> None:
  """Print the table, where the pictures are, a random start and the headline.

  Without labels of the target there is no table and no headline.

  Args:
    workdir: of the run.
    scores: its last ones.
    config: of the run.
  """
  if not scores.images:
    _print_unscored(workdir, config)
    return
  columns = {workdir.name: scores}
  before = scores_lib.read(workdir / scores_lib.START)
  if before:
    columns = {init_title(config): before} | columns
  print0('\n' + scores_lib.table(columns) + '\n')
  _print_figures(workdir)
  _print_random_start(config)
  name, value = scores.headline
  of_teacher = config.eval.network == 'ema'
  which = 'last checkpoint' + ("'s teacher" if of_teacher else '')
  line = f'{name} {100 * value:.1f} ({which}, {scores.images} images)'
  if before:
    title = init_title(config)
    line += f'; {100 * before.headline[1]:.1f} at its start, {title}'
  print0(line)


def _print_random_start(config):
  """Say that no pretrained weights are behind a run, where none are."""
  first = config
  while not first.init and first.init_stage is not None:
    first = first.init_stage
  if not first.init:
    print0(
      'trained from random weights, where papers start from pretrained ones: '
      'no published number can be compared with this run '
      f'(`{published.COMMAND}` lists them)'
    )


def _print_unscored(workdir, config):
  _print_figures(workdir)
  _print_random_start(config)
  print0(
    f'{workdir}: trained without labels of the target, and not scored. '
    f'`python -m jaxuda.predict --workdir={workdir} --images=DIR --output=DIR` '
    'segments images.'
  )


def _print_figures(workdir):
  for path in sorted((workdir / 'figures').glob('*.png')):
    print0(f'figure: {path}')
  if (workdir / 'report.html').is_file():
    print0(f'report: {workdir / "report.html"}')
