"""The loop over the Triton servers of all pools: what they have loaded, and whether they respond.

Cost: one request to each server every LOOK seconds, and one for each tail that is seen for the first time.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Protocol

from edge_operator.keys import TailKey
from edge_operator.loops.pool_servers import Look
from edge_operator.pool.server_availability import Availability
from edge_operator.tritons.addresses import server_of

LOOK = 10.0
"""Seconds between two looks at a server."""


class Observes(Protocol):
    """What a look finds besides models: emptied former servers, and which accept model control."""

    @property
    def observed(self) -> tuple[frozenset[str], dict[str, bool]]: ...


class Looks(Observes, Protocol):
    """The servers of all pools."""

    def look(self, now: float, used: Collection[TailKey]) -> Look: ...


class Servers:
    """What is known of the servers. On the event loop only."""

    def __init__(self, servers: Observes, clock: Callable[[], float]) -> None:
        self._servers, self._clock = servers, clock
        self.loaded: Mapping[str, frozenset[str]] = MappingProxyType({})
        """Tails that were seen to have their content, by address."""
        self.availability = Availability()

    @property
    def emptied(self) -> frozenset[str]:
        """Servers that no pool lists any more and that have no tails of the installation."""
        return self._servers.observed[0]

    @property
    def control_open(self) -> Mapping[str, bool]:
        """Whether servers accept model control without a key, as far as they were checked."""
        return dict(self._servers.observed[1])

    def loaded_at(self, address: str, names: Collection[str]) -> None:
        """Notes tails that have their content."""
        if names:
            now = self.loaded.get(address, frozenset()) | frozenset(names)
            self.loaded = MappingProxyType({**self.loaded, address: now})

    def looked(self, look: Look) -> frozenset[str]:
        """Notes a look. Returns the servers that lost tails, stopped responding, or respond again."""
        before, changed, loaded = self.availability, set[str](), dict(self.loaded)
        self.availability = before.noted(look.models, self._clock())
        for address, models in look.models.items():
            responded = before.since.get(address)
            if responded is not None and responded[0] is not (models is not None):
                changed.add(address)
            for known in [each for each in loaded if server_of(each) == server_of(address)]:
                left = loaded[known] & (models or frozenset())
                if left != loaded[known]:
                    loaded[known] = left
                    changed.add(known)
        self.loaded = MappingProxyType(loaded)
        return frozenset(changed)

    async def run(
        self,
        looks: Looks,
        used: Callable[[], Collection[TailKey]],
        server_changed: Callable[[str], None],
        pool_changed: Callable[[str], None],
    ) -> None:
        """Looks at all servers until cancelled. used: tails that are known to be in use."""
        while True:
            await asyncio.sleep(LOOK)
            call = functools.partial(looks.look, self._clock(), used())
            try:
                look = await asyncio.to_thread(call)
            except Exception:
                logging.getLogger(__name__).exception("looking at the Triton servers failed")
                continue
            for address in self.looked(look):
                server_changed(address)
            for pool in look.pools:
                pool_changed(pool)
