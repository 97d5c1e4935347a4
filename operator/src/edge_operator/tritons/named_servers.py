"""Which Triton servers pools name: those that they list, and former ones that may still have tails. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edge_operator.cluster import Object
from edge_operator.tritons.control_checks import control_endpoints
from edge_operator.tritons.former_servers import KEPT, former_addresses
from edge_operator.tritons.residency import pool_addresses, servers

Addresses = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class NamedServers:
    """Addresses of servers by the name of the pool.

    former: as the statuses of the pools have them. endpoints: at which model control is checked, by the
    pool's name and the server's address.
    """

    listed: Addresses = field(default_factory=lambda: MappingProxyType({}))
    former: Addresses = field(default_factory=lambda: MappingProxyType({}))
    endpoints: Mapping[str, Addresses] = field(default_factory=lambda: MappingProxyType({}))

    def with_pool(self, pool: Object) -> "NamedServers":
        """Returns the servers after a pool was created or changed."""
        name = pool["metadata"]["name"]
        return NamedServers(
            MappingProxyType({**self.listed, name: pool_addresses(pool)}),
            MappingProxyType({**self.former, name: former_addresses(pool)}),
            MappingProxyType({**self.endpoints, name: control_endpoints(pool)}),
        )

    def without_pool(self, name: str) -> "NamedServers":
        """Returns the servers after a pool was deleted."""
        endpoints = {pool: each for pool, each in self.endpoints.items() if pool != name}
        return NamedServers(
            _without(self.listed, name), _without(self.former, name), MappingProxyType(endpoints)
        )

    @property
    def all_listed(self) -> frozenset[str]:
        """The servers that a pool lists."""
        return _union(self.listed)

    def control(self, address: str) -> frozenset[str]:
        """Returns the endpoints of a listed server at which model control is checked."""
        return frozenset[str]().union(*(each.get(address, ()) for each in self.endpoints.values()))

    def names(self, address: str) -> bool:
        """Whether a pool lists a server, or its status has it as a former one."""
        return address in self.all_listed or address in _union(self.former)

    def pools(self, address: str) -> frozenset[str]:
        """Returns the pools that name a server."""
        named = (self.listed, self.former)
        return frozenset(name for by_pool in named for name, found in by_pool.items() if address in found)

    def unnamed(self, known: Iterable[str], before: Mapping[str, float], now: float) -> dict[str, float]:
        """Returns since when no pool names known servers, in seconds. before: as of the last change."""
        return {address: before.get(address, now) for address in known if not self.names(address)}

    def watched(
        self, known: Collection[str], unnamed: Mapping[str, float], emptied: Collection[str], now: float
    ) -> frozenset[str]:
        """Returns the servers to look at. known: those that were until now. unnamed: see above.

        A server that no pool names is left once it is emptied of tails, or after a week. One that is listed
        with another scheme now is looked at only by the listed address.
        """
        week = KEPT.total_seconds()
        left = {address for address, since in unnamed.items() if address in emptied or now - since >= week}
        return servers(_union(self.former) | (frozenset(known) - left), self.all_listed)


def _union(by_pool: Addresses) -> frozenset[str]:
    return frozenset[str]().union(*by_pool.values())


def _without(by_pool: Addresses, name: str) -> Addresses:
    return MappingProxyType({pool: found for pool, found in by_pool.items() if pool != name})
