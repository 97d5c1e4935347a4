"""Bounds the rate of a link while requests are in flight, by the bytes that have arrived. Pure.

Overlapping requests share the link, so their sum counts. On any link, what arrived bounds the rate from an
age of 30 ms and a round trip. Where round trips are short and even, a transfer that stands still bounds it
earlier. An early bound that the link then exceeds was caused by a stall: the time allowed for stalls is
doubled. It is halved again after a minute without such an error, and when a link stays slow.
"""

from __future__ import annotations

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
        self._claimed: tuple[InFlight, float] | None = None  # a transfer, and its lowest early bound
        self._right: InFlight | None = None  # a transfer whose early bound the link has not exceeded
        self._margin, self._erred = 1.0, -inf
        self._early = True
        self._looks: list[tuple[float, int, float]] = []  # times, bytes arrived and delays while early

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return _EARLY_POLL if self._early else POLL

    def rest(self, now: float, total: int) -> None:
        """Records that everything has arrived: `total` bytes so far."""
        self._compare(now, total, None)
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
        bound = self._bound(now, total, oldest, left)
        self.cap = bound if rate is not None and bound < _SLOWER * rate else None
        self._claim(now, oldest)
        self._forget(now, oldest)
        if self._window is None or now - self._window[0] >= _WINDOW:
            (since, base), self._window = self._window or (now, total), (now, total)
            return sample_between(total - base, now - since, now) if total > base else None
        return None

    def _bound(self, now: float, total: int, oldest: InFlight, left: int) -> float:
        age, moved, before = now - oldest.start, total - oldest.moved_before, oldest.before
        if _is_early(age, before):
            self._early = _is_early(self._margin * excused(before), before)
            return self._early_bound(now, total, oldest, left)
        self._early, self._looks = False, []
        if self._window is None:  # it may have waited in this process
            return inf
        since, base = self._window
        recent = 8.0 * (total - base + SEGMENTS) / max(now - since - before.round_trip, POLL)
        # Bytes that arrived before the oldest transfer began say nothing about a link that slowed down since.
        return min(recent, 8.0 * (moved + SEGMENTS) / (age - before.round_trip))

    def _early_bound(self, now: float, total: int, oldest: InFlight, left: int) -> float:
        """The bound by what arrived since the start of the oldest transfer, or since any look after it."""
        if not self._looks or self._looks[0][0] != oldest.start:
            self._looks = [(oldest.start, oldest.moved_before, oldest.delays_before)]
        # The last segments of a transfer may be acknowledged late, so that it only seems to stand still.
        looks = self._looks if left > SEGMENTS else self._looks[:1]
        bounds = (
            fastest_so_far(total - base, now - at - (self.delays - delays), oldest.before, self._margin)
            for at, base, delays in looks
        )
        found = min(bounds)
        self._looks.append((now, total, self.delays))
        return found

    def _claim(self, now: float, oldest: InFlight) -> None:
        """Remembers the lowest early bound of the oldest transfer, to be compared with what follows."""
        if self.cap is None or not _is_early(now - oldest.start, oldest.before):
            return
        if self._claimed is None or self.cap < self._claimed[1]:
            self._claimed = oldest, self.cap

    def _compare(self, now: float, total: int, oldest: InFlight | None) -> None:
        """Compares an early bound with the rate until its transfer arrived, or was no longer early."""
        if self._claimed is None:
            return
        claimed, bound = self._claimed
        same = oldest is not None and oldest.start == claimed.start
        if same and _is_early(now - claimed.start, claimed.before):
            return
        seconds = now - claimed.start - (self.delays - claimed.delays_before) - claimed.before.round_trip
        self._claimed = self._right = None
        if 8.0 * (total - claimed.moved_before) > bound * seconds:
            self._margin, self._erred = min(2 * self._margin, _MOST), now
        elif same:
            self._right = claimed

    def _forget(self, now: float, oldest: InFlight) -> None:
        """Halves the margin when its cause is long ago, or an early bound was right about a slower link."""
        lasting = self._right is oldest and self.cap is not None and now - oldest.start > _LASTING
        if lasting:
            self._right = None
        if lasting or now - self._erred > _FORGOTTEN:
            self._margin, self._erred = max(self._margin / 2, 1.0), now


def _is_early(age: float, before: TcpInfo) -> bool:
    """Whether a transfer of this age bounds the rate only if it stands still for longer than is usual."""
    return age <= _EARLY + before.round_trip
