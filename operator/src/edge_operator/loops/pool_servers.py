"""The Triton servers of all pools: which there are, what they have loaded, whether their control is open."""

from collections.abc import Collection
from typing import NamedTuple

from edge_operator.clients import Clients
from edge_operator.cluster import Cluster, Object
from edge_operator.keys import TailKey
from edge_operator.loops.collecting import Collector
from edge_operator.settings import Settings
from edge_operator.store import Store
from edge_operator.tritons.admitted import Admitted
from edge_operator.tritons.control_checks import ControlChecks
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.former_servers import control_secrets, former_addresses
from edge_operator.tritons.lanes import Lanes
from edge_operator.tritons.residency import pool_addresses
from edge_operator.tritons.server_profiles import ServerProfiles
from edge_operator.tritons.triton import Triton


def connected(cluster: Cluster, store: Store, triton: Triton) -> Clients:
    """Returns the clients of a reconcile, with a lane for each Triton server."""
    lanes, admitted = Lanes(triton), Admitted()
    return Clients(cluster, store, lanes, admitted, ServerProfiles(lanes, store, admitted))


class Look(NamedTuple):
    """The models of each server, None for one that does not respond, and the pools whose status changes."""

    models: dict[str, frozenset[str] | None]
    pools: frozenset[str]


class PoolServers:
    """Servers by pool, with those that left it and may still have tails."""

    def __init__(
        self, clients: Clients, settings: Settings, scope: str | None, keys: ControlKeys | None = None
    ) -> None:
        """clients: with the API server, since the mirror is not complete after a start. scope: None: all."""
        self._collector = Collector(clients, settings.installation, scope)
        self._controls = ControlChecks(clients.triton)
        self._keys = keys or ControlKeys(clients.cluster, settings.namespace)
        self._listed: dict[str, frozenset[str]] = {}
        self._former: dict[str, frozenset[str]] = {}

    def __contains__(self, pool: str) -> bool:
        return pool in self._listed

    @property
    def observed(self) -> tuple[frozenset[str], dict[str, bool]]:
        """Former servers without tails of ours, and whether servers accept model control without a key."""
        return self._collector.emptied, self._controls.open

    def note(self, pool: Object) -> None:
        """Notes the servers of a pool and the Secrets with their keys."""
        name = pool["metadata"]["name"]
        self._listed[name], self._former[name] = pool_addresses(pool), former_addresses(pool)
        self._keys.set_pool(name, control_secrets(pool))

    def forget(self, pool: str) -> None:
        """Forgets the servers of a pool that is gone; the keys stay, since tails are unloaded with them."""
        self._listed.pop(pool, None)
        self._former.pop(pool, None)

    def look(self, now: float, used: Collection[TailKey]) -> Look:
        """Unloads unused tails and checks model control. Waits for each server. used: tails in use."""
        listed, former = dict(self._listed), dict(self._former)
        addresses = frozenset[str]().union(*listed.values())
        left = frozenset[str]().union(*former.values())
        models = self._collector.collect(addresses, now, used, left)
        changed = self._controls.check(addresses, now)
        pools = {name for name, servers in listed.items() if servers & changed}
        pools |= {name for name, servers in former.items() if servers & self._collector.emptied}
        return Look(models, frozenset(pools))
