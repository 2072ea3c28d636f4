"""Segmenting images and videos with a trained run; see jaxuda/predict.py."""

import collections
import functools
import itertools
import os
import pathlib
from collections.abc import Sequence
from concurrent import futures

import numpy as np

from jaxuda import labels
from jaxuda.datasets import photos, videos
from jaxuda.evaluation.predictor import Predictor
from jaxuda.figures import segmentation
from jaxuda.utils import console, files
from jaxuda.utils.errors import UserError

_THREADS = 4  # that read and write while the device computes


def predict_images(
  predict: Predictor,
  found: Sequence[photos.Photo],
  output: str | os.PathLike,
  *,
  ids_only: bool = False,
) -> np.ndarray:
  """Segment images and videos, and write what is predicted of each.

  Progress is printed, and at the end the classes' shares.

  Args:
    predict: the trained network.
    found: of photos.find.
    output: a folder, created if need be.
    ids_only: whether of each nothing but its class indices is written.

  Returns:
    f64[C], each class's share of an image's pixels, in the mean of all images;
    a video counts as one.

  Raises:
    UserError: `output` is not writable; or, once all others are written, the
      list of the files that could not be read.
  """
  output, space = pathlib.Path(output), predict.run.space
  files.check_writable(output)
  films = [photo for photo in found if videos.is_video(photo.path)]
  if films:
    videos.check_installed()
  files.write_json(output / 'labels.json', labels.describe(space))
  if not ids_only:
    segmentation.legend(output / 'legend.png', space)
  stills = [photo for photo in found if photo not in films]
  shares, unreadable = _predict_stills(predict, stills, output, ids_only)
  for film in films:
    try:
      shares.append(_predict_film(predict, film, output, ids_only))
    except photos.UnreadableError as e:
      unreadable.append(f'{film.path}: {e}')
  if shares:
    mean = np.mean(shares, axis=0)
    kinds = 'images and videos' if films else 'images'
    print(f'{len(shares)} {kinds} in {output}: {_describe(mean, space)}')
  if unreadable:
    raise UserError(
      f'{len(unreadable)} of {len(found)} files cannot be read as images:\n  '
      + '\n  '.join(sorted(unreadable))
    )
  return mean


def _predict_stills(predict, found, output, ids_only):
  """Segment images, in threads: their shares, and what could not be read."""
  shares, unreadable = [], []
  one = functools.partial(_predict_batch, predict, output, ids_only)
  with (
    console.progress('images', len(found)) as advance,
    futures.ThreadPoolExecutor(_THREADS) as pool,
  ):
    tasks = [pool.submit(one, batch) for batch in _batches(predict, found)]
    try:
      for task in futures.as_completed(tasks):
        of_batch, broken = task.result()
        shares += of_batch
        unreadable += broken
        for _ in (*of_batch, *broken):
          advance()
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise
  return shares, unreadable


def _batches(predict, found):
  """Put together what is segmented at once: images of one size."""
  if predict.batch_size == 1:
    return [[photo] for photo in found]
  of_size = collections.defaultdict(list)
  for photo in found:
    of_size[photos.size(photo.path)].append(photo)
  batches = []
  for size, group in of_size.items():
    count = predict.together(size) if size else 1
    batches += [group[i : i + count] for i in range(0, len(group), count)]
  return batches


def _predict_batch(predict, output, ids_only, batch):
  """Segment images: their shares, and what could not be read."""
  shares, unreadable = [], []
  of_size = collections.defaultdict(list)
  for photo in batch:
    try:
      image = photos.read(photo.path)
    except photos.UnreadableError as e:
      unreadable.append(f'{photo.path}: {e}')
    else:
      of_size[image.shape].append((photo, image))
  for group in of_size.values():
    predicted = predict([image for _, image in group])
    for (photo, image), found in zip(group, predicted, strict=True):
      prefix = f'{output / photo.name}_'
      _write(prefix, image, *found, predict.run.space, ids_only)
      shares.append(_shares(found[0], predict.run.space))
  return shares, unreadable


def _write(prefix, image, ids, entropy, space, ids_only) -> None:
  segmentation.write_png(f'{prefix}ids.png', ids)
  if ids_only:
    return
  pictures = {
    'color': labels.colorize(ids, space),
    'overlay': segmentation.overlay(image, ids, space),
    'entropy': segmentation.entropy_map(entropy),
  }
  for kind, picture in pictures.items():
    segmentation.write_png(f'{prefix}{kind}.png', picture)


def _predict_film(predict, film, output, ids_only) -> np.ndarray:
  """Segment a video: the mean of its frames' shares."""
  video = videos.read(film.path)
  ids_folder, space = output / f'{film.name}_ids', predict.run.space
  count = predict.together(video.size)
  shares = []

  def frame_by_frame(folder, show=None):
    with console.progress(film.path.name, video.count) as advance:
      while frames := list(itertools.islice(video.frames, count)):
        for frame, (ids, _) in zip(frames, predict(frames), strict=True):
          shares.append(_shares(ids, space))
          segmentation.write_png(folder / f'{len(shares):06}.png', ids)
          if show:
            show(segmentation.overlay(frame, ids, space))
          advance()

  with files.whole_folder(ids_folder.absolute()) as folder:

    def write_to(path):
      with videos.writing(path, video.size, video.fps) as show:
        frame_by_frame(folder, show)

    if ids_only:
      frame_by_frame(folder)
    else:
      files.write(output / f'{film.name}_overlay.mp4', write_to)
    if not shares:
      raise photos.UnreadableError('it has no frame')
  return np.mean(shares, axis=0)


def _shares(ids, space: labels.LabelSpace) -> np.ndarray:
  """Return f64[C], each class's share of the pixels."""
  return np.bincount(ids.ravel(), minlength=len(space.classes)) / ids.size


def _describe(shares, space: labels.LabelSpace) -> str:
  """'road 38.1%, building 20.0%': what takes 0.1% or more, largest first."""
  order = np.argsort(-shares, kind='stable')
  named = [(space.classes[i], shares[i]) for i in order if shares[i] >= 0.001]
  return ', '.join(f'{name} {share:.1%}' for name, share in named)
