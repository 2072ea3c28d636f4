"""The fault matrix, tried through the command lines in real processes.

A kind of fault is a file here: `kills.py` and so on. Each has

  PROMISE  what is promised, a sentence
  tries(place, rng, count) -> Iterator[Tried]

and does to real commands what a hostile machine or user does. `process.py`
starts them and judges how they ended; `subjects.py` has what they work on.
"""
