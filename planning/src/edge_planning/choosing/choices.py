"""The choice at one bandwidth: Edgent's Algorithm 1, and the other objectives.

Edgent visits the exits from last to first, takes the fastest cut of each and stops at the first that meets
the deadline. The result is the most accurate candidate that meets it, and the fastest of equally accurate
ones. If none does, Edgent returns no result; here the fastest candidate is chosen although it is late.
"""

from dataclasses import dataclass

import numpy as np

from edge_planning.choosing.candidates import Candidates, Floats, Integers
from edge_planning.errors import BadValueError, require
from edge_planning.objectives import ACCURACY, Objective


@dataclass(frozen=True, slots=True)
class Choice:
    """The index of the chosen candidate, its latency in seconds, and whether it meets the deadline."""

    index: int
    latency: float
    met: bool


def choose(
    options: Candidates, deadline: float, bandwidth: float, objective: Objective = ACCURACY
) -> Choice | None:
    """Returns the choice at a bandwidth in bit/s (0: no link), or None if every candidate needs the link.

    Raises:
        BadValueError: The deadline or the bandwidth is invalid.
    """
    require(deadline > 0, f"deadline {deadline} s must be > 0")
    latencies = options.latencies(bandwidth)
    if not np.isfinite(latencies).any():
        return None
    met = latencies <= deadline
    left = np.flatnonzero(met if objective.in_time and met.any() else np.isfinite(latencies))
    keys = objective.keys(options, bandwidth)
    if objective.in_time and not met.any():
        keys = (latencies, -options.accuracy)
    for key in (*keys, options.bits):
        values = key[left]
        left = left[values == values.min()]
    index = int(left[0])
    return Choice(index, float(latencies[index]), bool(met[index]))


@dataclass(frozen=True, slots=True, eq=False)
class Chooser:
    """Candidates prepared for many choices by accuracy (Edgent) at changing bandwidths.

    All arrays cover the candidates that can be chosen, the most accurate first.

    Attributes:
        index: Their indices in the candidates.
        intercept: Seconds.
        groups: Where each accuracy begins.
    """

    index: Integers
    intercept: Floats
    bits: Floats
    groups: Integers

    def at(self, bandwidth: float, deadline: float) -> Choice:
        """Returns the same as `choose`, for a bandwidth above 0."""
        if not (bandwidth > 0 and deadline > 0):
            raise BadValueError(f"bandwidth {bandwidth} bit/s and deadline {deadline} s must be > 0")
        latencies = self.intercept + self.bits / bandwidth
        fastest = np.minimum.reduceat(latencies, self.groups)
        in_time = fastest <= deadline
        group = int(in_time.argmax())
        if not in_time[group]:
            group = int(fastest.argmin())
        first = int(self.groups[group])
        last = int(self.groups[group + 1]) if group + 1 < len(self.groups) else len(latencies)
        index = first + int(latencies[first:last].argmin())
        return Choice(int(self.index[index]), float(latencies[index]), bool(in_time[group]))


def chooser(options: Candidates) -> Chooser:
    """Sorts the candidates; raises BadValueError if there are none."""
    require(len(options) > 0, "candidates: none to choose from")
    intercept, bits = options.intercept, options.bits
    order = np.lexsort((np.arange(len(options)), bits, -options.accuracy))
    accuracy = options.accuracy[order]
    groups = np.flatnonzero(np.append(True, accuracy[1:] != accuracy[:-1]))
    return Chooser(order, intercept[order], bits[order], groups)
