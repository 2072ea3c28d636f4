"""MinEnt: entropy minimisation on the target (ADVENT, CVPR 2019).

  python -m jaxuda.main --config=configs/minent.py:streets

About 20 hours on one V100 (estimated by benchmarks/perf/hours.py).

GTA5 -> Cityscapes 42.3 mIoU, 43.1 with the entropy range (ACCV 2020, Table 2);
SYNTHIA -> Cityscapes 38.1 / 44.2 on 16 / 13 classes. With a run of advent.py
the one with the entropy range makes AdvEnt+MinEnt (A+E), an ensemble: 45.5;
41.2 / 48.0 (its Tables 2 and 1; issue 7 of ADVENT's repository). All start from
ImageNet weights by `--config.init=resnet101_caffe`.

  python -m jaxuda.evaluate --workdir=runs/advent,runs/minent_er --mix=0.5,0.5
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'minent')
  config.steps = 120_000
  if arg.preset == 'synthia':  # as DADA's ADVENT; two heads, as the code needs
    config.steps = config.optim.decay_steps = 90_000
  common.set_weights(config, ent_main=0.001, ent_aux=0.0002)
  # The prior's term comes with `prior.shares`, of which
  # `python -m jaxuda.analyze domain_similarity` prints some; its weight is
  # unstated.
  common.set_weights(config, prior_main=0.001, prior_aux=0.0002)
  # The layout's is CDA's, beside other cross entropies; FCNs in the Wild, whose
  # projection has no weight, states none: ours.
  common.set_weights(config, layout_main=0.1, layout_aux=0.02)
  common.set_weights(config, sizes_main=0.1, sizes_aux=0.02)
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    # With 0.01, 0.1 and 1 the layout's term had 30.3, 25.8 and 13.3 mIoU on
    # tune, that of sizes 31.0, 30.6 and 24.8; MinEnt alone 30.1.
    common.set_weights(config, layout_main=0.01, layout_aux=0.002)
    common.set_weights(config, sizes_main=0.01, sizes_aux=0.002)
  return config
