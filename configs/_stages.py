"""Stages that experiments start from, and what they share with them."""

from ml_collections import ConfigDict

from configs import common
from jaxuda import config as config_lib


def adapt(config: ConfigDict, preset: str) -> None:
  """Set what every adaptation of the rendered source shares.

  The terms have their papers' weights; where a config departs from them it
  says what was chosen on `tune` (seed 100, never on `val`), by

    python -m jaxuda.main --config=configs/NAME.py:streets \
      --config.eval.split=tune --config.seed=100 \
      --config.loss_weights.adv_main=WEIGHT
  """
  if preset not in common.RENDERED:
    return
  config.steps = common.STEPS
  # Each domain is normalised by its own statistics while it trains, so that
  # the target is evaluated as it was aligned.
  config.bn_mode = 'batch'
  config.bn_stats_from = 'target'
  config.discriminator.update(width=32, lr=2e-3)
  if 'patch' in config:
    # A third of the image's height, as 256 is of 720; several an image make
    # up for the short schedule.
    config.patch.update(size=32, count=8)


def start_from(config: ConfigDict, stage: ConfigDict) -> None:
  """Start from another experiment, whose network is this config's own."""
  with config.ignore_type():
    config.init = None
  config.init_stage = config_lib.share(config, stage)


def label_by(
  config: ConfigDict, stream: str, stage: ConfigDict, rule: str
) -> None:
  """Have a stream labelled by another experiment's network.

  Args:
    config: of the experiment that trains on the labels.
    stream: 'source' or 'target'.
    stage: the other experiment's; it may be the stage that this one starts
      from.
    rule: of pseudo_labels/rules.py.
  """
  config[stream].labels_stage = config_lib.share(config, stage)
  config.pseudo = config_lib.pseudo(rule)
