"""Images a second of evaluation, beside the originals' NumPy path.

  python -m benchmarks.perf.evaluation [--config=configs/advent.py]
    [--size=1024x2048] [--rounds=3] [--output=DIR] [--config.KEY=VALUE ...]

Noise in the sizes of the config's `eval`, labels of --size. Ours counts on the
device. Theirs (ADVENT, eval_UDA.py: PyTorch upsamples, NumPy takes the largest
and counts) runs where torch is installed. Both with the network, and what comes
after it alone.
"""

import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.perf import common
from jaxuda import experiment, metrics
from jaxuda.datasets import specs
from jaxuda.evaluation import counting
from jaxuda.models import layers
from jaxuda.utils import cli, sharding


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('size', '1024x2048', 'Of the labels.')
  command.integer('rounds', 3, 'Timed calls.', lower_bound=1)
  common.define_output(command)
  return command


def ours(config, image, label, logits) -> dict:
  """Return {name: call} of the whole evaluation, and of all but the network."""
  mesh = sharding.make_mesh()
  net = experiment.segmenter(config)
  variables = jax.jit(net.init, static_argnames='train')(
    jax.random.key(0), image[:1, :64, :64], train=False
  )
  count = counting.make_count(net, config.eval, mesh)
  image, label, logits = jax.device_put((image, label, logits))

  @jax.jit
  def after(logits, label):
    maps = layers.resize(logits, label.shape[1:3], net.align_corners)
    return metrics.confusion_matrix(
      jnp.argmax(maps, -1), label, net.num_classes
    )

  stats = variables.get('batch_stats', {})
  return {
    'jaxuda': lambda: jax.device_get(
      count(variables['params'], stats, image, label)
    ),
    'jaxuda, after the network': lambda: jax.device_get(after(logits, label)),
  }


def theirs(config, image, label, logits) -> dict:
  """Return the same in PyTorch and NumPy, {} without torch."""
  if not importlib.util.find_spec('torch'):
    return {}
  import torch

  from benchmarks.perf import torch_step

  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  step = torch_step.TorchStep(config, 'eager', device)
  step.segmenter.eval()
  loaded = step.load({'target': {'image': image}})['target']['image']
  small = torch.tensor(logits).permute(0, 3, 1, 2).to(device)
  classes = logits.shape[-1]

  def count(maps):
    total = 0
    for one, truth in zip(maps, label, strict=True):
      upsampled = torch.nn.functional.interpolate(
        one[None], truth.shape, mode='bilinear', align_corners=True
      )
      output = upsampled.cpu().numpy()[0].transpose(1, 2, 0)
      predicted = np.argmax(output, axis=2)
      valid = truth < classes
      index = classes * truth[valid].astype(int) + predicted[valid]
      total = total + np.bincount(index, minlength=classes**2)
    return total.reshape(classes, classes)

  @torch.no_grad()
  def whole():
    return count(step.segmenter(loaded)[0]['main'])

  @torch.no_grad()
  def after():
    return count(small)

  return {'originals': whole, 'originals, after the network': after}


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  asked = common.parse(command, argv, __doc__)
  if asked is None:
    return 0
  given, config = command.values, asked.config
  label_size = specs.parse_size(given.size)
  rng = np.random.default_rng(0)
  batch, size = config.eval.batch_size, config.eval.size
  classes = experiment.segmenter(config).num_classes
  image = rng.integers(0, 256, (batch, *size, 3), np.uint8)
  label = rng.integers(0, classes, (batch, *label_size), np.uint8)
  small = (batch, size[0] // 8 + 1, size[1] // 8 + 1, classes)
  logits = rng.standard_normal(small).astype(np.float32)
  calls = ours(config, image, label, logits)
  calls |= theirs(config, image, label, logits)
  seconds = common.in_turn(calls, given.rounds)
  rates = {
    name: float(f'{batch / common.median(values):.4g}')
    for name, values in seconds.items()
  }
  for name, rate in rates.items():
    print(f'{name:32}{rate:10} images/s')
  result = {'label_size': given.size, 'images_per_s': rates}
  print(common.write('evaluation', asked.record | result, given.output))
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
