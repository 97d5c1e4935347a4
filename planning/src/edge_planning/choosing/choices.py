"""The choice at one bandwidth: Edgent's Algorithm 1, and the other objectives.

Edgent visits the exits from last to first, takes the fastest cut of each and stops at the first that meets
the deadline. The result is the most accurate candidate that meets it, and the fastest of equally accurate
ones. If none does, Edgent returns no result; here the fastest candidate is chosen although it is late.
"""

from dataclasses import dataclass

import numpy as np

from edge_planning.choosing.candidates import Candidates
from edge_planning.errors import require
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
