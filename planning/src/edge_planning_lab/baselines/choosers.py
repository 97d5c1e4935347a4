"""Edgent's choice at many bandwidths: what does not depend on the bandwidth is sorted once."""

from dataclasses import dataclass

import numpy as np

from edge_planning import Choice
from edge_planning.choosing.candidates import Candidates, Floats, Integers
from edge_planning.errors import BadValueError, require


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
    """Sorts the candidates; raises BadValueError if the sequence is empty."""
    require(len(options) > 0, "candidates: none to choose from")
    intercept, bits = options.intercept, options.bits
    order = np.lexsort((np.arange(len(options)), bits, -options.accuracy))
    accuracy = options.accuracy[order]
    groups = np.flatnonzero(np.append(True, accuracy[1:] != accuracy[:-1]))
    return Chooser(order, intercept[order], bits[order], groups)
