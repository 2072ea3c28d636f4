"""What the devices of a step tell each other, read from the compiled program.

The text of a compiled program has a computation for each branch and each body
of a loop; an instruction's line names its operands and what it calls.
"""

import collections
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'collective-permute',
  'all-to-all',
)
_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's16': 2, 'u16': 2}
_BYTES |= {'s32': 4, 'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8}
_COMPUTATION = re.compile(r'^(ENTRY )?%([\w.-]+) .*\{$')
_INSTRUCTION = re.compile(
  r'^ +(?:ROOT )?%(?P<name>[\w.-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[\w-]+)'
  r'\((?P<rest>.*)$'
)
_SHAPE = re.compile(r'(\w+)\[([\d,]*)\]')
_CALLED = re.compile(
  r'(?:body|condition|calls|true_computation|false_computation|to_apply)='
  r'%([\w.-]+)'
)
_BRANCHES = re.compile(r'branch_computations=\{(.*?)\}')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Instruction(NamedTuple):
  """A line of a computation.

  Attributes:
    opcode: 'all-reduce', 'while', ...
    bytes: of what it gives, if it is a collective; else 0.
    operands: names of instructions of the same computation, and maybe others.
    called: names of computations.
    trips: how often a loop runs; 1 for all else.
  """

  opcode: str
  bytes: int
  operands: tuple[str, ...]
  called: tuple[str, ...]
  trips: int


class Total(NamedTuple):
  """Of one kind of collective.

  Attributes:
    count: how many of them there are in a step.
    bytes: of all that they give to a device.
  """

  count: int
  bytes: int


class Program:
  """A compiled program as its text has it."""

  def __init__(self, text: str):
    """Read the text of `compiled.as_text()`."""
    self._computations: dict[str, dict[str, Instruction]] = {}
    self._depths: dict[str, int] = {}
    current = {}
    for line in text.splitlines():
      if head := _COMPUTATION.match(line):
        current = self._computations[head[2]] = {}
        if head[1]:
          self._entry = head[2]
      elif found := _INSTRUCTION.match(line):
        current[found['name']] = _instruction(found)

  def totals(self) -> dict[str, Total]:
    """Return each kind of collective that a step has.

    Those in a loop count as often as it runs, those of all branches as if each
    were taken.
    """
    counts, sizes = collections.Counter(), collections.Counter()
    for times, each in self._run(self._entry, 1):
      counts[each.opcode] += times
      sizes[each.opcode] += times * each.bytes
    return {kind: Total(counts[kind], sizes[kind]) for kind in counts}

  def depth(self) -> int:
    """Return how many collectives wait for one another, at the longest.

    However a compiler puts the others together, a step pays so many latencies.
    """
    return self._depth(self._entry)

  def _run(self, name, times) -> Iterator[tuple[int, Instruction]]:
    for each in self._computations[name].values():
      if each.opcode in KINDS:
        yield times, each
      else:
        for called in each.called:
          yield from self._run(called, times * each.trips)

  def _depth(self, name):
    if name not in self._depths:
      depths: dict[str, int] = {}  # an instruction stands behind its operands
      for each, made in self._computations[name].items():
        own = 1
        if made.opcode not in KINDS:
          inner = [self._depth(called) for called in made.called]
          own = made.trips * max(inner, default=0)
        before = [depths.get(operand, 0) for operand in made.operands]
        depths[each] = own + max(before, default=0)
      self._depths[name] = max(depths.values(), default=0)
    return self._depths[name]


def _instruction(found: Mapping[str, str]) -> Instruction:
  operands, _, rest = found['rest'].partition(')')
  called = _CALLED.findall(rest)
  for names in _BRANCHES.findall(rest):
    called += re.findall(r'%([\w.-]+)', names)
  trips = _TRIPS.search(rest)
  size = 0
  if found['opcode'] in KINDS:
    size = sum(
      _BYTES[kind] * math.prod(int(n) for n in sides.split(',') if n)
      for kind, sides in _SHAPE.findall(found['type'])
    )
  return Instruction(
    found['opcode'],
    size,
    tuple(re.findall(r'%([\w.-]+)', operands)),
    tuple(called),
    int(trips[1]) if trips else 1,
  )
