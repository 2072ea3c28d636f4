"""Joint global-local alignment (paper 000: ICIP 2020).

  python -m jaxuda.main --config=configs/local_alignment.py:streets

About 8 hours on one V100 (reckoned: benchmarks/hours.py).

Goes on from a globally aligned network, which `init` names: a page, which is
trained where it is not there, or a run's folder; that says what the network is,
and where BDL trained it, its pseudo labels are made anew. Of a PyTorch file give
its network as model.KEY. Eq. 1 at each pixel, its slip log(1 - D) mended; from
Tables 1 to 3:

| goes on from (`init`) | GTA5 -> Cityscapes | SYNTHIA -> Cityscapes, 13 classes |
|---|---|---|
| AdaptSegNet, one level (default) | 41.4 to 45.2 | 45.9 to 46.9 |
| the same, VGG-16 | 35.0 to 36.8 | 37.6 to 38.9 |
| configs/advent.py:gta5 | 43.8 to 46.4 | 47.6 to 48.3 |
| configs/bdl_ssl.py:gta5, its M2 | 48.5 to 49.4 | 51.4 to 52.5 |

Table 3: S2, the local discriminator alone (`local.mixture=None,
local.leave_out_background=False`), 42.9; S3, without background
(`local.mixture=None`), 43.9; S4, with the mixture, 45.2. Table 2 makes further
classes background, `classes=cityscapes19-building-sky`: 31.2 to 33.5. VGG-16 is
`model.backbone=vgg16`, on AdaptSegNet; BDL's is an FCN-8s, which is not here.

The mixture's paragraph is lost and there is no code: what is said of it below is
our reading.
"""

from configs import _chains, common
from jaxuda.config import loading as config_lib


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'local_alignment')
  # Both players see the softmax, "p" in the paper, also where ADVENT's global
  # game was on self-information: a local output is defined as p at one pixel.
  config.local = {
    'width': 64,  # pix2pix' pixel discriminator, which the paper takes
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
  # No rate and no weight is stated: AdaptSegNet's single-level ones.
  config.weights.update(
    adv_local=0.001, adv_mixture=0.001, d_local=1.0, d_mixture=1.0
  )
  if config_lib.given(arg or '', 'local.global_game'):
    config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  # Unstated: a third of AdaptSegNet's 150,000, from where that has ended.
  config.steps = 50_000
  common.adapt(config, setting)
  start = f'configs/adaptsegnet.py:{setting}'
  if setting in ('gta5', 'synthia'):
    start += ',model.multi_level=False'  # as it is on streets
  _chains.go_on_from(config, start + _chains.network(arg), arg)
  if own := _chains.own_init(arg):
    _chains.go_on_from(config, own, arg)
  return common.finish(config, arg)
