"""Much at once: many commands on one run, many images, a large image."""

import os
import pathlib
import random
import re
from collections.abc import Callable, Iterator

from PIL import Image

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried
from jaxuda.datasets import photos

PROMISE = 'bounded memory, nothing lost, the remaining time is right'

METHOD = 'adaptsegnet'
_PREDICT = ('predict', '--workdir=runs/run')


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Make as many of the tries as are asked for, in order.

  Args:
    place: a folder with data.
    rng: not used: nothing is random here.
    count: of the three.
  """
  del rng
  subjects.train(place, METHOD, 'runs/run')
  all_tries: tuple[Callable, ...] = (_together, _many, _large)
  for each in all_tries[:count]:
    yield each(place)


def _together(place, number=8):
  """Predict in several processes on one run, at once."""
  words = (*_PREDICT, '--images=city/val', '--ids_only')
  children = [
    process.Child(place, *words, f'--output=together/{i}')
    for i in range(number)
  ]
  ended = [child.end() for child in children]
  fault = ''.join(process.fault(each, statuses=(0,)) for each in ended)
  made = [subjects.content(place / f'together/{i}') for i in range(number)]
  if not fault and any(each != made[0] for each in made):
    fault = 'they make different files'
  seconds = max(each.seconds for each in ended)
  peak = sum(each.peak for each in ended) / 2**30
  note = f'{number} at once, {peak:.1f} GiB in all'
  return Tried(f'{number} of predict', fault, note, seconds)


def _many(place, number=10_000):
  """Predict a folder of many images, each a link to one of a few."""
  sources = sorted((place / 'city').glob('*/*.jpg'))
  folder = place / 'many'
  folder.mkdir()
  for i in range(number):
    os.link(sources[i % len(sources)], folder / f'{i:05}.jpg')
  words = (*_PREDICT, '--images=many', '--output=of_many', '--ids_only')
  ended = process.run(place, *words, timeout_s=3600)
  fault = process.fault(ended, statuses=(0,))
  made = len(list((place / 'of_many').glob('*_ids.png')))
  if not fault and made != number:
    fault = f'makes {made:,} of {number:,}'
  lasting = [
    int(total.replace(',', '')) / float(rate)
    for total, rate in re.findall(r'of ([\d,]+), ([\d.]+)/s', ended.out)
  ]
  wrong = [s for s in lasting if not 0.5 < s / ended.seconds < 1.5]
  if not fault and wrong:
    fault = f'said {wrong[0]:.0f} s in all, and took {ended.seconds:.0f}'
  note = f'{number / ended.seconds:.0f} images/s, {ended.peak / 2**20:.0f} MiB'
  return Tried(f'{number:,} images', fault, note, ended.seconds)


def _large(place, side=20_000):
  """Predict one large image."""
  (place / 'large').mkdir()
  Image.new('RGB', (side, side), (90, 120, 150)).save(place / 'large/a.png')
  words = (*_PREDICT, '--images=large', '--output=of_large')
  ended = process.run(place, *words, timeout_s=3600)
  fault = process.fault(ended, statuses=(0,))
  if not fault:
    size = photos.size(place / 'of_large/a_ids.png')
    fault = '' if size == (side, side) else f'its ids are {size}'
  note = f'{ended.peak / 2**30:.1f} GiB'
  return Tried(f'an image of {side:,} x {side:,}', fault, note, ended.seconds)
