"""The services of a process that had no requests for a time, but whose sessions are still loaded.

Cost: each service with `spec.idle` looks at itself every 5 s at least; one that is idle compares itself with
the other idle ones of the process.
"""

from __future__ import annotations

from typing import Protocol

from edge_planning.routing.idle import Kept, let_go


class IdleService(Protocol):
    """A service that may be idle."""

    @property
    def idle_since(self) -> float | None:
        """The second of its last request if it is idle with loaded sessions; None if not."""

    @property
    def held_bytes(self) -> int:
        """Bytes of its sessions."""

    def let_go(self) -> None:
        """Lets go of its sessions."""


class IdleServices:
    """Those that were idle when they were last asked."""

    def __init__(self) -> None:
        self._services: set[IdleService] = set()

    def keep(self, service: IdleService, memory: int) -> None:
        """Keeps an idle service loaded, unless the idle ones together hold more than `memory` bytes."""
        self._services.add(service)
        kept = [
            Kept(each, since, each.held_bytes)
            for each in self._services
            if (since := each.idle_since) is not None
        ]
        for each in let_go(kept, memory):
            each.let_go()
            self._services.discard(each)

    def drop(self, service: IdleService) -> None:
        """Forgets a service that is in use, or that is gone."""
        self._services.discard(service)
