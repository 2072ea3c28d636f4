"""Mean teacher: consistency with the moving average of oneself (NeurIPS 2017).

  python -m jaxuda.main --config=configs/mean_teacher.py:streets

About 28 hours on one V100 (estimated by benchmarks/perf/hours.py).

Tarvainen and Valpola's loss on the target, as French et al. (ICLR 2018) adapt
classifiers with it; no number is published for these datasets and networks. The
smallest method with a teacher: DACS and what came after build on it.
The teacher is scored, as in both papers; `--config.eval.network=segmenter`
scores the student.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'mean_teacher')
  common.set_weights(config, consistency_main=1.0)
  config.teacher.decay = 0.99
  config.eval.network = 'ema'
  _stages.adapt(config, arg.preset)
  return config
