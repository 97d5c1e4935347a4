"""Forecasters of a link's bandwidth: the runtime's estimate, the planner's forecast, and common baselines.

Each receives the intervals of rates that the runtime measures, and returns a level and a low quantile in
bit/s before the next transfer. Methods that use single values take the lower ends, which are bytes over
seconds.
"""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from edge_planning.links import estimates
from edge_planning.links.estimates import LOW, Estimate, RateSample, low_at
from edge_planning_lab.replanning import BandwidthSample, State, observed

_WIDE = 1.6  # greatest rate over least, from which the runtime does not take a sample for a measurement


class Forecaster(Protocol):
    """A forecaster; level and low are called only after the first sample."""

    def add(self, sample: RateSample) -> None:
        """Adds a sample."""

    def level(self, now: float) -> float:
        """Returns the forecast rate of the next transfer."""

    def low(self, now: float) -> float:
        """Returns the rate below which a share LOW of the transfers is expected."""


class Last:
    """The last value. low: the same."""

    def __init__(self) -> None:
        self._rate = 0.0

    def add(self, sample: RateSample) -> None:
        self._rate = sample.low

    def level(self, now: float) -> float:
        return self._rate

    def low(self, now: float) -> float:
        return self._rate


class Average:
    """A moving average with weight 0.3. low: the same."""

    def __init__(self) -> None:
        self._rate = 0.0

    def add(self, sample: RateSample) -> None:
        self._rate += (0.3 if self._rate else 1.0) * (sample.low - self._rate)

    def level(self, now: float) -> float:
        return self._rate

    def low(self, now: float) -> float:
        return self._rate


class Harmonic:
    """The harmonic mean of the last five, as adaptive video has it (Jiang, Sekar and Zhang, CoNEXT 2012).

    low: divided by 1 + the largest relative error of the last five (RobustMPC: Yin et al., SIGCOMM 2015).
    """

    def __init__(self) -> None:
        self._rates: list[float] = []
        self._errors: list[float] = []

    def add(self, sample: RateSample) -> None:
        if self._rates:
            self._errors = [*self._errors, abs(self.level(0.0) - sample.low) / sample.low][-5:]
        self._rates = [*self._rates, sample.low][-5:]

    def level(self, now: float) -> float:
        return len(self._rates) / sum(1 / rate for rate in self._rates)

    def low(self, now: float) -> float:
        return self.level(now) / (1 + max(self._errors, default=0.0))


class Quartile:
    """The upper quartile of the lower ends of the last 4 s, at least three. low: their lower quintile.

    Two consecutive contradictions reset it.
    """

    def __init__(self) -> None:
        self._samples: list[RateSample] = []

    def add(self, sample: RateSample) -> None:
        rate = self.level(0.0) if self._samples else None
        if rate is not None and sample.high > _WIDE * sample.low and sample.low <= rate:
            return
        samples = [*self._samples, sample][-12:]
        fresh = [s for s in samples if sample.at - s.at <= 4.0]
        samples = fresh if len(fresh) >= 3 else samples[-3:]
        last = samples[-2:]
        if rate is not None and len(last) == 2:
            lower, higher = all(s.high < 0.8 * rate for s in last), all(s.low > 1.25 * rate for s in last)
            samples = last if lower or higher else samples
        self._samples = samples

    def level(self, now: float) -> float:
        return self._at(0.75)

    def low(self, now: float) -> float:
        return self._at(LOW)

    def _at(self, share: float) -> float:
        lows = sorted(s.low for s in self._samples)
        found = lows[min(len(lows) - 1, int(share * len(lows)))]
        return min(found, max(s.high for s in self._samples))


class PlannerForecaster:
    """The change-point detection of edge_planning_lab.replanning."""

    def __init__(self) -> None:
        self._state = State()

    def add(self, sample: RateSample) -> None:
        rate = math.sqrt(sample.low * min(sample.high, _WIDE * sample.low))
        self._state = observed(
            self._state, BandwidthSample(rate, error=math.log(rate / sample.low)), sample.at
        )

    def level(self, now: float) -> float:
        return self._state.forecast(now).median

    def low(self, now: float) -> float:
        return self._state.forecast(now).quantile(LOW)

    def both(self, now: float) -> tuple[float, float]:
        """Returns level and low from one forecast."""
        found = self._state.forecast(now).quantiles(np.array([0.5, LOW]))
        return float(found[0]), float(found[1])


class RuntimeForecaster:
    """The runtime's method: `edge_planning.links.estimates`, with the runtime's filter of samples."""

    def __init__(self) -> None:
        self._estimate = Estimate()

    def add(self, sample: RateSample) -> None:
        rate = self._estimate.rate
        if rate is not None and sample.high > _WIDE * sample.low and sample.low <= rate:
            return
        self._estimate = estimates.add(self._estimate, sample)

    def level(self, now: float) -> float:
        return self._estimate.rate or 0.0

    def low(self, now: float) -> float:
        return low_at(self._estimate, now) or 0.0


FORECASTERS: Mapping[str, Callable[[], Forecaster]] = {
    "last": Last,
    "average": Average,
    "harmonic": Harmonic,
    "quartile": Quartile,
    "planner": PlannerForecaster,
    "runtime": RuntimeForecaster,
}
