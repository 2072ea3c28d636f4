"""Joint global-local alignment (paper 000: ICIP 2020).

  python -m jaxuda.main --config=configs/local_alignment.py:streets

About 8 hours on one V100 (reckoned: benchmarks/hours.py).

Goes on from a globally aligned model: `init`, here AdaptSegNet's; paper 000,
Eq. 1 and Table 3. GTA5 -> Cityscapes 45.2 mIoU from AdaptSegNet's 41.4 (S1), by
the local discriminator 42.9 (S2), without background 43.9 (S3), with the mixture
45.2 (S4); 46.4 on ADVENT, 49.4 on BDL. S2 is `local.mixture=None,
local.leave_out_background=False`, S3 `local.mixture=None`. Table 2's extra
background is `classes=cityscapes17`.

The mixture's paragraph is lost and there is no code: what is said of it below is
our reading.
"""

from configs import common
from jaxuda import config as config_lib


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'local_alignment')
  config.local = {
    'width': 64,
    'leave_out_background': True,
    # None; 'images', two maps at one ratio laid over each other (our reading:
    # "output mixture" and the paper's reference to domain mixup); or 'pixels',
    # random pairs of pixels at a ratio each, which a discriminator of single
    # pixels does not tell from the former but by what meets what.
    'mixture': 'images',
    'alpha': 2.0,  # r ~ Beta(alpha, alpha), as domain mixup's code
    'gap': 0.3,  # of r from one half, as there
    # Whether the global game goes on beside the local one: None, 'segmentations'
    # (AdaptSegNet, BDL) or 'information' (ADVENT). The paper's two steps follow
    # one another: the outputs are "already globally aligned".
    'global_game': None,
  }
  config.information = 'normalised'  # of the global game on 'information'
  config.model.update(multi_level=False, live_branches=2)
  # No rate and no weight is stated: AdaptSegNet's single-level ones.
  config.weights.update(
    adv_local=0.001, adv_mixture=0.001, d_local=1.0, d_mixture=1.0
  )
  if config_lib.given(arg or '', 'local.global_game'):
    config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  config.steps = 50_000
  common.adapt(config, setting)
  config.init = f'configs/adaptsegnet.py:{setting}'
  if setting in ('gta5', 'synthia'):
    config.init += ',model.multi_level=False'  # as it is on streets
  return common.finish(config, arg)
