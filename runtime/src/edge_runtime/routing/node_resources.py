"""What the services of a process share: the inference queue, loaded slices, links, connections and breakers.

Each resource lives as long as any service needs it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Collection

from edge_planning.routing.batches import LARGEST
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.idle_services import IdleServices
from edge_runtime.inference.runners import STUCK_AFTER, Runner
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.links.registry import LinkRegistry
from edge_runtime.metrics import ProcessMetrics
from edge_runtime.routing.breaker_registry import BreakerRegistry
from edge_runtime.routing.slice_loading import SliceLoader

Needs = Callable[[], Awaitable[set[str]]]
InUse = Callable[[], set[str]]


class NodeResources:
    """The resources of one process. `metrics` are those of the process, not of a service."""

    def __init__(
        self,
        loader: SliceLoader,
        resolver: Resolver,
        metrics: ProcessMetrics | None = None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        tls: ssl.SSLContext | None = None,
        max_batch: int = LARGEST,
        stuck_after: float = STUCK_AFTER,
    ) -> None:
        self.loader, self.clock = loader, clock
        self.metrics = metrics or ProcessMetrics("")
        self.runner = Runner(largest=max_batch, clock=clock, stuck_after=stuck_after)
        self.metrics.running(lambda: self.runner.running)
        self.metrics.slowdown(lambda: self.runner.slowdown)
        self.metrics.spare(lambda: self.runner.spare)
        self.breakers = BreakerRegistry(clock)
        self.links = LinkRegistry(resolver, clock, self._measured, self.metrics.probe, tls)
        self.clients = HopClients(resolver, tls)
        self.idle = IdleServices()
        self._needs: dict[object, tuple[Needs, InUse]] = {}
        self._cleaning, self._unclean = asyncio.Lock(), False

    def hold_slices(self, user: object, needs: Needs, in_use: InUse = set) -> None:
        """Registers the digests that a user needs on the disk. in_use: those that it loads or serves now."""
        self._needs[user] = needs, in_use

    def release_slices(self, user: object) -> None:
        """Registers that a user needs none any more."""
        self._needs.pop(user, None)

    async def clean_disk(self) -> None:
        """Removes slices from the disk that no user needs. Calls that wait for another one share the next."""
        self._unclean = True
        async with self._cleaning:
            if not self._unclean:
                return
            self._unclean = False
            try:
                needed: set[str] = set()
                for needs, _ in list(self._needs.values()):
                    needed |= await needs()
                # Also what was fetched while others were still reading their files.
                for _, in_use in self._needs.values():
                    needed |= in_use()
                await self.loader.keep_only(needed)
            except BaseException:
                self._unclean = True
                raise

    async def close(self) -> None:
        """Stops measuring and closes connections. Requests in flight must have ended before."""
        self.breakers.close()
        self.runner.close()
        await self.links.close()
        self.clients.close()
        self.loader.close()

    def _measured(self, link: LinkMonitor, *, recovered: bool) -> None:
        if recovered:
            self.breakers.recovered(link.spec.peer)
        self.breakers.measured(link.spec.peer, link.view().bandwidth)


class HopClients:
    """One client for each address, which all hops to it share."""

    def __init__(self, resolver: Resolver, tls: ssl.SSLContext | None) -> None:
        self._resolver, self._tls = resolver, tls
        self._clients: dict[str, HttpClient] = {}
        self._users: dict[object, frozenset[str]] = {}

    def client(self, address: str) -> HttpClient:
        """Returns the client of an address."""
        found = self._clients.get(address)
        if found is None:
            found = self._clients[address] = HttpClient(address, self._resolver, tls=self._tls)
        return found

    def keep(self, user: object, addresses: Collection[str]) -> None:
        """Replaces the addresses that a user needs, and closes clients that no user needs any more."""
        before = self._users.pop(user, frozenset())
        if addresses:
            self._users[user] = frozenset(addresses)
        needed = frozenset[str]().union(*self._users.values())
        for address in before - needed:
            if (client := self._clients.pop(address, None)) is not None:
                client.close()

    def close(self) -> None:
        """Closes idle connections."""
        for client in self._clients.values():
            client.close()
