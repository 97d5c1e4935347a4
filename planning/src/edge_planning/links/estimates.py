"""Estimates the bandwidth of a link from transfers over it. Pure: times are arguments.

A measured time includes delays of this process, several milliseconds on a throttled node, so it can be too
long but not too short. A sample is therefore an interval of rates, and an estimate inside it was right.

Two forecasters follow the samples: the last value and a moving average. The level is their mean in the
logarithm, weighted by exponentially decayed recent error (exponential weights: Cesa-Bianchi and Lugosi 2006,
"Prediction, Learning, and Games", section 2). The level follows the last value on a link that changes in
steps, and the average on one whose samples scatter. The low quantile is the level times a quantile of the
ratios of recent samples to their forecasts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log
from typing import Final

LOW: Final = 0.2  # share of the transfers that are slower than `low`

_AVERAGE: Final = 0.4  # weight of a sample in the moving average
_KEEP: Final = 0.95  # share of the losses so far that counts after a sample
_SHARPNESS: Final = 8.0
_MOST_LOSS: Final = 0.3
_REMEMBERED: Final = 30
_BEFOREHAND: Final = (-0.3, 0.0, 0.0)  # surprises that are assumed before there are any
_TYPICAL_GAP: Final = 0.3  # weight of a sample in the mean time between two
_AGEING: Final = 0.3  # power of the time with which surprises grow
_OLDEST: Final = 30.0
_HELD_FACTOR: Final = 2.0
_HELD_WITHIN: Final = 0.3
_HELD_UP: Final = 0.1  # seconds for which a node may be: the kernel's default period of a cpu quota
_SETTLING: Final = 0.15  # share of the way to a sample's lower end that an estimate goes which lies inside it
_SHORT: Final = 0.25  # the same for the low quantile
_LOWER: Final = 0.8
_HIGHER: Final = 1.25
_TAIL: Final = 0.5  # scale of the logistic distribution that counts as one more surprise
_LEAST: Final = 1.0  # bit/s; the logarithm of less says nothing


@dataclass(frozen=True, slots=True)
class LinkView:
    """The estimated link.

    Attributes:
        up: Whether the peer responds.
        bandwidth: Estimate in bit/s; None before the first measurement.
        surprises: Natural logarithms, ascending, of the ratios of recent transfers to the estimate.
            Empty: the estimate is certain.
        growth: Factor by which they have grown with the age of the estimate.
        backlog: Bits of requests in transfer.
    """

    up: bool
    bandwidth: float | None
    surprises: Sequence[float] = ()
    growth: float = 1.0
    backlog: float = 0.0

    def chance(self, need: float) -> float:
        """Returns the probability that the next transfer gets at least `need` bit/s."""
        if need <= 0:
            return 1.0
        if not self.up or not self.bandwidth or need == inf:
            return 0.0
        if not self.surprises:
            return 1.0 if need <= self.bandwidth else 0.0
        ratio = log(need / self.bandwidth)
        count = len(self.surprises)
        enough = count - bisect_left(self.surprises, ratio / self.growth)
        return (enough + 1 / (1 + exp(min(max(ratio / _TAIL, -50.0), 50.0)))) / (count + 1)

    def wait_for(self, bits: float, *, idle: bool) -> float | None:
        """Returns the seconds until `bits` more would arrive behind the backlog; None if unknown.

        While the link is down, one request at a time may try it: more would only fill its queues.
        idle: whether nothing is in transfer.
        """
        if not self.up:
            return None if idle else inf
        return (self.backlog + bits) / self.bandwidth if self.bandwidth else None


@dataclass(frozen=True, slots=True)
class RateSample:
    """A transfer.

    Attributes:
        at: Time of its end in seconds.
        low: Lowest rate in bit/s that it may have had.
        high: Highest rate in bit/s that it may have had.
        seconds: Its duration; 0 if unknown.
        plain: Whether its duration contains only the link's time and delays of this node.
    """

    at: float
    low: float
    high: float
    seconds: float = 0.0
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """The state of the estimate.

    Attributes:
        rate: Level in bit/s; None before the first sample.
        low: Low quantile in bit/s; None before the first sample.
        at: Time of the last sample's end in seconds.
        last: Forecast of the last value, as the natural logarithm of bit/s.
        average: Forecast of the moving average, likewise.
        ahead: Difference of the losses of the last value and the moving average.
        surprises: Logarithms of sample over forecast, newest last.
        ranked: The same, ascending.
        gap: Mean seconds between samples.
        held: Whether the previous sample was much slower (-1) or faster (1) than the estimate and still needs
            to be confirmed; otherwise 0.
    """

    rate: float | None = None
    low: float | None = None
    at: float = -inf
    last: float = 0.0
    average: float = 0.0
    ahead: float = 0.0
    surprises: tuple[float, ...] = ()
    ranked: tuple[float, ...] = ()
    gap: float = 0.0
    held: int = 0


def sample_of(size: int, seconds: float, jitter: float, at: float) -> RateSample | None:
    """Returns the sample of a transfer of `size` bytes in `seconds`, up to `jitter` of which is delay.

    Returns None if the time is not positive.
    """
    if seconds <= 0 or size <= 0:
        return None
    bits = 8.0 * size
    return RateSample(at, bits / seconds, bits / (seconds - jitter) if seconds > jitter else inf, seconds)


def started(rate: float, low: float | None, at: float) -> Estimate:
    """Returns the estimate that continues another one: its level and low quantile in bit/s, if known."""
    level = log(max(rate, _LEAST))
    surprises = _BEFOREHAND if low is None else (min(log(max(low, _LEAST)) - level, 0.0), 0.0, 0.0)
    return _estimate(at, level, level, 0.0, surprises, 0.0)


def add(estimate: Estimate, sample: RateSample) -> Estimate:
    """Returns the estimate with one more sample.

    A sample that differs by more than a factor of two shortly after another has to be confirmed by the next
    one, because this node may have delayed the transfer; the delay has an upper bound.
    """
    bottom = log(max(sample.low, _LEAST))
    top = max(log(sample.high), bottom) if sample.high < inf else inf
    if estimate.rate is None:
        return _estimate(sample.at, bottom, bottom, 0.0, _BEFOREHAND, 0.0)
    level, gap = log(estimate.rate), max(sample.at - estimate.at, 0.0)
    mean_gap = gap if not estimate.gap else estimate.gap + _TYPICAL_GAP * (gap - estimate.gap)
    surprise = _moved(level, bottom, top, _SHORT) - level
    far = log(_HELD_FACTOR)
    side = -1 if surprise < -far else 1 if surprise > far else 0
    surprises = (*estimate.surprises, surprise)[-_REMEMBERED:]
    excess = sample.seconds * (1 - sample.low / estimate.rate)
    if side and side != estimate.held and gap < _HELD_WITHIN and excess < _HELD_UP:
        return replace(estimate, at=sample.at, gap=mean_gap, held=side)
    if side:
        return _estimate(sample.at, bottom, bottom, estimate.ahead, surprises, mean_gap)
    last, average = (_moved(x, bottom, top) for x in (estimate.last, estimate.average))
    losses = min(abs(last - estimate.last), _MOST_LOSS), min(abs(average - estimate.average), _MOST_LOSS)
    ahead = _KEEP * estimate.ahead + losses[0] - losses[1]
    average = estimate.average + _AVERAGE * (average - estimate.average)
    return _estimate(sample.at, last, average, ahead, surprises, mean_gap)


def low_at(estimate: Estimate, now: float) -> float | None:
    """Returns the low quantile in bit/s for a transfer that starts `now`; it falls with the age."""
    if estimate.rate is None or estimate.low is None:
        return None
    growth = growth_at(estimate, now)
    if growth == 1.0:
        return estimate.low
    short: float = (estimate.low / estimate.rate) ** growth
    return estimate.rate * short


def growth_at(estimate: Estimate, now: float) -> float:
    """Returns the factor by which the surprises of a transfer that starts `now` exceed the recorded ones."""
    age = min(now - estimate.at, _OLDEST)
    if age <= estimate.gap or not estimate.gap:
        return 1.0
    growth: float = (age / estimate.gap) ** _AGEING
    return growth


def contradicts(sample: RateSample, rate: float) -> bool:
    """Whether the sample is impossible on a link of this rate."""
    return sample.high < _LOWER * rate or sample.low > _HIGHER * rate


def _moved(forecast: float, bottom: float, top: float, settling: float = _SETTLING) -> float:
    """Moves a forecast to the nearest end of a sample, or from inside it towards its lower, likelier end."""
    if forecast <= bottom:
        return bottom
    inside = min(forecast, top)
    return inside - settling * (inside - bottom)


def _estimate(
    at: float, last: float, average: float, ahead: float, surprises: tuple[float, ...], gap: float
) -> Estimate:
    share = 1 / (1 + exp(-_SHARPNESS * ahead))  # of the moving average
    level = exp(last + share * (average - last))
    ranked = tuple(sorted(surprises))
    low = level * exp(min(ranked[int(LOW * len(ranked))], 0.0))
    return Estimate(level, low, at, last, average, ahead, surprises, ranked, gap, 0)
