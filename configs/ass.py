"""ASS: semantic alignment with a few labelled target images (CVPRW 2020).

  python -m jaxuda.main --config=configs/ass.py:streets \
    --config.labelled.count=20

About 30 hours on one V100 (estimated by benchmarks/perf/hours.py).

Eqs. 1 to 11. `labelled.count` is n, the number of labelled target images; the
argument `semantics` is pixels (GA+CSA, default), vectors (GA+FCSA) or none
(GA). GTA5 -> Cityscapes with n = 100: 54.2, 54.1 and 53.5 mIoU; n = 500: 60.2,
59.9 and 56.5 (Table 1). SYNTHIA -> Cityscapes, 13 classes: GA 62.1 and GA+CSA
58.3; 69.1 and 69.8 (Table 3). n = 0 is configs/ass_global.py, which names the
start; the oracle, n images alone, 43.6 and 53.6; 57.6 and 66.5, with the same
optimizer:

  --config=configs/oracle.py:gta5 --config.source.count=n
  --config.optim.nesterov=True --config.optim.duplicate_params=False
"""

import copy

from configs import _stages, ass_global, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(
    arg, 'ass', semantics=('pixels', 'vectors', 'none')
  )
  ass_global.set_unstated(config)
  config.semantics = None if arg.semantics == 'none' else arg.semantics
  # How the subset is drawn is unstated; here the same n images for every seed
  # of a run, and one of them a step, as of the other two streams.
  config.labelled = copy.deepcopy(config.target)
  config.labelled.count = 20 if arg.preset in common.RENDERED else 100
  config.discriminator.hidden = 1024  # section 4.1, of both forms
  # "lambda_seg" weighs the cross entropy of both labelled streams (Eq. 9) and
  # has no value: 1, so that theirs are the source-only's. Nor has D_s's.
  common.set_weights(config, seg_labelled_main=1.0, seg_labelled_aux=0.1)
  # The best of the paper's sweep with 500 images: 0.01 for pixels; 0.04 for
  # vectors. Eqs. 5 and 7 are sums over pixels, here means: unstated.
  semantic = 0.04 if arg.semantics == 'vectors' else 0.01
  common.set_weights(config, adv_semantic=semantic, d_semantic=1.0)
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    config.discriminator.hidden = 128
  return config
