"""Verified checkpoints: write them, find them, read them back to the bit."""

from jaxuda.checkpoints.manager import Checkpoints
from jaxuda.checkpoints.reader import restore_part, steps

__all__ = ['Checkpoints', 'restore_part', 'steps']
