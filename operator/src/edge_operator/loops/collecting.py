"""Unloads the installation's models that no table has used for a while, wherever they came from."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from edge_operator.clients import Clients
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_operator.errors import TritonBusyError, TritonError
from edge_operator.keys import TailKey
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.residency import in_use, servers
from edge_operator.tritons.tail_models import former_service, is_ours, may_be_ours

GRACE = 30.0
"""Seconds that a tail stays loaded after the last table that names it, for requests in flight."""


@dataclass
class Collector:
    """Looks at Triton servers again and again. After a restart, only the grace periods begin again.

    scope: the watched namespace; None: all. addresses: servers that may hold models of the installation.
    """

    clients: Clients
    owner: str
    scope: str | None
    addresses: frozenset[str] = frozenset()
    emptied: frozenset[str] = frozenset()
    """Servers that no pool lists any more and that had no model of the installation at the last look."""
    _since: dict[TailKey, float] = field(default_factory=dict)
    _foreign: set[TailKey] = field(default_factory=set)

    def collect(
        self,
        listed: Iterable[str],
        now: float,
        expected: Collection[TailKey] = (),
        former: Iterable[str] = (),
    ) -> dict[str, frozenset[str] | None]:
        """Returns the models of each server, None for one that does not respond; busy ones are left out.

        listed: the servers of the pools. expected: tails that are known to be in use; Placements are listed
        only if there are others. former: servers that left a pool, as the statuses of the pools have them.
        """
        current = frozenset(listed)
        self.addresses = servers(self.addresses | frozenset(former), current)
        found: dict[str, frozenset[str] | None] = {}
        busy: set[str] = set()
        for address in sorted(self.addresses):
            try:
                found[address] = self.clients.triton.ready(address)
            except TritonBusyError:
                busy.add(address)
            except TritonError:
                found[address] = None
        self._unload({address: names for address, names in found.items() if names is not None}, expected, now)
        empty = {
            address
            for address, names in found.items()
            if names is not None
            and not any(
                may_be_ours(name, self.owner) and TailKey(address, name) not in self._foreign
                for name in names
            )
        }
        self.emptied = frozenset(empty - current)
        self.addresses = current | (self.addresses - empty)
        return found

    def _unload(self, ready: dict[str, frozenset[str]], expected: Collection[TailKey], now: float) -> None:
        loaded = {TailKey(address, name) for address, names in ready.items() for name in names}
        self._foreign &= loaded
        known = {(server_of(address), name) for address, name in expected}
        idle = {
            tail
            for tail in loaded - self._foreign
            if may_be_ours(tail.name, self.owner) and (server_of(tail.address), tail.name) not in known
        }
        if idle:
            placements = self.clients.cluster.find(PLACEMENTS, self.scope)
            used = {(server_of(address), name) for address, name in in_use(placements)}
            idle = {
                tail
                for tail in idle
                if (server_of(tail.address), tail.name) not in used
                and tail.name not in self.clients.admitted.held(server_of(tail.address))
            }
        away = {tail: since for tail, since in self._since.items() if tail.address not in ready}
        self._since = away | {tail: self._since.get(tail, now) for tail in idle}
        for tail in sorted(idle):
            if now - self._since[tail] < GRACE:
                continue
            try:
                if self._is_ours(tail):
                    self.clients.triton.unload(*tail)
                else:
                    self._foreign.add(tail)
            except TritonError:
                continue  # tried again at the next look
            del self._since[tail]

    def _is_ours(self, tail: TailKey) -> bool:
        """Reads the model's mark; a previous version's tail must name a service of this cluster."""
        if not is_ours(tail.name, self.clients.triton.parameters(*tail), self.owner):
            return False
        former = former_service(tail.name)
        if former is None or tail.name.startswith(f"edge-{self.owner}-"):
            return True
        bodies = self.clients.cluster.find(INFERENCE_SERVICES, self.scope)
        return former in {f"{body['metadata']['namespace']}-{body['metadata']['name']}" for body in bodies}
