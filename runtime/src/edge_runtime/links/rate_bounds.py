"""Bounds the rate of a link while requests are in flight, by the bytes that have arrived. Pure.

Overlapping requests share the link, so their sum counts. On any link, what arrived bounds the rate from an
age of 30 ms and a round trip. Where round trips are short and even, a transfer that stands still bounds it
earlier. An early bound that the link then clearly exceeds was caused by a stall: the time allowed for stalls
is doubled. It is halved again after a minute without such an error, and when a link stays slow. The first
bound that is exceeded after that does not count: the link has become faster again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from edge_planning.links.estimates import RateSample
from edge_runtime.links.sockets import TcpInfo
from edge_runtime.links.transfer_rates import POLL, SEGMENTS, excused, fastest_so_far, sample_between

_EARLY: Final = 0.03  # age in seconds, less a round trip, from which any transfer bounds the rate
_EARLY_POLL: Final = 0.002  # seconds between two looks before that age
_ROUNDING: Final = 0.001  # seconds by which an event loop wakes later than requested
_WINDOW: Final = 0.5  # seconds between two samples
_SLOWER: Final = 0.7  # share of the estimated rate below which a bound matters
_LASTING: Final = 0.1  # age in seconds of a transfer at which a stall is over, and a slower link is not
_CLEARLY: Final = 1.1  # factor by which a rate exceeds a bound that was wrong
_MOST: Final = 8.0  # factor of the allowed time with which no bound is early any more
_FORGOTTEN: Final = 60.0  # seconds without an error after which the allowed time is halved


class InFlight(Protocol):
    """A transfer that has not arrived.

    start: in seconds. moved_before: bytes that had arrived on the link by then. before: its connection then.
    delays_before: seconds by which the looks had been late by then.
    """

    @property
    def start(self) -> float: ...
    @property
    def moved_before(self) -> int: ...
    @property
    def before(self) -> TcpInfo: ...
    @property
    def delays_before(self) -> float: ...


@dataclass(frozen=True, slots=True)
class _Look:
    """What was known at a time: bytes that had arrived on the link, and `RateBounds.delays`."""

    at: float
    total: int
    delays: float

    def rate_until(self, now: float, total: int, delays: float, round_trip: float) -> float:
        """Bit/s at which bytes have arrived since, without delays of this process and a round trip."""
        seconds = now - self.at - (delays - self.delays) - round_trip
        return 8.0 * (total - self.total) / seconds if seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Claim:
    """An early bound of a transfer: the maximum rate in bit/s since a look."""

    transfer: InFlight
    bound: float
    since: _Look


class RateBounds:
    """The bounds of one link, from looks at its transfers.

    cap: maximum rate in bit/s of the link now; None if it is not below the estimate. delays: seconds by which
    the looks have been late. While this process waits for a core, the node may send and acknowledge nothing
    either.
    """

    def __init__(self) -> None:
        self.cap: float | None = None
        self.delays = 0.0
        self._window: tuple[float, int] | None = None
        self._claim: _Claim | None = None  # the lowest one of the oldest transfer
        self._right: InFlight | None = None  # a transfer whose early bound the link has not exceeded
        self._margin, self._erred = 1.0, -inf
        self._slow = False  # whether the link has stayed slow, and nothing shows that it no longer is
        self._early = True
        self._looks: list[_Look] = []  # at the oldest transfer while it is early

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return _EARLY_POLL if self._early else POLL

    def rest(self, now: float, total: int) -> None:
        """Records that everything has arrived: `total` bytes so far."""
        self._compare(now, total, None)
        if self._window is not None and self.cap is None:
            self._slow = False
        self.cap, self._window, self._early = None, None, True

    def look(
        self,
        now: float,
        late: float,
        total: int,
        oldest: InFlight | None,
        rate: float | None,
        *,
        left: int,
    ) -> RateSample | None:
        """Bounds the rate, and returns a sample at intervals.

        late: seconds by which this look is late. total: bytes that have arrived on the link so far. oldest:
        the transfer that began first, None if everything has arrived. rate: the estimate in bit/s.
        left: bytes in flight that have not arrived.
        """
        self.delays += max(late - _ROUNDING, 0.0)
        if oldest is None:
            self.rest(now, total)
            return None
        self._compare(now, total, oldest)
        early = self._early_claim(now, total, oldest, left)
        bound = self._bound(now, total, oldest) if early is None else early.bound
        self.cap = bound if rate is not None and bound < _SLOWER * rate else None
        if early is not None and self.cap is not None and (self._claim is None or bound < self._claim.bound):
            self._claim = early
        self._forget(now, oldest)
        if self._window is None or now - self._window[0] >= _WINDOW:
            (since, base), self._window = self._window or (now, total), (now, total)
            return sample_between(total - base, now - since, now) if total > base else None
        return None

    def _early_claim(self, now: float, total: int, oldest: InFlight, left: int) -> _Claim | None:
        """The bound by what arrived since the start of the oldest transfer, or since any look at it.

        None if the transfer is too old for an early bound.
        """
        before = oldest.before
        if not _is_early(now - oldest.start, before):
            self._early, self._looks = False, []
            return None
        self._early = _is_early(self._margin * excused(before), before)
        if not self._looks or self._looks[0].at != oldest.start:
            self._looks = [_Look(oldest.start, oldest.moved_before, oldest.delays_before)]
        # The last segments of a transfer may be acknowledged late, so that it only seems to stand still.
        looks = self._looks if left > SEGMENTS else self._looks[:1]
        claims = [
            _Claim(
                oldest,
                fastest_so_far(
                    total - look.total, now - look.at - (self.delays - look.delays), before, self._margin
                ),
                look,
            )
            for look in looks
        ]
        self._looks.append(_Look(now, total, self.delays))
        return min(claims, key=lambda claim: claim.bound)

    def _bound(self, now: float, total: int, oldest: InFlight) -> float:
        if self._window is None:  # it may have waited in this process
            return inf
        (since, base), round_trip = self._window, oldest.before.round_trip
        recent = 8.0 * (total - base + SEGMENTS) / max(now - since - round_trip, POLL)
        # Bytes that arrived before the oldest transfer began say nothing about a link that slowed down since.
        moved = total - oldest.moved_before
        return min(recent, 8.0 * (moved + SEGMENTS) / (now - oldest.start - round_trip))

    def _compare(self, now: float, total: int, oldest: InFlight | None) -> None:
        """Compares an early bound with the rate until its transfer arrived, or was no longer early."""
        claim = self._claim
        if claim is None:
            return
        transfer, before = claim.transfer, claim.transfer.before
        same = oldest is not None and oldest.start == transfer.start
        if same and _is_early(now - transfer.start, before):
            return
        self._claim = self._right = None
        rate = claim.since.rate_until(now, total, self.delays, before.round_trip)
        if rate > _CLEARLY * claim.bound:
            if not self._slow:
                self._margin, self._erred = min(2 * self._margin, _MOST), now
            self._slow = False
        elif same:
            self._right = transfer

    def _forget(self, now: float, oldest: InFlight) -> None:
        """Halves the margin when its cause is long ago, or an early bound was right about a slower link."""
        lasting = self._right is oldest and self.cap is not None and now - oldest.start > _LASTING
        if lasting:
            self._right, self._slow = None, True
        if lasting or now - self._erred > _FORGOTTEN:
            self._margin, self._erred = max(self._margin / 2, 1.0), now


def _is_early(age: float, before: TcpInfo) -> bool:
    """Whether a transfer of this age bounds the rate only if it stands still for longer than is usual."""
    return age <= _EARLY + before.round_trip
