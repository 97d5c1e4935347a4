"""The objectives of the choice: one function each, of candidates and a bandwidth.

Each returns the keys by which candidates are ordered: the most important key first, the lowest value first.
in_time: whether only candidates that meet the deadline count; if none does, the fastest is chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_planning.choosing.candidates import Candidates, Floats
from edge_planning.problems import Objective

Keys = Callable[[Candidates, float], tuple[Floats, ...]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """An objective's order; keys(candidates, bandwidth) returns arrays [candidates]."""

    keys: Keys
    in_time: bool


def most_accurate(options: Candidates, bandwidth: float) -> tuple[Floats, ...]:
    """Edgent, Algorithm 1: the most accurate; the fastest of equally accurate ones."""
    return -options.accuracy, options.latencies(bandwidth)


def fastest(options: Candidates, bandwidth: float) -> tuple[Floats, ...]:
    """Neurosurgeon, for latency: the fastest; the most accurate of equally fast ones."""
    return options.latencies(bandwidth), -options.accuracy


def least_energy(options: Candidates, bandwidth: float) -> tuple[Floats, ...]:
    """Neurosurgeon, for the device's energy, here subject to the SLO."""
    return options.energies(bandwidth), -options.accuracy, options.latencies(bandwidth)


def highest_throughput(options: Candidates, bandwidth: float) -> tuple[Floats, ...]:
    """DADS, heavily loaded: the shortest bottleneck stage, regardless of the latency."""
    return options.bottlenecks(bandwidth), -options.accuracy, options.latencies(bandwidth)


RANKINGS: Mapping[Objective, Ranking] = {
    Objective.ACCURACY: Ranking(most_accurate, in_time=True),
    Objective.LATENCY: Ranking(fastest, in_time=False),
    Objective.ENERGY: Ranking(least_energy, in_time=True),
    Objective.THROUGHPUT: Ranking(highest_throughput, in_time=False),
}
