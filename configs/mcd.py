"""MCD: two heads spread apart, the encoder brings them together (CVPR 2018).

  python -m jaxuda.main --config=configs/mcd.py:streets

About 6 hours on one V100 (estimated by benchmarks/perf/hours.py).

Saito et al., "Maximum Classifier Discrepancy for Unsupervised Domain
Adaptation". GTA5 -> Cityscapes 39.7 mIoU, from 22.2; SYNTHIA -> Cityscapes 37.3
/ 43.5 on 16 / 13 classes, from 23.4 / 26.8 (ACCV 2020, Tables 2 and 1, where
the classes of the last row average 43.3), all with DRN-D-105, which is not
here: there the heads are two transposed convolutions, behind the convolution
that scores the classes. On DeepLab the heads are two such convolutions on the
same features, which is another experiment, and its numbers are not those. The
prediction is the sum of both heads, which the original does by a flag.

The weight 4 of `mcd_encoder` stands for the original's four steps, and
`ce_heads` for its heads' second one on the source. The rates are AdaptSegNet's;
it starts from ImageNet weights by `--config.init=resnet101_caffe`.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'mcd')
  config.model.decoder.update(multi_level=True, shared_features=True)
  common.set_weights(config, seg_source_aux=1.0, seg_target_aux=1.0)
  common.set_weights(config, mcd_encoder=4.0, mcd_heads=1.0, ce_heads=1.0)
  if arg.preset not in common.RENDERED:
    config.steps = 50_000  # ten epochs of at most 5,000
  if arg.preset in ('gta5', 'synthia'):
    config.source.size = config.target.size  # both domains at 512x1024
  # On tune of streets 4 had 30.2 mIoU, 1 had 29.9; AdaBN 30.5.
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    config.model.decoder.multi_level = True
  return config
