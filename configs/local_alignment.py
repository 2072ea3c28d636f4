"""Joint global-local alignment (ICIP 2020).

  python -m jaxuda.main --config=configs/local_alignment.py:streets

About 8 hours on one V100 (estimated by benchmarks/perf/hours.py).

Goes on from a globally aligned network, which `start` names: it is trained
where it is not there, has this one's network, optimizer and scoring, and where
it was trained on pseudo labels, new ones are made. `--config.init=RUN` goes on
from a run of the same network, whatever `start` says;
`--config.init_stage.init=resnet101_caffe_coco` has AdaptSegNet start as in its
paper. Eq. 1 at each pixel, its slip log(1 - D) mended; from Tables 1 to 3:

| goes on from | GTA5 -> Cityscapes | SYNTHIA -> Cityscapes, 13 classes |
|---|---|---|
| `start=adaptsegnet`, one level (default) | 41.4 to 45.2 | 45.9 to 46.9 |
| the same, `encoder=vgg16` | 35.0 to 36.8 | 37.6 to 38.9 |
| `start=advent` | 43.8 to 46.4 | 47.6 to 48.3 |
| `start=bdl`, its M1; published for its M2 | 48.5 to 49.4 | 51.4 to 52.5 |

Table 3: S2, the local discriminator alone (`--config.local.mixture=None
--config.local.leave_out_background=False`), 42.9; S3, without background
(`--config.local.mixture=None`), 43.9; S4, with the mixture, 45.2. Table 2 makes
further classes background, `--config.classes=cityscapes19-building-sky`: 31.2
to 33.5. BDL's VGG-16 is an FCN-8s, which is not here.

The mixture's paragraph is lost and there is no code: what is said of it in
jaxuda/methods/local_alignment.py is our reading.
"""

from configs import _stages, adaptsegnet, advent, bdl_ssl, common
from jaxuda import config as config_lib


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(
    arg, 'local_alignment', start=('adaptsegnet', 'advent', 'bdl')
  )
  # Both networks see the softmax, "p" in the paper, also where ADVENT's global
  # alignment was on self-information: a local output is defined as p at one
  # pixel. No rate and no weight is stated: AdaptSegNet's single-level ones.
  common.set_weights(
    config, adv_local=0.001, adv_mixture=0.001, d_local=1.0, d_mixture=1.0
  )
  # Of the global alignment, where it goes on beside the local one.
  common.set_weights(
    config, adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0
  )
  # Unstated: a third of AdaptSegNet's 150,000, from where that has ended.
  config.steps = 50_000
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    config.steps = common.STEPS // 2
  words = f'{arg.preset},encoder={arg.encoder}'
  before = {
    'adaptsegnet': lambda: adaptsegnet.get_config(f'{words},levels=1'),
    'advent': lambda: advent.get_config(words),
    'bdl': lambda: bdl_ssl.get_config(words),
  }[arg.start]()
  _go_on_from(config, before)
  return config


def _go_on_from(config, before):
  """Go on with the network, the optimizer and the scoring of another one."""
  config.model, config.classes = before.model, before.classes
  for key in ('head_factor', 'duplicate_params', 'nesterov'):
    config.optim[key] = before.optim[key]
  for key in ('upsample', 'average', 'missing_class_iou'):
    config.eval[key] = before.eval[key]
  _stages.start_from(config, before)
  if before.target.labels_stage is not None:
    _stages.label_by(config, 'target', before, 'median')
    config_lib.share_value(config.source, before.source, 'name')
