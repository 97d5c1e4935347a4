"""Where the other services of the namespace run, for requests that reach the wrong node.

Only the Placements of this node are watched: those of a thousand nodes, each with its status, would cost more
on a thin uplink than the inferences. A service of another node is looked up when it is first requested.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from zlib import crc32

from edge_runtime.errors import NotFound, NotReady, Overloaded, Unreachable

MARKER: Final = "edge-forwarded"
"""Name of the header, or metadata key, of a forwarded request. Such a request is not forwarded again."""
WITHIN: Final = 30.0
"""Seconds for a forwarded request without a timeout."""
TRIES: Final = 2
"""Nodes that one request tries at most, if the first cannot be reached."""

_FRESH: Final = 30.0  # seconds for which known nodes are used without a look-up
_FRESH_UNKNOWN: Final = 5.0
_MOST: Final = 256  # services that are remembered
_PER_MINUTE: Final = 60  # look-ups: names that do not exist must not become load of the API server
_AVOIDED: Final = 5.0  # seconds for which a node that could not be reached is tried last
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

NodesOf = Callable[[str], Awaitable[list[str]]]


class PeerPorts(NamedTuple):
    """Ports with TLS for requests of other nodes."""

    http: int
    grpc: int


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of the runtimes of a namespace. All listen on the ports of this one.

    tls: whether this runtime has certificates. peers: its ports for other nodes; None if all its ports have
    TLS. ready: the runtimes that have such ports already, by the names of their Services; others are of an
    earlier version and are reached at the ports for clients.
    """

    namespace: str
    domain: str
    http_port: int
    grpc_port: int
    tls: bool = False
    peers: PeerPorts | None = None
    ready: Container[str] = ()

    def url(self, runtime: str) -> str:
        """Returns the URL of a runtime by the name of its Service."""
        scheme = "https" if self.secured(runtime) else "http"
        return f"{scheme}://{self._host(runtime)}:{self._ports(runtime).http}"

    def target(self, runtime: str) -> str:
        """Returns its gRPC target."""
        return f"{self._host(runtime)}:{self._ports(runtime).grpc}"

    def secured(self, runtime: str) -> bool:
        """Returns whether it is reached by TLS."""
        return self.tls and (self.peers is None or runtime in self.ready)

    def _ports(self, runtime: str) -> PeerPorts:
        if self.peers is not None and self.secured(runtime):
            return self.peers
        return PeerPorts(self.http_port, self.grpc_port)

    def _host(self, runtime: str) -> str:
        return f"{runtime}.{self.namespace}.svc.{self.domain}"


@dataclass(frozen=True, slots=True)
class _Known:
    """The nodes of a service, as they were at `looked_up`; they are used until `until`, then looked up."""

    nodes: Sequence[str]
    looked_up: float
    until: float


class ServiceNodes:
    """The nodes of each requested service, in the order in which this node tries them.

    Each is known by the name of its runtime's Service. nodes_of: looks them up; raises Unreachable.
    """

    def __init__(self, node: str, nodes_of: NodesOf, clock: Callable[[], float] = time.monotonic) -> None:
        self._node, self._nodes_of, self._clock = node, nodes_of, clock
        self._known: dict[str, _Known] = {}
        self._running: dict[str, asyncio.Task[Sequence[str]]] = {}
        self._lookups: deque[float] = deque(maxlen=_PER_MINUTE)
        self._avoided: dict[str, float] = {}

    async def of(self, service: str) -> Sequence[str]:
        """Returns the other nodes that serve a service; none if it is unknown.

        Raises NotReady if they cannot be looked up, or if only this node is to serve it, whose Placement has
        not arrived yet, and Overloaded after too many look-ups.
        """
        if not _NAME.fullmatch(service):
            return ()
        now = self._clock()
        known = self._known.get(service)
        nodes = known.nodes if known is not None else ()
        if known is None or now >= known.until:
            nodes = await self._refreshed(service, nodes)
        others = [node for node in nodes if node != self._node]
        if nodes and not others:
            raise NotReady(f'model "{service}" is placed here, but its Placement has not arrived yet: retry')
        return sorted(others, key=lambda node: (self._avoided.get(node, 0.0) > now, self._order(node)))

    async def tries(self, service: str) -> AsyncIterator[str]:
        """Yields the nodes that one request tries one after the other. Raises like `of` before the first."""
        tried: list[str] = []
        while len(tried) < TRIES:
            try:
                left = [node for node in await self.of(service) if node not in tried]
            except (NotReady, Overloaded):
                if tried:
                    return
                raise
            if not left:
                return
            tried.append(left[0])
            yield left[0]

    def doubt(self, service: str) -> None:
        """Records that a node does not serve a service that it should: it may have moved. Its nodes are
        looked up for the next try, unless that was done just before.
        """
        known = self._known.get(service)
        if known is not None:
            until = max(self._clock(), known.looked_up + _FRESH_UNKNOWN)
            self._known[service] = replace(known, until=min(known.until, until))

    def unreachable(self, node: str) -> None:
        """Records that a node could not be reached: others are tried first for a while."""
        self._avoided[node] = self._clock() + _AVOIDED

    async def _refreshed(self, service: str, stale: Sequence[str]) -> Sequence[str]:
        task = self._running.get(service)
        if task is None:
            now = self._clock()
            if len(self._lookups) == _PER_MINUTE and now - self._lookups[0] < 60.0:
                if stale:
                    return stale
                raise Overloaded(
                    f'model "{service}" is not served here, and {_PER_MINUTE} other services were looked up '
                    "within a minute: retry in 10 s",
                    10,
                )
            self._lookups.append(now)
            task = self._running[service] = asyncio.create_task(self._look_up(service))
        try:
            return await asyncio.shield(task)
        except Unreachable as error:
            if stale:
                return stale
            raise NotReady(
                f'model "{service}" is not served here, and its nodes are not known: {error}'
            ) from error

    async def _look_up(self, service: str) -> Sequence[str]:
        try:
            nodes = await self._nodes_of(service)
        except NotFound as error:
            raise Unreachable(str(error)) from error
        finally:
            self._running.pop(service, None)
        self._known.pop(service, None)
        while len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        now, elsewhere = self._clock(), any(node != self._node for node in nodes)
        self._known[service] = _Known(nodes, now, now + (_FRESH if elsewhere else _FRESH_UNKNOWN))
        return nodes

    def _order(self, node: str) -> int:
        """Spreads the requests of different nodes over the nodes of a service."""
        return crc32(f"{self._node} {node}".encode())
