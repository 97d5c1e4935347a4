"""Methods that do not use measurements of the link, or only the last one."""

from dataclasses import dataclass

import numpy as np

from edge_planning.errors import require
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import Answer, Measurement, Request


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same candidate; stateless."""

    name: str
    index: int
    probes: bool = False

    def start(self, options: SimulatedCandidates) -> None:
        require(
            0 <= self.index < len(options), f"{self.name}: index {self.index} must be below {len(options)}"
        )

    def decide(self, request: Request, state: None, now: float) -> tuple[Answer, None]:
        return Answer(self.index), None

    def observe(self, measurement: Measurement, state: None, now: float) -> None:
        return None


def local_only(options: SimulatedCandidates) -> Fixed:
    """The full model at the entry node."""
    return Fixed("local_only", full(options, local=True)[0])


def cloud_only(options: SimulatedCandidates) -> Fixed:
    """The full model at the remote end; the input crosses the link."""
    away = full(options, local=False)
    require(bool(away), "cloud only: the full model cannot be cut at its input")
    return Fixed("cloud_only", min(away, key=lambda i: (options.head[i], i)))


def right_sizing_only(options: SimulatedCandidates) -> Fixed:
    """The most accurate exit that the node alone finishes in time, or the fastest if none is in time."""
    home = options.local
    in_time = [i for i in home if options.intercept[i] <= options.deadline]
    if in_time:
        return Fixed("right_sizing_only", max(in_time, key=lambda i: options.accuracy[i]))
    return Fixed("right_sizing_only", min(home, key=lambda i: options.intercept[i]))


def full(options: SimulatedCandidates, *, local: bool | None = None) -> list[int]:
    """Returns indices of the full model's candidates: all, the local one, or those with a cut."""
    found = options.of_exit(max(options.exit))
    if local is not None:
        found = [i for i in found if bool(options.bits[i] == 0) is local]
    return found


@dataclass(frozen=True, slots=True)
class RandomFeasible:
    """A uniformly random candidate among those in time at the last measured bandwidth.

    If none is in time, a random local one. State: (requests so far, bandwidth in bit/s); the n-th draw
    depends only on the seed and n.
    """

    seed: int
    name: str = "random_feasible"
    probes: bool = True

    def start(self, options: SimulatedCandidates) -> tuple[int, float]:
        return 0, 0.0

    def decide(
        self, request: Request, state: tuple[int, float], now: float
    ) -> tuple[Answer, tuple[int, float]]:
        count, bandwidth = state
        options = request.options
        feasible = np.flatnonzero(options.latencies(bandwidth) <= options.deadline)
        pool = [int(i) for i in feasible] or options.local or list(range(len(options)))
        draw = np.random.default_rng((self.seed, count)).integers(len(pool))
        return Answer(pool[int(draw)]), (count + 1, bandwidth)

    def observe(self, measurement: Measurement, state: tuple[int, float], now: float) -> tuple[int, float]:
        return state[0], measurement.rate
