"""Random-patch alignment, ALP-GI (Cicek et al., ACCV 2020).

  python -m jaxuda.main --config=configs/advent_patch.py:streets

Eqs. 1 to 4. GTA5 -> Cityscapes 46.98 mIoU (Table 2); `:synthia` 44.84 / 51.99
on 16 / 13 classes (Table 1). About 25 hours on one V100 in the paper.
`--config.patch.size=None` is the paper's global baseline AGP-GI: 40.56, and
40.31 / 47.3 (Tables 3 and 4). Its start is ADVENT's, ImageNet weights by
`--config.init=resnet101_caffe`.

No code was published. What the paper leaves open is a setting here:
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'advent_patch')
  config.patch = {
    'size': 256,  # the best one in Fig. 8a, of the upsampled map's pixels
    'count': 1,  # patches an image and step
    # Whether the discriminator trains on patches of its own or on those that
    # the segmenter has just been judged by. Unstated; ADVENT's loop, from
    # which the paper departs, uses the same maps for both.
    'redraw': False,
  }
  # h(y) = -y log y as printed (section 3.1); ADVENT's 'normalised' log2 form is
  # the same divided by log(C) = 2.9.
  config.information = 'natural'
  # Eq. 4 to the letter is 'minimax': the segmenter maximises the
  # discriminator's loss on both domains. But the paper also says that
  # its baseline AGP-GI "minimizes the same adversarial loss" as ADVENT, which
  # minimises the loss of flipped labels, on the target alone.
  config.objective = 'non_saturating'
  # "d: x -> R^2" (section 3.1); its softmax is a sigmoid of the difference.
  config.discriminator.outputs = 2
  # One adversarial weight is stated, 0.001, and no auxiliary head; the second
  # head and its weights are ADVENT's, which the paper builds on.
  common.set_weights(
    config, adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0
  )
  # "updated with momentum but current batch statistics are not used"; whether
  # an image is normalised before or after its own update is open:
  # 'running' or 'running_updated'. Affine parameters: frozen, as ADVENT's.
  config.bn_mode = 'running'
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    # On tune 0.005 had 31.8 mIoU, 0.02 31.9, 0.1 32.6; AdaBN 30.4. Of whole
    # maps 0.001 had 31.3, 0.005 28.8.
    config.loss_weights.adv_main = 0.1
  return config
