"""Routes chosen by an estimate over a bandwidth trace: late requests and accuracy.

A closed loop: only sent transfers are measured. A request arrives every PERIOD seconds; its transfer is
aborted after BUDGET seconds (the bytes until then are the sample). While the local route is active, the link
is probed every PROBE seconds, and again immediately, at most twice, if a probe contradicts the estimate.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.runtime.estimates.forecasters import Forecaster
from benchmarks.runtime.estimates.streams import measured
from edge_planning.links.estimates import LinkView, RateSample, contradicts, sample_of
from edge_planning.routing.routes import MISS_PRICE, RouteRequirement, RouteState, decide
from edge_planning_lab.simulation.links import Bandwidth

PERIOD, BUDGET, PROBE = 0.3, 0.2, 2.0
SEGMENTS = 3000  # bytes that may have arrived without their acknowledgement
FAR_JITTER = 0.0005
PROBE_WITHIN = 2.0
MOST_SECONDS = 600.0
# (bit/s from which a route is in time, accuracy); the last is local.
TABLE = ((8e6, 0.97), (4e6, 0.95), (1.5e6, 0.90), (0.5e6, 0.82), (0.0, 0.70))
CHOICES: Final = [RouteRequirement(need, need > 0, accuracy) for need, accuracy in TABLE]
LOCAL: Final = TABLE[-1][1]


@dataclass(frozen=True, slots=True)
class DecisionScore:
    """Share of requests that were late, and mean accuracy if the local exit replaces their responses.

    Also the mean utility if late responses are lost, at MISS_PRICE each, and switches per minute.
    """

    late: float
    with_fallback: float
    missed: float
    switches: float


class _Watched:
    """A link of which only own transfers are known."""

    def __init__(self, link: Bandwidth, seed: int, error: float, forecaster: Forecaster) -> None:
        self.link, self.forecaster = link, forecaster
        self._rng, self._error = np.random.default_rng(seed), error
        self._heard = False
        self.last = -math.inf

    def believed(self, now: float, *, low: bool) -> float | None:
        """The state of the decisions."""
        if not self._heard:
            return None
        return self.forecaster.low(now) if low else self.forecaster.level(now)

    def send(self, now: float, size: float) -> bool:
        """Whether a request's bytes arrive in time."""
        done = self.link.finish(now, 8 * size)
        self.last = min(done, now + BUDGET)
        if done <= now + BUDGET + 1e-9:
            self._hear(measured(size, done - now, done, self._error, self._rng))
            return True
        self._hear(self._stuck(now, BUDGET, size))
        return False

    def probe(self, now: float) -> float:
        """Returns when the due probes have ended."""
        for _ in range(3):
            rate = self.forecaster.level(now) if self._heard else 0.0
            size = min(max(round(rate * 0.03 / 8), 8 << 10), 32 << 10)
            done = self.link.finish(now, 8.0 * size)
            if done > now + PROBE_WITHIN:
                self._hear(self._stuck(now, PROBE_WITHIN, size))
                now += PROBE_WITHIN
                break
            seconds = (done - now) * math.exp(self._error * self._rng.standard_normal())
            now = done
            if not self._hear(sample_of(size, seconds, FAR_JITTER, done)):
                break
        self.last = now
        return now

    def _stuck(self, begun: float, seconds: float, size: float) -> RateSample:
        moved = (self.link.carried(begun + seconds) - self.link.carried(begun)) / 8
        most = 8 * min(moved + SEGMENTS, size) / seconds
        return RateSample(begun + seconds, min(max(8 * moved, 1.0) / seconds, most), most, seconds)

    def _hear(self, sample: RateSample | None) -> bool:
        """Whether the sample contradicts the estimate."""
        if sample is None:
            return False
        surprised = self._heard and contradicts(sample, self.forecaster.level(sample.at))
        self.forecaster.add(sample)
        self._heard = True
        return surprised


def run(link: Bandwidth, seed: int, error: float, forecaster: Forecaster, *, low: bool) -> DecisionScore:
    """One trace, at most MOST_SECONDS of it; low: the low quantile decides, not the level."""
    watched = _Watched(link, seed, error, forecaster)
    now, end = 0.0, min(link.period or 0.0, MOST_SECONDS)
    state = RouteState()
    late, accuracies, switches, requests = 0, 0.0, 0, 0
    while now + PERIOD < end:
        before = state.active
        index, state = decide(
            CHOICES, LinkView(up=True, bandwidth=watched.believed(now, low=low)), state, now
        )
        switches += before is not None and state.active != before
        need, accuracy = TABLE[index]
        requests += 1
        if not need:
            accuracies += accuracy
            if now - watched.last >= PROBE:
                now = max(now, watched.probe(now) - PERIOD)
        elif watched.send(now, need * BUDGET / 8):
            accuracies += accuracy
        else:
            late += 1
        now += PERIOD
    with_fallback, missed = accuracies + late * LOCAL, accuracies - late * MISS_PRICE
    return DecisionScore(late / requests, with_fallback / requests, missed / requests, switches / (now / 60))


def clairvoyant(link: Bandwidth) -> float:
    """Returns the mean accuracy if the bandwidth of each transfer is known in advance."""
    moments = np.arange(0.0, min(link.period or 0.0, MOST_SECONDS) - PERIOD, PERIOD)
    found = []
    for moment in moments:
        carried = link.carried(moment + BUDGET) - link.carried(moment)
        found.append(next(accuracy for need, accuracy in TABLE if need * BUDGET <= carried + 1e-6))
    return float(np.mean(found))
