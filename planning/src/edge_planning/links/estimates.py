"""The bandwidth of a link from the transfers that crossed it. Pure: every moment comes in as an argument.

A measured time is the link's plus whatever delayed this process: on a throttled node several milliseconds,
always too long, never too short. So each sample is an interval of rates, and an estimate that lies inside it
was right.

Two forecasters follow the samples, the last value and a moving average; the level is their mean in the
logarithm, weighed by how well each foretold the samples of late (exponential weights: Cesa-Bianchi and Lugosi
2006, "Prediction, Learning, and Games", section 2). So a link that holds its rate between steps is followed
as by the last value, and one whose samples scatter is smoothed. The low quantile is the level times the
quantile of the ratios by which the samples of late fell short of what was foretold of them.
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
    """The link as estimated.

    bandwidth: bit/s, None before anything was measured. surprises: natural logarithms, ascending, of how much
    more or less than the estimate recent transfers got; none: the estimate is taken for certain. growth: by
    how much they have grown with the age of the estimate. backlog: bits of requests that are on their way.
    """

    up: bool
    bandwidth: float | None
    surprises: Sequence[float] = ()
    growth: float = 1.0
    backlog: float = 0.0

    def chance(self, need: float) -> float:
        """That the next transfer gets at least `need` bit/s."""
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


@dataclass(frozen=True, slots=True)
class RateSample:
    """One transfer: when it ended (s), the least and greatest rate (bit/s) that it may have had, how long it
    took (s, 0 when that is not known), and whether its time is the link's but for what this node added.
    """

    at: float
    low: float
    high: float
    seconds: float = 0.0
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a link.

    rate, low: the level and the low quantile in bit/s, None before the first sample. at: when that ended (s).
    last, average: the forecasters, as natural logarithms of bit/s. ahead: by how much the moving average's
    losses are less than the last value's. surprises: logarithms of sample over forecast, newest last. ranked:
    the same, ascending. gap: mean seconds between samples. held: the sample before this one was much slower
    (-1) or faster (1) than the estimate and is not believed yet.
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
    """A sample of `size` bytes that took at most `seconds`, of which up to `jitter` may not be the link's.

    None when the time is too short to say anything.
    """
    if seconds <= 0 or size <= 0:
        return None
    bits = 8.0 * size
    return RateSample(at, bits / seconds, bits / (seconds - jitter) if seconds > jitter else inf, seconds)


def add(estimate: Estimate, sample: RateSample) -> Estimate:
    """The estimate with one more sample.

    One that differs by more than a factor of two, right after another, is believed when the next one says the
    same: a transfer may have been held up by this node, but not for longer than it ever is.
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
    """The low quantile (bit/s) for a transfer that starts `now`: the older the estimate, the lower."""
    if estimate.rate is None or estimate.low is None:
        return None
    growth = growth_at(estimate, now)
    if growth == 1.0:
        return estimate.low
    short: float = (estimate.low / estimate.rate) ** growth
    return estimate.rate * short


def growth_at(estimate: Estimate, now: float) -> float:
    """By how much the surprises of a transfer that starts `now` are larger than those that were seen."""
    age = min(now - estimate.at, _OLDEST)
    if age <= estimate.gap or not estimate.gap:
        return 1.0
    growth: float = (age / estimate.gap) ** _AGEING
    return growth


def contradicts(sample: RateSample, rate: float) -> bool:
    """Whether the sample cannot come from a link of this rate."""
    return sample.high < _LOWER * rate or sample.low > _HIGHER * rate


def _moved(forecast: float, bottom: float, top: float, settling: float = _SETTLING) -> float:
    """To the nearest end of a sample; from inside a little towards the lower end, which is the likeliest."""
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
