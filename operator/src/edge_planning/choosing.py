"""The choice at one bandwidth: Edgent's Algorithm 1.

Edgent walks the exits from the last to the first, takes each one's fastest cut and stops at the first that
meets the deadline. That is: the most accurate candidate that meets it, the fastest of equally accurate ones.
Where none does, Edgent gives up; here the fastest candidate answers, late as it is.
"""

from dataclasses import dataclass

import numpy as np

from edge_planning.candidates import Candidates


@dataclass(frozen=True, slots=True)
class Choice:
    """The index of the chosen candidate, its latency in seconds, and whether it keeps the deadline."""

    index: int
    latency: float
    met: bool


def choose(options: Candidates, deadline: float, bandwidth: float) -> Choice | None:
    """The choice among options at a bandwidth in bit/s (0: no link); None when nothing can answer at all."""
    latencies = options.latencies(bandwidth)
    if not np.isfinite(latencies).any():
        return None
    met = latencies <= deadline
    order = np.lexsort((options.bits, latencies, -np.where(met, options.accuracy, 0.0), ~met))
    index = int(order[0])
    return Choice(index, float(latencies[index]), bool(met[index]))
