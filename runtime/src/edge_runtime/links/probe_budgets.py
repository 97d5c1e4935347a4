"""Budget of bytes for probes per hour, and what to do when it runs low. Pure.

A token bucket that holds SPAN seconds' worth. Its lower part is a reserve for probes that answer a question:
the last measurement contradicts the one before. Probes of an idle link use the upper part: of the requested
size while the bucket is more than half full, then smaller ones, then as often as the bucket refills. Probing
never stops: a tiny probe, which detects a dead link at almost no cost, is sent every RAREST seconds in any
case. A link that came up again, or was never measured, is measured immediately, even if this overdraws the
bucket by up to its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

SPAN: Final = 900.0
LEAST_AN_HOUR: Final = 256 << 10  # with less, probes could hardly find out whether the peer responds
LEAST, MOST = 8 << 10, 32 << 10  # bytes of a probe that measures
TINY: Final = 512  # bytes of one that only finds out whether the peer responds
OVERHEAD: Final = 500  # bytes of headers, of the response, and of acknowledgements
RAREST: Final = 30.0
RAREST_DOWN: Final = 5.0  # for a link that is down or in question, with the budget used up
_RESERVE: Final = 0.25  # share of the bucket
_AMPLE: Final = 0.5


class Why(Enum):
    """The purpose of a probe."""

    IDLE = auto()  # nothing was measured for a while
    QUESTION = auto()  # a measurement contradicts the estimate
    UNKNOWN = auto()  # the link has come up, or was never measured
    DOWN = auto()  # whether the link is up again


@dataclass(frozen=True, slots=True)
class Budget:
    """an_hour: bytes, at least LEAST_AN_HOUR. saved: bytes left at second `at`; overdrawn if below 0."""

    an_hour: float
    saved: float
    at: float

    @property
    def size(self) -> float:
        """Size of the bucket in bytes."""
        return self.an_hour * SPAN / 3600


@dataclass(frozen=True, slots=True)
class Allowed:
    """A probe of `size` bytes, `interval` seconds after the last measurement (with a question: probe)."""

    size: int
    interval: float


def full(an_hour: float, now: float) -> Budget:
    """An unused budget."""
    budget = Budget(max(an_hour, LEAST_AN_HOUR), 0.0, now)
    return Budget(budget.an_hour, budget.size, now)


def saved(budget: Budget, now: float) -> float:
    """Bytes that can be sent now."""
    return min(budget.saved + budget.an_hour / 3600 * max(now - budget.at, 0.0), budget.size)


def resized(budget: Budget, an_hour: float, now: float) -> Budget:
    """The budget with another number of bytes per hour. It gains nothing that it had not saved."""
    after = Budget(max(an_hour, LEAST_AN_HOUR), 0.0, now)
    return Budget(after.an_hour, min(saved(budget, now), after.size), now)


def spent(budget: Budget, size: int, now: float) -> Budget:
    """The budget after a probe of `size` bytes."""
    return Budget(budget.an_hour, saved(budget, now) - size - OVERHEAD, now)


def returned(budget: Budget, size: int, arrived: int) -> Budget:
    """The budget after a failed probe of `size` bytes: bytes that did not arrive are returned."""
    back = size - arrived if arrived else size + OVERHEAD
    return Budget(budget.an_hour, min(budget.saved + back, budget.size), budget.at)


def allowed(budget: Budget, now: float, why: Why, wanted: int, interval: float) -> Allowed:
    """The next probe.

    wanted: bytes that would measure well. interval: seconds between probes without a budget.
    """
    have, reserve = saved(budget, now), _RESERVE * budget.size
    if why is Why.DOWN:
        return Allowed(TINY, interval if have > reserve else max(interval, RAREST_DOWN))
    if why is Why.UNKNOWN and have > -budget.size:
        return Allowed(wanted if have - wanted > reserve else min(wanted, LEAST), 0.0)
    if why is Why.QUESTION:
        size = min(wanted, max(int(have) - OVERHEAD, 0))
        if size >= min(wanted, LEAST):
            return Allowed(size, 0.0)
        return Allowed(TINY, RAREST_DOWN)
    ample = _AMPLE * budget.size
    share = min(max((have - reserve) / (ample - reserve), 0.0), 1.0)
    least = min(wanted, LEAST)
    size = min(max(int(wanted * share), least), int(have - reserve) - OVERHEAD)
    if size >= least:
        return Allowed(size, interval)
    return Allowed(TINY, max(interval, RAREST))
