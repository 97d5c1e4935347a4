"""Methods that decide by the last measured bandwidth: Neurosurgeon, Edgent's static mode, DADS.

Each is a rule from the candidates and one bandwidth to a candidate. All three papers measure the bandwidth
before an inference and plan with that value. None of them specifies smoothing, so the last measurement is
used unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_planning.choosing.candidates import Floats
from edge_planning.errors import require
from edge_planning_lab.baselines.memoryless import full
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import Answer, Measurement, Request

Rule = Callable[[SimulatedCandidates, float], int]


@dataclass(frozen=True, slots=True)
class RuleState:
    """State: the candidates, and the rule's choice at the last measured bandwidth."""

    options: SimulatedCandidates
    index: int


@dataclass(frozen=True, slots=True)
class AtMeasured:
    """The rule's choice at the last measured bandwidth; before the first measurement that is 0."""

    name: str
    rule: Rule
    probes: bool = True

    def start(self, options: SimulatedCandidates) -> RuleState:
        return RuleState(options, self.rule(options, 0.0))

    def decide(self, request: Request, state: RuleState, now: float) -> tuple[Answer, RuleState]:
        return Answer(state.index), state

    def observe(self, measurement: Measurement, state: RuleState, now: float) -> RuleState:
        return RuleState(state.options, self.rule(state.options, measurement.rate))


def neurosurgeon_latency(options: SimulatedCandidates, bandwidth: float) -> int:
    """Returns the full model's fastest cut (Kang et al., ASPLOS 2017, algorithm 1, objective latency)."""
    return _least(full(options), options.latencies(bandwidth))


def neurosurgeon_energy(options: SimulatedCandidates, bandwidth: float) -> int:
    """Returns the full model's cut with the lowest device energy (same algorithm, objective energy)."""
    return _least(full(options), options.energy(bandwidth))


def edgent(options: SimulatedCandidates, bandwidth: float) -> int:
    """Edgent's Algorithm 1: returns the deepest exit whose fastest cut meets the deadline.

    If none does, the paper returns no result; here the fastest candidate is used.
    """
    latencies = options.latencies(bandwidth)
    for number in range(max(options.exit), -1, -1):
        candidates = options.of_exit(number)
        if candidates:
            best = _least(candidates, latencies)
            if latencies[best] <= options.deadline:
                return best
    return _least(list(range(len(options))), latencies)


def dads_light(options: SimulatedCandidates, bandwidth: float) -> int:
    """Lowest latency of one inference (Hu et al., INFOCOM 2019, DSL); on a chain its min-cut is this cut."""
    return _least(full(options), options.latencies(bandwidth))


def dads_heavy(options: SimulatedCandidates, bandwidth: float) -> int:
    """Shortest bottleneck of edge, transfer and cloud (same paper, DSH): highest throughput."""
    return _least(full(options), bottlenecks(options, bandwidth))


def dads(rate: float) -> Rule:
    """Returns light mode while its slowest stage keeps up with `rate` requests per second, else heavy."""
    require(rate > 0, f"dads: rate {rate} must be > 0")

    def rule(options: SimulatedCandidates, bandwidth: float) -> int:
        light = dads_light(options, bandwidth)
        keeps_up = bottlenecks(options, bandwidth)[light] <= 1 / rate
        return light if keeps_up else dads_heavy(options, bandwidth)

    return rule


def bottlenecks(options: SimulatedCandidates, bandwidth: float) -> Floats:
    """Returns the seconds of each candidate's slowest stage at a bandwidth in bit/s."""
    with np.errstate(divide="ignore", invalid="ignore"):
        transfer = np.where(options.bits > 0, np.divide(options.bits, bandwidth), 0.0)
    return np.maximum(np.maximum(options.head, options.tail), transfer)


def _least(candidates: list[int], costs: Floats) -> int:
    return min(candidates, key=lambda i: (costs[i], i))
