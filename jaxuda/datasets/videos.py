"""Video files: their frames, by the ffmpeg that imageio-ffmpeg brings."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxuda.datasets.photos import UnreadableError
from jaxuda.utils.errors import UserError

SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm')


class Video(NamedTuple):
  """A video that is read.

  Attributes:
    size: (height, width) of its frames.
    fps: frames a second.
    count: about how many there are.
    frames: u8[H, W, 3] RGB, one after the other; where the video is damaged,
      an UnreadableError.
  """

  size: tuple[int, int]
  fps: float
  count: int
  frames: Iterator[np.ndarray]


def is_video(path: str | os.PathLike) -> bool:
  """Return whether a file's name is a video's."""
  return str(path).lower().endswith(SUFFIXES)


def check_installed() -> None:
  """Raise UserError where the package that reads videos is missing."""
  _ffmpeg()


def _ffmpeg():
  # By this it starts no code between fork and exec, which JAX warns of.
  os.environ.setdefault('IMAGEIO_FFMPEG_NO_PREVENT_SIGINT', '1')
  try:
    import imageio_ffmpeg  # optional, and it brings a program of its own
  except ModuleNotFoundError as e:
    raise UserError(
      "videos need the package imageio-ffmpeg: pip install 'jaxuda[video]', or "
      'from a clone -r requirements/video.txt'
    ) from e
  return imageio_ffmpeg


def read(path: pathlib.Path) -> Video:
  """Open a video.

  Raises:
    UnreadableError: it is none.
  """
  stream = _ffmpeg().read_frames(path, pix_fmt='rgb24')
  with _unreadable():
    about = next(stream)
  width, height = about['size']

  def frames():
    with contextlib.closing(stream), _unreadable():
      for frame in stream:
        yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)

  fps = about['fps']
  count = round(fps * about['duration'])
  return Video((height, width), fps, count, frames())


@contextlib.contextmanager
def _unreadable():
  """Turn what ffmpeg says of a file into one sentence."""
  try:
    yield
  except (OSError, StopIteration, RuntimeError) as e:
    *_, last = str(e).strip().splitlines() or ['it has no frame']
    raise UnreadableError(last) from e


@contextlib.contextmanager
def writing(
  path: pathlib.Path, size: tuple[int, int], fps: float
) -> Iterator[Callable[[np.ndarray], None]]:
  """Write an mp4: call the function with each frame, u8[H, W, 3].

  Args:
    path: of the file, whatever its name ends with.
    size: (height, width) of the frames; odd sides are stretched by a pixel, as
      H.264 has even ones.
    fps: frames a second.

  Raises:
    OSError: ffmpeg could not write all frames.
  """
  sent = 0

  def show(frame):
    nonlocal sent
    try:
      stream.send(np.ascontiguousarray(frame))
    except OSError as e:  # whose text is ffmpeg's whole command
      raise OSError(f'ffmpeg stopped after {sent:,} frames') from e
    sent += 1

  stream = _ffmpeg().write_frames(
    path,
    size[::-1],
    fps=fps,
    macro_block_size=2,
    output_params=['-f', 'mp4'],
    ffmpeg_log_level='error',
  )
  stream.send(None)
  with contextlib.closing(stream):
    yield show
  # Of its exit status nothing is told, so that the frames are counted.
  try:
    count, _ = _ffmpeg().count_frames_and_secs(path)
  except (OSError, RuntimeError):
    count = 0
  if count != sent:
    raise OSError(f'ffmpeg has written {count:,} of {sent:,} frames')
