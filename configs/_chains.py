"""Stages that pages name, and what one hands to another."""

from ml_collections import ConfigDict

from jaxuda.config import loading as config_lib
from jaxuda.config import values
from jaxuda.pseudo_labels import rules


def own_init(arg: str | None) -> str | None:
  """The `init` that a page's argument names, None for the page's own."""
  given = config_lib.given(arg or '', 'init')
  return values.parse('init', given, None) if given else None


def handed_on(arg: str | None, *keys: str) -> str:
  """The overrides of some keys as the end of another page: ',init=(FILE)'."""
  found = ((key, config_lib.given(arg or '', key)) for key in keys)
  return ''.join(f',{key}={value}' for key, value in found if value)


def network(arg: str | None) -> str:
  """The overrides that say what the network is, which all stages share."""
  return handed_on(arg, *config_lib.NETWORK)


def pass_on(config: ConfigDict, arg: str) -> None:
  """Gives the page's own stages its network; one that `arg` names has its own."""
  same, own = network(arg), own_init(arg)
  stages = (
    (config, 'init'),
    (config.source, 'labels'),
    (config.target, 'labels'),
  )
  for node, key in stages:
    named = str(node[key])
    if named.startswith('configs/') and not named.endswith(same):
      node[key] += same if named != own else ''


def label(
  config: ConfigDict, stream: str, run: str, rule: str, arg: str | None
) -> None:
  """Has a stream labelled by a run, as `pseudo` then says.

  Args:
    config: of the page.
    stream: 'source' or 'target'.
    run: a page or a folder.
    rule: the page's own; `arg` may name another as `rules.rule`.
    arg: the page's argument.
  """
  config[stream].labels = run
  chosen = config_lib.given(arg or '', 'pseudo.rule') or rule
  config.pseudo = rules.settings(chosen, {})


def go_on_from(config: ConfigDict, start: str, arg: str | None) -> None:
  """Goes on with the network that a start has, a page or a run's folder.

  It learns by the same optimizer and is scored as there; and where the start was
  trained on pseudo labels of the target, as BDL's is, it makes new ones, and the
  source images are the same. Of a PyTorch file nothing is known, and the network
  stays what it was.
  """
  config.init = start
  before = config_lib.of(start)
  if before is None:
    return
  config.classes = before.classes
  config.model.update(before.model)
  for key in ('head_factor', 'repeats', 'nesterov'):
    config.optim[key] = before.optim[key]
  for key in ('upsample', 'average', 'absent'):
    config.eval[key] = before.eval[key]
  if before.target.labels:
    label(config, 'target', start, 'median', arg)
    dataset = config.source.name.partition('/')[0]
    if before.source.name.partition('/')[0] == dataset:  # translated or not
      config.source.name = before.source.name
