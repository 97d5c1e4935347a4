"""The choice at one bandwidth: Edgent's Algorithm 1, and the other objectives.

Edgent walks the exits from the last to the first, takes each one's fastest cut and stops at the first that
meets the deadline. That is: the most accurate candidate that meets it, the fastest of equally accurate ones.
Where none does, Edgent gives up; here the fastest candidate answers, late as it is.
"""

from dataclasses import dataclass

import numpy as np

from edge_planning.choosing.candidates import Candidates, Floats, Integers
from edge_planning.choosing.objectives import RANKINGS
from edge_planning.errors import BadValueError, require
from edge_planning.problems import Objective


@dataclass(frozen=True, slots=True)
class Choice:
    """The index of the chosen candidate, its latency in seconds, and whether it keeps the deadline."""

    index: int
    latency: float
    met: bool


def choose(
    options: Candidates, deadline: float, bandwidth: float, objective: Objective = Objective.ACCURACY
) -> Choice | None:
    """The choice among options at a bandwidth in bit/s (0: no link); None when nothing can answer at all.

    BadValueError: the deadline or the bandwidth is no such number.
    """
    require(deadline > 0, f"deadline {deadline} s is not a time above 0")
    latencies = options.latencies(bandwidth)
    if not np.isfinite(latencies).any():
        return None
    ranking, met = RANKINGS[objective], latencies <= deadline
    left = np.flatnonzero(met if ranking.in_time and met.any() else np.isfinite(latencies))
    keys = ranking.keys(options, bandwidth)
    if ranking.in_time and not met.any():
        keys = (latencies, -options.accuracy)
    for key in (*keys, options.bits):
        values = key[left]
        left = left[values == values.min()]
    index = int(left[0])
    return Choice(index, float(latencies[index]), bool(met[index]))


@dataclass(frozen=True, slots=True, eq=False)
class Chooser:
    """Candidates made ready for many choices by accuracy (Edgent) at changing bandwidths.

    index: into the candidates; intercept (s), bits, accuracy: of those that can be chosen at all, the most
    accurate first; groups: where each accuracy begins.
    """

    index: Integers
    intercept: Floats
    bits: Floats
    groups: Integers

    def at(self, bandwidth: float, deadline: float) -> Choice:
        """As choose does, for a bandwidth above 0."""
        if not (bandwidth > 0 and deadline > 0):
            raise BadValueError(f"bandwidth {bandwidth} bit/s or deadline {deadline} s is not above 0")
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
    """Sorts the candidates; BadValueError when there are none."""
    require(len(options) > 0, "no candidates to choose from")
    intercept, bits = options.intercept, options.bits
    order = np.lexsort((np.arange(len(options)), bits, -options.accuracy))
    accuracy = options.accuracy[order]
    groups = np.flatnonzero(np.append(True, accuracy[1:] != accuracy[:-1]))
    return Chooser(order, intercept[order], bits[order], groups)
