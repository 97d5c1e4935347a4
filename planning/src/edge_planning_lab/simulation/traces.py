"""Sources of bandwidth: recorded traces, and seeded random processes with similar behavior."""

from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from edge_planning.errors import BadValueError, require
from edge_planning_lab.simulation.links import Bandwidth


def read_trace(text: str, *, repeat: bool = True) -> Bandwidth:
    """Reads a trace of lines `seconds Mbit/s`; a rate holds until the time of the next line.

    The last rate holds for the median step, then the trace repeats (with `repeat`) or stays at that rate.
    Lines whose time does not exceed the previous one are skipped: recorders sometimes write a second twice.

    Raises:
        BadValueError: A line is not two numbers.
    """
    moments: list[float] = []
    rates: list[float] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            moment, rate = (float(word) for word in line.split())
        except ValueError:
            raise BadValueError(f"trace: line {number} is not `seconds Mbit/s`: {line.strip()!r}") from None
        require(isfinite(moment), f"trace: line {number}: time {moment} s must be finite")
        if not moments or moment > moments[-1]:
            moments.append(moment)
            rates.append(rate * 1e6)
    require(len(moments) > 1, "trace: fewer than two moments")
    times = np.array(moments) - moments[0]
    return Bandwidth(times.tolist(), rates, float(times[-1] + np.median(np.diff(times))) if repeat else None)


@dataclass(frozen=True, slots=True)
class LognormalProcess:
    """Markov-modulated lognormal AR(1) process: a synthetic model of a moving receiver.

    Each second the logarithm of the bandwidth reverts to the level of the current state by 1 - memory, plus a
    normal step. States (levels in bit/s) change with probability `change` per second, to any other state.
    `spread` is the standard deviation of the logarithm within a state. The defaults are assumptions, not
    fits: round numbers in the range of mobile uplinks of 0.1 to 10 Mbit/s.
    """

    levels: tuple[float, ...] = (0.3e6, 1.0e6, 3.0e6)
    spread: float = 0.5
    memory: float = 0.8
    change: float = 0.02
    step: float = 1.0

    def __post_init__(self) -> None:
        require(
            bool(self.levels) and all(0 < level < inf for level in self.levels),
            f"process: levels {self.levels} bit/s must be finite and > 0",
        )
        require(0 <= self.spread < inf, f"process: spread {self.spread} must be finite and >= 0")
        require(0 <= self.memory < 1, f"process: memory {self.memory} must be >= 0 and < 1")
        require(0 <= self.change <= 1, f"process: change {self.change} must be between 0 and 1")
        require(0 < self.step < inf, f"process: step {self.step} s must be finite and > 0")

    def sample(self, rng: np.random.Generator, duration: float) -> Bandwidth:
        """Returns a repeating trace of `duration` seconds."""
        _check(duration)
        count = max(int(np.ceil(duration / self.step)), 2)
        states = len(self.levels)
        jumps = rng.random(count) < self.change
        moves = np.where(jumps, rng.integers(1, max(states, 2), count), 0)
        state = (int(rng.integers(states)) + np.cumsum(moves)) % states
        pushes = rng.normal(0.0, self.spread * np.sqrt(1 - self.memory**2), count)
        deviation = np.empty(count)
        last = float(rng.normal(0.0, self.spread))
        for i in range(count):
            last = self.memory * last + float(pushes[i])
            deviation[i] = last
        rates = np.exp(np.log(np.asarray(self.levels))[state] + deviation)
        times = np.arange(count) * self.step
        return Bandwidth(times.tolist(), rates.tolist(), float(count * self.step))


@dataclass(frozen=True, slots=True)
class OutageProcess:
    """The Gilbert-Elliott model with a good and a bad state (Bell System Technical Journal, 1960 and 1963).

    Rates in bit/s; mean durations in seconds, exponentially distributed.
    """

    good: float = 2e6
    bad: float = 0.0
    good_for: float = 30.0
    bad_for: float = 3.0

    def __post_init__(self) -> None:
        for name in ("good", "bad"):
            rate = getattr(self, name)
            require(0 <= rate < inf, f"process: {name} {rate} bit/s must be finite and >= 0")
        for name in ("good_for", "bad_for"):
            stay = getattr(self, name)
            require(0 < stay < inf, f"process: {name} {stay} s must be finite and > 0")

    def sample(self, rng: np.random.Generator, duration: float) -> Bandwidth:
        """Returns a repeating trace of `duration` seconds that starts in the good state."""
        _check(duration)
        times, rates, moment, good = [0.0], [self.good], 0.0, True
        while True:
            moment += float(rng.exponential(self.good_for if good else self.bad_for))
            if moment >= duration:
                return Bandwidth(times, rates, float(duration))
            good = not good
            times.append(moment)
            rates.append(self.good if good else self.bad)


def _check(duration: float) -> None:
    require(0 < duration < inf, f"process: duration {duration} s must be finite and > 0")
