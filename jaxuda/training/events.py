"""A run's events for TensorBoard, which never end a training."""

import pathlib
import time
from collections.abc import Mapping

import numpy as np

from jaxuda.utils.console import print0


class Events:
  """Writes events; each start of a run has two files of its own.

  TensorBoard shows one curve of them after any restart: the first of the two
  says from which step on what came before is dropped. What cannot be written is
  told once, and counted.

  Attributes:
    failed: how many writes have failed.
  """

  def __init__(self, folder: pathlib.Path, just_logging: bool):
    """Open no file yet.

    Args:
      folder: of the run.
      just_logging: on all processes but the first.
    """
    self._folder, self._just_logging = folder, just_logging
    self._writer = None
    self.failed = 0

  def start(self, step: int) -> None:
    """Say that training starts or goes on at a step.

    What an earlier start has written of the steps after it is dropped.
    """
    if self._just_logging:
      return
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    events = (
      event_pb2.Event(wall_time=now, file_version='brain.Event:2'),
      event_pb2.Event(wall_time=now, step=step + 1, session_log=started),
    )
    # Files are read in the order of their names: before those of its second.
    name = f'events.out.tfevents.{int(now):010d}.+start'

    def write():
      with open(self._folder / name, 'wb') as file:
        for event in events:
          RecordWriter(file).write(event.SerializeToString())

    self._try(write)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Write numbers, by name."""
    self._try(lambda: self._open().write_scalars(step, values))

  def texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Write texts in Markdown, by name."""
    self._try(lambda: self._open().write_texts(step, texts))

  def images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Write u8[N, H, W, 3], by name."""
    self._try(lambda: self._open().write_images(step, images))

  def flush(self) -> None:
    """Put on the disk what is written, before a checkpoint relies on it."""
    if self._writer:
      self._try(self._writer.flush)

  def close(self) -> None:
    """Write all, and end the file."""
    if self._writer:
      self._try(self._writer.close)
    if self.failed:
      print0(f'TensorBoard lacks what {self.failed} writes could not write')

  def _open(self):
    if self._writer is None:
      # Its summary writers need TensorFlow, which takes seconds to import.
      from clu import metric_writers

      self._writer = metric_writers.create_default_writer(
        self._folder, just_logging=self._just_logging, asynchronous=False
      )
    return self._writer

  def _try(self, write):
    try:
      write()
    except Exception as e:  # of TensorFlow, of clu and of the disk
      reason = ' '.join(str(e).split())[:200] or type(e).__name__
      if not self.failed:
        print0(f'note: TensorBoard events cannot be written ({reason})')
      self.failed += 1
      # The next file is whole, where this one ends in the middle of an event.
      self._writer = None
