"""Class frequencies of two domains, and how far they are from each other.

  python -m jaxuda.analyze domain_similarity \\
    --config=configs/source_only.py:gta5

The distance is the Jensen-Shannon divergence in bits,

  JS(p, q) = 1/2 sum_c p_c log2(p_c / m_c) + 1/2 sum_c q_c log2(q_c / m_c),
  m = (p + q) / 2,

because it is symmetric and finite where a class is missing in one domain, lies
between 0 (equal) and 1 (no class in common), and is a sum over classes, which
says where the domains differ. Shares are of labelled pixels.

A finite sample is never quite like another one of its domain: for comparison,
the divergence of the odd and the even maps of each domain is given, too.
"""

import pathlib

import numpy as np
from absl import flags

from jaxuda import input as input_lib
from jaxuda import labels
from jaxuda.analyze import _common
from jaxuda.figures import charts
from jaxuda.utils import cli, console
from jaxuda.utils.errors import UserError


def define_flags(command: cli.Flags) -> None:
  """Define the flags of this analysis."""
  _common.define_pair_flags(command)
  for name in ('source', 'target'):
    command.text(
      f'{name}_split', 'train', "Of the maps; CamVid's labels are in val."
    )


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Count and compare; see the package."""
  pair = _common.find_pair(given)
  splits = (given.source_split, given.target_split)
  records = [pair.open(i, split) for i, split in enumerate(splits)]
  names = [f'{r.name} {r.split}' for r in records]
  halves = [count(each, pair.space) for each in records]
  classes = labels.space(pair.space).classes
  shares = []
  for name, half in zip(names, halves, strict=True):
    labelled = half[:, : len(classes)].sum(0)
    if not labelled.sum():
      raise UserError(f'{name} has no pixel of the classes of {pair.space}.')
    shares.append(labelled / labelled.sum())
  terms = divergence_terms(*shares)
  _common.write_csv(
    output / 'domain_similarity.csv',
    ('class', *names, 'divergence_bits'),
    zip(classes, *shares, terms, strict=True),
  )
  charts.bars(
    output / 'domain_similarity.png',
    classes,
    {n: 100 * s for n, s in zip(names, shares, strict=True)},
    ylabel='% of labelled pixels',
    logarithmic=True,
  )
  return _sentence(names, halves, classes, terms)


def _sentence(names, halves, classes, terms):
  most = np.argsort(-terms, kind='stable')[:3]
  listed = ', '.join(
    f'{classes[i]} ({terms[i] / terms.sum():.0%})' for i in most if terms[i] > 0
  )
  floors = []
  for half in halves:
    parts = half[:, : len(classes)]
    if parts.sum(1).all():
      shares = parts / parts.sum(1, keepdims=True)
      floors.append(f'{divergence_terms(*shares).sum():.4f}')
  void = [half[:, -1].sum() / half.sum() for half in halves]
  text = (
    f'Jensen-Shannon divergence of {names[0]} and {names[1]}: '
    f'{terms.sum():.4f} bits of at most 1'
  )
  if len(floors) == 2:
    text += f', where the halves of each differ by {floors[0]} and {floors[1]}'
  if listed:
    text += f'; most of it is in {listed}'
  return f'{text}. Not labelled: {void[0]:.1%} and {void[1]:.1%} of pixels.'


def count(records: input_lib.Records, space: str) -> np.ndarray:
  """Count pixels by class, in the even maps and in the odd ones.

  Args:
    records: a labelled split.
    space: name of the class space.

  Returns:
    i64[2, C + 1]; ignored pixels are the last column.
  """
  classes = len(labels.space(space).classes)
  halves = np.zeros((2, classes + 1), np.int64)
  maps = input_lib.label_batches(
    records, space=space, indices=range(len(records)), batch_size=1
  )
  with console.progress(
    f'{records.name} {records.split}', len(records)
  ) as advance:
    for i, label in enumerate(maps):
      counts = np.bincount(label.ravel(), minlength=256)
      halves[i % 2] += np.append(counts[:classes], counts[labels.IGNORE])
      advance()
  return halves


def divergence_terms(p: np.ndarray, q: np.ndarray) -> np.ndarray:
  """Return each class's part of the Jensen-Shannon divergence, in bits.

  Args:
    p, q: f64[C], each of sum 1.

  Returns:
    f64[C], not negative; the sum is the divergence.
  """
  middle = (p + q) / 2

  def part(x):
    ratio = np.divide(x, middle, where=x > 0, out=np.ones_like(x))
    return x * np.log2(ratio) / 2

  return part(p) + part(q)
