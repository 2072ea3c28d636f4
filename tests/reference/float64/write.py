"""Writes the steps in float64 beside it: `python write.py [FOLDER]`.

It needs torch (what is committed is of 2.13.0, on a CPU) and NumPy, no jax. The
training steps of AdaptSegNet, ADVENT, MinEnt and FADA are written once more in
networks.py and steps.py, from what their codes do and in PyTorch alone: nothing
of jaxuda and nothing of theirs is imported.

    python write.py              ADVENT and FADA, their adversarial weights a
                                 thousand times the published ones, two steps
    python write.py --originals  how far ../*.json, which the originals wrote in
                                 float32, are from the same steps here
    python write.py --spread     how far float32 on 1, 2 and 4 threads is from
                                 float64, and from itself

Changes of tensors are compared as tests/helpers/recorded.py compares them.
"""

import argparse
import itertools
import json
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / 'helpers'))

import steps  # noqa: E402  it imports one of the helpers

SMALL = {
  'steps': 2,
  'batch': 1,
  'blocks': [1, 1, 1, 1],
  'width': 8,
  'discriminator_width': 8,
  'source_hw': [65, 97],
  'target_hw': [49, 81],
  'multi_level': True,
  'sgd': 'authors',
  'weight': 1.0,
}
WRITTEN = {
  'advent': {'method': 'AdvEnt', 'seed': 32},
  'fada': {'method': 'FADA', 'seed': 33},
}
MODULES = ('feature_extractor', 'classifier', 'model_D')  # FADA's


def record(spec, dtype=torch.float64, threads=1):
  """Return the trace of a run."""
  torch.set_num_threads(threads)
  run = steps.Run({'weight': 0.001, 'multi_level': False} | spec, dtype)
  losses = run.train()
  changes = run.changes()
  trace = dict(spec) | {'losses': losses}
  if run.fada:
    trace |= {name: changes[name] for name in MODULES}
  else:
    trace['segmenter'] = changes.pop('seg')
    trace['discriminators'] = changes
  return trace | {'eval_logits': run.eval_logits()}


def flat(trace):
  """Return {(network, key): [sum, norm, dot]} of a trace."""
  parts = {'seg': trace.get('segmenter', {}), **trace.get('discriminators', {})}
  for name in MODULES:
    parts[name] = trace.get(name, {})
  return {(part, k): v for part, keys in parts.items() for k, v in keys.items()}


def apart(trace, other):
  """Return how many tensors' changes are 1 % apart or more, and the most."""
  theirs = flat(other)
  errors = [
    max(abs(np.subtract(mine, theirs[key])[1:])) / theirs[key][1]
    for key, mine in flat(trace).items()
    if key in theirs and theirs[key][1]
  ]
  return f'{sum(e >= 0.01 for e in errors)} of {len(errors)}, {max(errors):.1%}'


def recorded():
  """Yield (name, trace) of what the originals wrote."""
  for path in sorted(HERE.parent.glob('*.json')):
    yield path.stem, json.loads(path.read_text())


def spec_of(trace, **changed):
  """Return the settings of a trace."""
  left_out = {'losses', 'eval_logits', 'segmenter', 'discriminators', *MODULES}
  return {k: v for k, v in trace.items() if k not in left_out} | changed


def print_originals():
  """Print how far the originals' runs are from the same ones of this file."""
  for name, trace in recorded():
    here = record(spec_of(trace), torch.float32)
    keys = here['losses'][0].keys() & trace['losses'][0].keys()
    losses = max(
      abs(a[key] - b[key]) / max(abs(b[key]), 1e-12)
      for a, b in zip(here['losses'], trace['losses'], strict=True)
      for key in keys
      if b[key]
    )
    exact = record(spec_of(trace))
    print(
      f'{name}: losses {losses:.1e}; tensors 1 % apart, and the most: in '
      f'float32 {apart(here, trace)}; in float64 {apart(exact, trace)}'
    )


def print_spread(count, blocks):
  """Print how far runs that differ in rounding alone are from one another."""
  for name, trace in recorded():
    spec = spec_of(trace, steps=count, blocks=blocks)
    runs = {'float64': record(spec)}
    for threads in (1, 2, 4):
      runs[f'{threads} threads'] = record(spec, torch.float32, threads)
    pairs = (
      f'{b} and {a} {apart(runs[b], runs[a])}'
      for a, b in itertools.combinations(runs, 2)
    )
    print(f'{name}: {"; ".join(pairs)}', flush=True)


def main():
  """Run the command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('folder', nargs='?', default=HERE, type=pathlib.Path)
  parser.add_argument('--originals', action='store_true')
  parser.add_argument('--spread', action='store_true')
  parser.add_argument('--steps', type=int, default=4, help='of --spread')
  parser.add_argument('--blocks', default='1,1,1,1', help='of --spread')
  given = parser.parse_args()
  if given.originals:
    print_originals()
  elif given.spread:
    print_spread(given.steps, [int(n) for n in given.blocks.split(',')])
  else:
    for name, spec in WRITTEN.items():
      text = json.dumps(record(SMALL | spec), indent=1)
      (given.folder / f'{name}.json').write_text(text + '\n')


if __name__ == '__main__':
  main()
