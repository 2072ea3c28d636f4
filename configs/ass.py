"""ASS: semantic alignment with a few labelled target images (CVPRW 2020).

  python -m jaxuda.main --config=configs/ass.py:streets,labelled.count=20

About 28 hours on one V100 (reckoned: benchmarks/hours.py).

Paper 004, Eqs. 1 to 11. `labelled.count` is n, the number of labelled target
images; `semantics` is None (GA), 'vectors' (GA+FCSA) or 'pixels' (GA+CSA). GTA5 ->
Cityscapes with n = 100: 53.5, 54.1 and 54.2 mIoU; n = 500: 56.5, 59.9 and 60.2
(Table 1). SYNTHIA -> Cityscapes, 13 classes: GA 62.1 and GA+CSA 58.3; 69.1 and
69.8 (Table 3). n = 0 is configs/ass_global.py; the oracle, n images alone, 43.6
and 53.6; 57.6 and 66.5, with the same optimizer, is
`configs/oracle.py:gta5,source.count=n,optim.nesterov=True,optim.repeats=dedupe`.
"""

from configs import ass_global, common
from jaxuda.config import loading as config_lib


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = ass_global.start(arg, 'ass')
  config.semantics = 'pixels'
  # How the subset is drawn is unstated; here the same n images for every seed
  # of a run, and one of them a step, as of the other two streams.
  config.labelled = config.target.copy_and_resolve_references()
  config.labelled.count = 20 if setting in ('streets', 'camvid') else 100
  config.discriminator.hidden = 1024  # section 4.1, of both forms
  # "lambda_seg" weighs the cross entropy of both labelled streams (Eq. 9) and
  # has no value: 1, so that theirs are the source-only's. Nor has D_s's.
  config.weights.update(
    seg_labelled_main=1.0, seg_labelled_aux=0.1, d_semantic=1.0
  )
  # The best of the paper's sweep with 500 images: 0.01 for pixels; 0.04 for
  # vectors. Eqs. 5 and 7 are sums over pixels, here means: unstated.
  vectors = config_lib.given(arg or '', 'semantics') == 'vectors'
  config.weights.adv_semantic = 0.04 if vectors else 0.01
  common.adapt(config, setting)
  if setting in ('streets', 'camvid'):
    config.discriminator.hidden = 128
  return common.finish(config, arg)
