"""A circuit breaker for each next hop. Pure: times are arguments.

While it is closed, all requests may take the hop; while it is open, none. From `retry_at` on it is half open:
one request at a time may take the hop, and its outcome closes the breaker or opens it for twice as long. It
is half open earlier if the hop responds to a health check after missing one, or if the link got faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Final

LATES: Final = 2  # one late response can be chance; a refusal or a broken connection opens it at once
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 8.0
FASTER: Final = 1.4
CHECK_EVERY: Final = 0.5  # seconds between health checks while a breaker is open
CHECK_WITHIN: Final = 0.45
_MOST_TRIPS: Final = 8


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one hop.

    Attributes:
        lates: Number of consecutive late responses while closed.
        trips: How often it opened in succession; 0 while closed.
        retry_at: Time in seconds from which it is half open.
        trying: Whether the one request of the half-open state is in progress.
        silent: Whether a health check got no response since it opened.
        slowest: Lowest bandwidth in bit/s measured since it opened.
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
    """Whether it is half open and no request tests the hop yet."""
    return not breaker.closed and not breaker.trying and now >= breaker.retry_at


def tried(breaker: Breaker) -> Breaker:
    """Returns the state while a request tests the hop."""
    return replace(breaker, trying=True)


def abandoned(breaker: Breaker) -> Breaker:
    """Returns the state after the test ended without a request to the hop."""
    return replace(breaker, trying=False)


def failed(breaker: Breaker, now: float, *, late: bool, trial: bool) -> Breaker:
    """Returns the state after a failed or late hop. Requests sent before it opened do not count."""
    if breaker.closed:
        if late and breaker.lates + 1 < LATES:
            return replace(breaker, lates=breaker.lates + 1)
        return Breaker(trips=1, retry_at=now + FIRST_PAUSE)
    if not trial:
        return breaker
    pause = min(FIRST_PAUSE * 2.0**breaker.trips, LONGEST_PAUSE)
    trips = min(breaker.trips + 1, _MOST_TRIPS)
    return replace(breaker, trips=trips, retry_at=now + pause, trying=False)


def checked(breaker: Breaker, *, healthy: bool, now: float) -> Breaker:
    """Returns the state after a health check. Only a response after a missed one shows that it is back."""
    if breaker.closed:
        return breaker
    if not healthy:
        return replace(breaker, silent=True)
    return replace(breaker, trips=1, retry_at=now, silent=False) if breaker.silent else breaker


def seen(breaker: Breaker, bandwidth: float, now: float) -> Breaker:
    """Returns the state after a measurement of the link: on a faster link, a late hop is tried again."""
    if breaker.closed:
        return breaker
    if bandwidth > FASTER * breaker.slowest:
        return replace(breaker, trips=1, retry_at=min(breaker.retry_at, now), slowest=bandwidth)
    return replace(breaker, slowest=bandwidth) if bandwidth < breaker.slowest else breaker
