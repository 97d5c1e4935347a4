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
    def peer(self) -> str:
        """Peer of the measured link that it crosses; empty if it crosses none."""

    @property
    def reachable(self) -> bool:
        """Whether that link is up; True without one."""

    async def healthy(self, within: float) -> bool:
        """Whether it responds to a health check within `within` seconds."""


Listener = Callable[[], None]


class BreakerRegistry:
    """One breaker per address, which all services with hops to it share.

    Their listeners are called when it opens, closes or becomes half open.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._listeners: dict[Listener, frozenset[str]] = {}
        self._breakers: dict[str, Breaker] = {}
        self._peers: dict[str, str] = {}  # of the addresses that have a breaker
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, dict[asyncio.Timeout, float]] = {}

    def watch(self, listener: Listener, addresses: Collection[str]) -> None:
        """Replaces the addresses of a listener. Breakers that no listener watches are dropped."""
        self._listeners[listener] = frozenset(addresses)
        if not addresses:
            del self._listeners[listener]
        watched = frozenset[str]().union(*self._listeners.values())
        for address in self._breakers.keys() - watched:
            self._forget(address)
            if (check := self._checks.pop(address, None)) is not None:
                check.cancel()

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
                self._forget(hop.address)
                if not breaker.closed:
                    _log.info("%s responds again", hop.address)
                    self._changed(hop)
            return False
        if outcome not in ("late", "failed") or not fair:
            if breaker is not None and trial:
                self._breakers[hop.address] = abandoned(breaker)
            return False
        after = failed(breaker or CLOSED, self._clock(), late=outcome == "late", trial=trial)
        self._breakers[hop.address], self._peers[hop.address] = after, hop.peer
        news = breaker is None or (breaker.closed and not after.closed)
        if news and not after.closed:
            self._release(hop)
            self._changed(hop)
            if hop.address not in self._checks:
                self._checks[hop.address] = asyncio.create_task(self._check(hop))
        return news

    def measured(self, peer: str, bandwidth: float | None) -> None:
        """Records a measurement of the link to a peer."""
        if bandwidth is not None and self._breakers:
            now = self._clock()
            for address in self._behind(peer):
                self._breakers[address] = seen(self._breakers[address], bandwidth, now)

    def recovered(self, peer: str) -> None:
        """Records that the link to a peer is up again: failures while it was down no longer count."""
        for address in self._behind(peer):
            self._forget(address)

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

    def _behind(self, peer: str) -> list[str]:
        return [address for address, crossed in self._peers.items() if crossed == peer]

    def _forget(self, address: str) -> None:
        self._breakers.pop(address, None)
        self._peers.pop(address, None)

    def _changed(self, hop: CheckedHop) -> None:
        for listener, addresses in list(self._listeners.items()):
            if hop.address in addresses:
                listener()

    def _of(self, hop: CheckedHop) -> Breaker:
        return self._breakers.get(hop.address, CLOSED)

    async def _check(self, hop: CheckedHop) -> None:
        """Checks the hop while its breaker is open: one check at a time, none while the link is down."""
        loop = asyncio.get_running_loop()
        try:
            while not self._of(hop).closed:
                begun = loop.time()
                if hop.reachable:
                    healthy = await hop.healthy(CHECK_WITHIN)
                    before = self._of(hop)
                    if before.closed:
                        return
                    after = self._breakers[hop.address] = checked(before, healthy=healthy, now=self._clock())
                    if healthy and before.silent:
                        _log.info("%s is healthy again: the next request tries it", hop.address)
                    if after != before:
                        self._changed(hop)
                await asyncio.sleep(max(begun + CHECK_EVERY - loop.time(), 0.05))
        finally:
            if self._checks.get(hop.address) is asyncio.current_task():
                del self._checks[hop.address]
