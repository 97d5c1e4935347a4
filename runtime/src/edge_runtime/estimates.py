"""The bandwidth of a link from the transfers that crossed it. Pure: every moment comes in as an argument.

A measured time is the link's plus whatever delayed this process: on a throttled node several milliseconds,
always too long, never too short. So each sample is an interval of rates, the estimate an upper quantile of
the lower ends, and a change is believed when samples in a row contradict the estimate with their whole
interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

_MOST: Final = 12
_LEAST: Final = 3
_AGE: Final = 4.0
_QUANTILE: Final = 0.75
_IN_A_ROW: Final = 2
_LOWER: Final = 0.8
_HIGHER: Final = 1.25


@dataclass(frozen=True, slots=True)
class Sample:
    """One transfer: when it ended (s) and the least and greatest rate (bit/s) that it may have had."""

    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Samples of the link as it is now, oldest first, and the rate in bit/s that
    they make; None without any.
    """

    samples: tuple[Sample, ...] = ()
    rate: float | None = None


def sample_of(size: int, seconds: float, jitter: float, at: float) -> Sample | None:
    """A sample of `size` bytes that took at most `seconds`, of which up to `jitter` may not be the link's.

    None when the time is too short to say anything.
    """
    if seconds <= 0 or size <= 0:
        return None
    bits = 8.0 * size
    return Sample(at, bits / seconds, bits / (seconds - jitter) if seconds > jitter else inf)


def add(estimate: Estimate, sample: Sample) -> Estimate:
    """The estimate with one more sample; what lies before a change of level is dropped."""
    samples = (*estimate.samples, sample)[-_MOST:]
    fresh = [s for s in samples if sample.at - s.at <= _AGE]
    samples = tuple(fresh) if len(fresh) >= _LEAST else samples[-_LEAST:]
    rate = estimate.rate
    last = samples[-_IN_A_ROW:]
    if rate is not None and len(last) == _IN_A_ROW:
        down = all(s.high < _LOWER * rate for s in last)
        up = all(s.low > _HIGHER * rate for s in last)
        if down or up:
            samples = last
    return Estimate(samples, _level(samples))


def contradicts(sample: Sample, rate: float) -> bool:
    """Whether the sample cannot come from a link of this rate."""
    return sample.high < _LOWER * rate or sample.low > _HIGHER * rate


def _level(samples: Sequence[Sample]) -> float:
    lows = sorted(s.low for s in samples)
    level = lows[min(len(lows) - 1, int(_QUANTILE * len(lows)))]
    # A sample that was measured well bounds the ones that were measured badly.
    return min(level, max(s.high for s in samples))
