"""The circuit breakers of all next hops of a node, and the health checks while one is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from edge_planning.routing.breakers import (
    CHECK_EVERY,
    CHECK_WITHIN,
    CLOSED,
    Breaker,
    abandoned,
    checked,
    failed,
    may_try,
    seen,
    tried,
)

_log = logging.getLogger(__name__)

_STAGGER: Final = 0.003
_NONE: Final[frozenset[int]] = frozenset()


class CheckedHop(Protocol):
    """The part of a hop that concerns its health."""

    @property
    def address(self) -> str:
        """Hops to one address fail together."""

    @property
    def linked(self) -> bool:
        """Whether it crosses the measured link."""

    async def healthy(self, within: float) -> bool:
        """Whether it responds to a health check within `within` seconds."""


class BreakerRegistry:
    """One breaker per address. `on_change` is called when one opens, closes or becomes half open."""

    def __init__(
        self, clock: Callable[[], float], reachable: Callable[[], bool], on_change: Callable[[], None]
    ) -> None:
        self._clock, self._reachable, self._on_change = clock, reachable, on_change
        self._breakers: dict[str, Breaker] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, dict[asyncio.Timeout, float]] = {}

    @contextmanager
    def patient(self, hop: CheckedHop, limit: asyncio.Timeout, expected: float) -> Iterator[None]:
        """Limits the wait for a hop to `expected` seconds once its breaker opens.

        A hop that has failed other requests is not expected to respond later than planned.
        """
        waiting = self._waiting.setdefault(hop.address, {})
        waiting[limit] = asyncio.get_running_loop().time() + expected
        try:
            yield
        finally:
            del waiting[limit]

    def blocked(self, hops: Sequence[CheckedHop | None]) -> Collection[int]:
        """The indexes of the hops whose breaker is not closed."""
        if not self._breakers:
            return _NONE
        return {i for i, hop in enumerate(hops) if hop is not None and not self._of(hop).closed}

    def testable(self, hops: Sequence[CheckedHop | None]) -> Collection[int]:
        """The indexes of the hops that one request may probe."""
        now = self._clock()
        return {i for i, hop in enumerate(hops) if hop is not None and may_try(self._of(hop), now)}

    def may_try(self, hop: CheckedHop) -> bool:
        """Whether one request may probe the hop; if so, its attempt has begun."""
        breaker = self._of(hop)
        if not may_try(breaker, self._clock()):
            return False
        self._breakers[hop.address] = tried(breaker)
        return True

    def ended(self, hop: CheckedHop, outcome: str, *, trial: bool, fair: bool) -> bool:
        """Records how a hop ended: `ok`, `late`, `failed` or without a result.

        Returns whether this is news.
        """
        breaker = self._breakers.get(hop.address)
        if outcome == "ok":
            if breaker is not None:
                self._breakers.pop(hop.address)
                if not breaker.closed:
                    _log.info("%s responds again", hop.address)
                    self._on_change()
            return False
        if outcome not in ("late", "failed") or not fair:
            if breaker is not None and trial:
                self._breakers[hop.address] = abandoned(breaker)
            return False
        after = failed(breaker or CLOSED, self._clock(), late=outcome == "late", trial=trial)
        self._breakers[hop.address] = after
        news = breaker is None or (breaker.closed and not after.closed)
        if news and not after.closed:
            self._release(hop)
            self._on_change()
            if hop.address not in self._checks:
                self._checks[hop.address] = asyncio.create_task(self._check(hop))
        return news

    def measured(self, bandwidth: float | None) -> None:
        """Records a measurement of the link."""
        if bandwidth is not None and self._breakers:
            now = self._clock()
            self._breakers = {a: seen(b, bandwidth, now) for a, b in self._breakers.items()}

    def recovered(self) -> None:
        """Records that the link is up again: failures while it was down no longer count."""
        self._breakers.clear()

    def keep_only(self, addresses: Collection[str]) -> None:
        """Drops the breakers of hops that no table uses any more."""
        for address in self._breakers.keys() - addresses:
            del self._breakers[address]
            if (check := self._checks.pop(address, None)) is not None:
                check.cancel()

    def close(self) -> None:
        """Ends all checks."""
        for task in self._checks.values():
            task.cancel()

    def _release(self, hop: CheckedHop) -> None:
        # Spread over time: if all were released at once they would delay each other, even the oldest.
        turn = asyncio.get_running_loop().time()
        for limit, expected in self._waiting.get(hop.address, {}).items():
            if not limit.expired():
                turn += _STAGGER
                limit.reschedule(max(turn, expected))

    def _of(self, hop: CheckedHop) -> Breaker:
        return self._breakers.get(hop.address, CLOSED)

    async def _check(self, hop: CheckedHop) -> None:
        """Checks the hop while its breaker is open: one check at a time, none while the link is down."""
        loop = asyncio.get_running_loop()
        try:
            while not self._of(hop).closed:
                begun = loop.time()
                if not hop.linked or self._reachable():
                    healthy = await hop.healthy(CHECK_WITHIN)
                    before = self._of(hop)
                    if before.closed:
                        return
                    after = self._breakers[hop.address] = checked(before, healthy=healthy, now=self._clock())
                    if healthy and before.silent:
                        _log.info("%s is healthy again: the next request tries it", hop.address)
                    if after != before:
                        self._on_change()
                await asyncio.sleep(max(begun + CHECK_EVERY - loop.time(), 0.05))
        finally:
            if self._checks.get(hop.address) is asyncio.current_task():
                del self._checks[hop.address]
