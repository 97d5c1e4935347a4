"""The objectives of the choice. An objective is added here; no other module names one.

An objective ranks candidates at a bandwidth by keys: the most important key first, the lowest value first.
`edge_api.inferenceservices.Optimize` offers those with a `worth` in manifests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_planning.errors import BadValueError

Floats = npt.NDArray[np.float64]


class CandidateCosts(Protocol):
    """Candidates, by what objectives need of them: arrays with one entry per candidate."""

    @property
    def accuracy(self) -> Floats: ...
    def latencies(self, bandwidth: float) -> Floats: ...
    def energies(self, bandwidth: float) -> Floats: ...
    def bottlenecks(self, bandwidth: float) -> Floats: ...
    def costs(self, bandwidth: float) -> Floats: ...


class Declared(Protocol):
    """What a pool declares of an entry node."""

    @property
    def has_prices(self) -> bool: ...
    @property
    def has_power(self) -> bool: ...


Keys = Callable[[CandidateCosts, float], tuple[Floats, ...]]


@dataclass(frozen=True, slots=True)
class Objective:
    """What the choice optimizes.

    Attributes:
        name: In manifests and messages.
        keys: keys(candidates, bandwidth) returns arrays [candidates].
        words: Why a candidate wins by each of the keys.
        in_time: Whether only candidates that meet the deadline count. If none does, the fastest is chosen.
        worth: worth(candidates, bandwidth) returns the value of a response in time, above 0 and at most 1,
            by which route tables are optimized. None if the objective has no route tables.
        latency_and_accuracy: Whether nothing else counts, so that slower and less accurate candidates can be
            left out early.
        missing: Returns the fields of the DevicePool that are required and not set; empty if none is.
    """

    name: str
    keys: Keys
    words: tuple[str, ...]
    in_time: bool
    worth: Callable[[CandidateCosts, float], Floats] | None = None
    latency_and_accuracy: bool = False
    missing: Callable[[Declared], str] = lambda _: ""

    def __str__(self) -> str:
        return self.name


def falling(costs: Floats) -> Floats:
    """Returns a worth that falls linearly with the cost, from 1 for no cost to 1/2 for the highest."""
    highest = float(costs.max(initial=0.0))
    worth: Floats = np.ones_like(costs) if highest <= 0 else 1 - costs / (2 * highest)
    return worth


ACCURACY = Objective(
    "Accuracy",
    keys=lambda options, bandwidth: (-options.accuracy, options.latencies(bandwidth)),
    words=("is more accurate", "is faster"),
    in_time=True,
    worth=lambda options, _: options.accuracy,
    latency_and_accuracy=True,
)
"""The most accurate; the fastest of equally accurate ones (Edgent, Algorithm 1)."""

_LATENCY = Objective(
    "Latency",
    keys=lambda options, bandwidth: (options.latencies(bandwidth), -options.accuracy),
    words=("is faster", "is more accurate"),
    in_time=False,
    latency_and_accuracy=True,
)
"""The fastest; the most accurate of equally fast ones (Neurosurgeon)."""

_ENERGY = Objective(
    "Energy",
    keys=lambda options, bandwidth: (
        options.energies(bandwidth),
        -options.accuracy,
        options.latencies(bandwidth),
    ),
    words=("takes less energy", "is more accurate", "is faster"),
    in_time=True,
    worth=lambda options, bandwidth: falling(options.energies(bandwidth)),
    missing=lambda declared: "" if declared.has_power else "watts or radio in spec.nodes",
)
"""The lowest energy of the entry node (Neurosurgeon), here subject to the SLO."""

_THROUGHPUT = Objective(
    "Throughput",
    keys=lambda options, bandwidth: (
        options.bottlenecks(bandwidth),
        -options.accuracy,
        options.latencies(bandwidth),
    ),
    words=("has a shorter bottleneck", "is more accurate", "is faster"),
    in_time=False,
)
"""The shortest bottleneck stage, regardless of the latency (DADS, heavily loaded)."""

_COST = Objective(
    "Cost",
    keys=lambda options, bandwidth: (
        options.costs(bandwidth),
        -options.accuracy,
        options.latencies(bandwidth),
    ),
    words=("costs less", "is more accurate", "is faster"),
    in_time=True,
    worth=lambda options, bandwidth: falling(options.costs(bandwidth)),
    missing=lambda declared: "" if declared.has_prices else "spec.prices",
)
"""The lowest price of Triton's time, the uplink's traffic and the entry node's energy, subject to the SLO."""

OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {each.name: each for each in (ACCURACY, _LATENCY, _ENERGY, _THROUGHPUT, _COST)}
)


def objective_of(name: str) -> Objective:
    """Returns the objective with this name. Raises BadValueError if it is unknown."""
    if name not in OBJECTIVES:
        raise BadValueError(f'objective "{name}" does not exist: use one of {", ".join(OBJECTIVES)}')
    return OBJECTIVES[name]
