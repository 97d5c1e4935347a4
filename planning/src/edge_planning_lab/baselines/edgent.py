"""Edgent's dynamic mode: an offline configuration map and change-point detection (IEEE TWC 2020).

Our reading of Li, Zeng, Zhou, Chen, "Edge AI: On-Demand Accelerating Deep Neural Network Inference via Edge
Computing", written without access to the paper's text:

- Map: for each bandwidth state the exit and cut with the highest reward, which is exp(accuracy) + throughput
  if the latency at that bandwidth meets the requirement, and 0 otherwise. Throughput is assumed to be
  sequential inferences per second, 1 / latency. If all rewards are 0, the fastest candidate is used.
- States: bandwidths on a logarithmic grid. The paper's states come from recorded traces; a grid covers more.
- Runtime: Bayesian online change-point detection (Adams and MacKay 2007, Gaussian with unknown mean and
  variance, constant hazard) on the measured bandwidths. The state is the mean since the most likely last
  change; the map is looked up again when the state changes.
"""

from dataclasses import dataclass
from math import lgamma, log, pi

import numpy as np

from edge_planning.choosing.candidates import Floats
from edge_planning.errors import require
from edge_planning_lab.baselines.measured import edgent
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import Answer, Measurement, Request


def reward(options: SimulatedCandidates, bandwidth: float) -> Floats:
    """Returns exp(accuracy) + 1 / latency of each candidate in time at a bandwidth (bit/s), otherwise 0."""
    latencies = options.latencies(bandwidth)
    found: Floats = np.where(latencies <= options.deadline, np.exp(options.accuracy) + 1 / latencies, 0.0)
    return found


def configuration_map(
    options: SimulatedCandidates, states: Floats, *, rewarded: bool = True
) -> tuple[int, ...]:
    """Returns the index of the best candidate for each bandwidth state; by Algorithm 1 if not rewarded."""
    found = []
    for bandwidth in states:
        if not rewarded:
            found.append(edgent(options, float(bandwidth)))
            continue
        rewards = reward(options, float(bandwidth))
        best = int(np.argmax(rewards))
        found.append(best if rewards[best] > 0 else int(np.argmin(options.latencies(float(bandwidth)))))
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The posterior over the last change: length, log weight and normal-gamma parameters per run.

    `total` is the sum of the run's bandwidths (Mbit/s). All arrays are [runs].
    """

    weight: Floats
    length: Floats
    total: Floats
    mean: Floats
    kappa: Floats
    beta: Floats


PRIOR_MEAN, PRIOR_KAPPA, PRIOR_ALPHA, PRIOR_BETA = 1.0, 0.1, 1.0, 0.1
MOST_RUNS = 60
_GAMMA = np.array([lgamma(1.5 + n / 2) - lgamma(1 + n / 2) for n in range(20_000)])


def new_detection() -> Detection:
    """Returns the state before the first measurement."""
    zero, one = np.zeros(1), np.ones(1)
    return Detection(zero, zero, zero, one * PRIOR_MEAN, one * PRIOR_KAPPA, one * PRIOR_BETA)


def detect(state: Detection, value: float, hazard: float) -> Detection:
    """Returns the posterior after one more bandwidth in Mbit/s; hazard: P(change) per measurement."""
    count = np.minimum(state.length, len(_GAMMA) - 1)
    alpha = PRIOR_ALPHA + count / 2
    scale = state.beta * (state.kappa + 1) / (alpha * state.kappa)
    freedom = 2 * alpha
    residual = value - state.mean
    density = (
        _GAMMA[count.astype(np.int64)]
        - 0.5 * np.log(freedom * pi * scale)
        - (freedom + 1) / 2 * np.log1p(residual**2 / (freedom * scale))
    )
    joint = state.weight + density
    top = float(joint.max())
    changed = top + log(float(np.exp(joint - top).sum())) + log(hazard)
    weight = np.append(changed, joint + log(1 - hazard))
    kappa = state.kappa + 1
    grown = Detection(
        weight - weight.max(),
        np.append(0.0, state.length + 1),
        np.append(0.0, state.total + value),
        np.append(PRIOR_MEAN, state.mean + residual / kappa),
        np.append(PRIOR_KAPPA, kappa),
        np.append(PRIOR_BETA, state.beta + state.kappa * residual**2 / (2 * kappa)),
    )
    if len(grown.weight) <= MOST_RUNS:
        return grown
    keep = np.sort(np.argpartition(grown.weight, -MOST_RUNS)[-MOST_RUNS:])
    columns = (grown.weight, grown.length, grown.total, grown.mean, grown.kappa, grown.beta)
    return Detection(*(column[keep] for column in columns))


def level(state: Detection, last: float) -> float:
    """Returns the mean bandwidth (Mbit/s) since the most likely last change; `last` if that was just now."""
    best = int(np.argmax(state.weight))
    length = float(state.length[best])
    return float(state.total[best]) / length if length > 0 else last


@dataclass(frozen=True, slots=True)
class Following:
    """State of the runtime: the map, the detection and the active entry of the map."""

    choices: tuple[int, ...]
    detection: Detection
    index: int


@dataclass(frozen=True, slots=True)
class EdgentDynamic:
    """The configuration map with change-point detection.

    Attributes:
        states: Number of bandwidths from low to high (bit/s).
        hazard: Probability of a change per measurement.
        rewarded: Whether the map maximizes the paper's reward. Otherwise it holds the choice of Algorithm 1
            (static mode), which prefers accuracy where the reward prefers throughput.
    """

    states: int = 100
    low: float = 50e3
    high: float = 20e6
    hazard: float = 1 / 50
    rewarded: bool = True
    name: str = "edgent_dynamic"
    probes: bool = True

    def __post_init__(self) -> None:
        require(
            self.states > 1 and 0 < self.low < self.high,
            f"edgent: invalid states: {self.states} from {self.low} to {self.high}",
        )
        require(0 < self.hazard < 1, f"edgent: hazard {self.hazard} must be > 0 and < 1")

    def start(self, options: SimulatedCandidates) -> Following:
        states = np.geomspace(self.low, self.high, self.states)
        choices = configuration_map(options, states, rewarded=self.rewarded)
        return Following(
            choices, new_detection(), configuration_map(options, np.zeros(1), rewarded=self.rewarded)[0]
        )

    def decide(self, request: Request, state: Following, now: float) -> tuple[Answer, Following]:
        return Answer(state.index), state

    def observe(self, measurement: Measurement, state: Following, now: float) -> Following:
        value = measurement.rate / 1e6
        detection = detect(state.detection, value, self.hazard)
        return Following(state.choices, detection, state.choices[self._place(level(detection, value) * 1e6)])

    def _place(self, bandwidth: float) -> int:
        """Returns the state nearest to a bandwidth on the logarithmic scale."""
        if bandwidth <= self.low:
            return 0
        steps = self.states - 1
        place = round(log(bandwidth / self.low) / log(self.high / self.low) * steps)
        return min(place, steps)
