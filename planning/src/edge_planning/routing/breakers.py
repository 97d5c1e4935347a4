"""A circuit breaker for each next hop. Pure: every moment comes in as an argument.

Closed, all requests may take the hop. Open, none may. Half open, from `retry_at` on, one request at a time
may: its outcome closes the breaker or opens it for twice as long. It is half open before its time once the
hop answers a health check after leaving one unanswered, or the link is clearly faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Final

LATES: Final = 2  # one late answer may be chance; a refusal or a broken connection is none
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 8.0
FASTER: Final = 1.4
CHECK_EVERY: Final = 0.5  # seconds between health checks while a breaker is open
CHECK_WITHIN: Final = 0.45
_MOST_TRIPS: Final = 8


@dataclass(frozen=True, slots=True)
class Breaker:
    """One hop's state.

    lates: late answers in a row while closed. trips: how often in a row it opened; 0 while closed.
    retry_at: when (seconds) it is half open. trying: whether the one request is under way.
    silent: whether a health check went unanswered since it opened.
    slowest: the least bandwidth (bit/s) seen since it opened.
    """

    lates: int = 0
    trips: int = 0
    retry_at: float = 0.0
    trying: bool = False
    silent: bool = False
    slowest: float = inf

    @property
    def closed(self) -> bool:
        """Whether every request may take the hop."""
        return self.trips == 0


CLOSED: Final = Breaker()


def may_try(breaker: Breaker, now: float) -> bool:
    """Whether it is half open and the one request that may take the hop is not under way yet."""
    return not breaker.closed and not breaker.trying and now >= breaker.retry_at


def tried(breaker: Breaker) -> Breaker:
    """The one request sets out."""
    return replace(breaker, trying=True)


def abandoned(breaker: Breaker) -> Breaker:
    """The one request ended without having asked the hop."""
    return replace(breaker, trying=False)


def failed(breaker: Breaker, now: float, *, late: bool, trial: bool) -> Breaker:
    """After a hop that failed, or was late. What set out before the breaker opened says nothing new."""
    if breaker.closed:
        if late and breaker.lates + 1 < LATES:
            return replace(breaker, lates=breaker.lates + 1)
        return Breaker(trips=1, retry_at=now + FIRST_PAUSE)
    if not trial:
        return breaker
    pause = min(FIRST_PAUSE * 2.0**breaker.trips, LONGEST_PAUSE)
    trips = min(breaker.trips + 1, _MOST_TRIPS)
    return replace(breaker, trips=trips, retry_at=now + pause, trying=False)


def checked(breaker: Breaker, healthy: bool, now: float) -> Breaker:
    """After a health check. An answer after silence means that the hop is back; one without says nothing."""
    if breaker.closed:
        return breaker
    if not healthy:
        return replace(breaker, silent=True)
    return replace(breaker, trips=1, retry_at=now, silent=False) if breaker.silent else breaker


def seen(breaker: Breaker, bandwidth: float, now: float) -> Breaker:
    """After a measurement of the link: what was late on a slow link is worth another try on a faster one."""
    if breaker.closed:
        return breaker
    if bandwidth > FASTER * breaker.slowest:
        return replace(breaker, trips=1, retry_at=min(breaker.retry_at, now), slowest=bandwidth)
    return replace(breaker, slowest=bandwidth) if bandwidth < breaker.slowest else breaker
