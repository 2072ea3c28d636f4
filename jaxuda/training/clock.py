"""How long the steps of a training take, without what is no training."""

import time


class Clock:
  """Measures the time of training alone.

  Attributes:
    trained_s: seconds of all lines so far.
    waited_s: of these, how many went into waiting for data.
  """

  def __init__(self):
    """Stand still."""
    self.trained_s = self.waited_s = 0.0
    self._since = None  # when it went on
    self._ran_s = 0.0  # before that, since the last line
    self._line = None  # its step, and the seconds waited up to it

  def start(self, step: int, waited_s: float) -> None:
    """Go, as if there were a line at this step."""
    self._line = step, waited_s
    self.go_on()

  def go_on(self) -> None:
    """Go on, if it has been started."""
    if self._line is not None:
      self._since = time.monotonic()

  def stop(self) -> None:
    """Stand still up to `go_on`."""
    if self._since is not None:
      self._ran_s += time.monotonic() - self._since
    self._since = None

  def pace(self, step: int, waited_s: float) -> float | None:
    """Return the seconds of a step since the last line; None for no step."""
    self.stop()
    self.go_on()
    line, self._line = self._line, (step, waited_s)
    if line is None or step == line[0]:
      return None
    ran_s, self._ran_s = self._ran_s, 0.0
    self.trained_s += ran_s
    self.waited_s += waited_s - line[1]
    return ran_s / (step - line[0])
