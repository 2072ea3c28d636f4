"""What the configs of the self-training line share."""

from ml_collections import ConfigDict

from configs import common
from jaxuda import config as config_lib


def set_recipe(config: ConfigDict, preset: str) -> None:
  """Set the recipe of DAFormer's framework (lhoyer/DAFormer, configs/_base_).

  AdamW at 6e-5, ten times that in the head, 1,500 steps of warm-up and a linear
  decay; 2 + 2 crops of 512x512 without photometric augmentation.
  """
  common.set_weights(config, seg_mixed_main=1.0, seg_mixed_aux=0.1)
  config.ce_reduction = 'pixels'
  config.train_bn_affine = True
  config.model.align_corners = False
  if preset in common.RENDERED:
    # The teacher's batch-norm statistics are those of target images, the
    # student's those of source, mixed and masked ones.
    config.eval.network = 'ema'
    config.steps = 2_000
    config_lib.crop_alike(config)
    return
  if config.model.encoder.name == 'resnet':
    config.model.encoder.variant = 'v1c'
    config.model.input_norm = 'torchvision'
    config.model.decoder.update(
      dilations=(6, 12), aspp_branches=2, multi_level=False
    )
  config.optim.update(
    name='adamw',
    lr=6e-5,
    beta2=0.999,
    weight_decay=0.01,
    power=1.0,
    decay_steps=None,
    warmup=1_500,
    warmup_from=1e-6,
    duplicate_params=False,
  )
  config.steps = 40_000
  config.eval_every = 4_000
  stream = {'batch_size': 2, 'flip': True, 'crop': (512, 512)}
  config.source.update(max_class_share=0.75, **stream)
  config.target.update(**stream)
  if preset == 'gta5':
    config.source.size = (704, 1280)  # its own aspect


def set_daformer(config: ConfigDict, preset: str) -> None:
  """Set what DAFormer adds to DACS."""
  common.set_weights(config, feature_distance=0.005)
  config.source.sampling = 'rare_class'
  if preset in common.RENDERED:
    # 704x1280 has 49 times the pixels of 96x192.
    config.source.rare_class.update(temperature=0.1, pixels=60)
    config.teacher.decay = 0.99
  else:
    config.teacher.margins = (15, 120)
