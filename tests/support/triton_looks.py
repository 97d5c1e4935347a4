"""Looks at Triton servers without tasks and threads: a test takes each of them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from edge_operator.cluster import DEVICE_POOLS, PLACEMENTS
from edge_operator.effects.server_looks import Look, ServerLooks
from edge_operator.loops.triton_servers import TritonServerLoops
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.residency import needed
from edge_operator.tritons.unused_tails import UnusedTails

World = Any  # tests/operator/conftest.py


class _Held:
    """Stands for the task of a loop."""

    def cancel(self) -> None:
        pass

    def done(self) -> bool:
        return False


@dataclass
class _Looks:
    """Looks at servers with the clients that the world has now."""

    world: World

    @property
    def owner(self) -> str:
        return str(self.world.settings.installation)

    def look(
        self,
        address: str,
        before: UnusedTails,
        used: frozenset[str],
        now: float,
        *,
        control: Collection[str] = (),
    ) -> Look:
        looks = ServerLooks(self.world.clients, self.owner, None)
        return looks.look(address, before, used, now, control=control)


class TritonLooks:
    """The loops of all Triton servers of a world. changed_pools: whose status is to be written."""

    def __init__(self, world: World) -> None:
        self.world, self.changed_pools = world, list[str]()
        self.loops = TritonServerLoops(
            _Looks(world),
            ControlKeys(world.cluster, world.settings.namespace, lambda: world.now),
            lambda: float(world.now),
            self._used,
            self._server_changed,
            self.changed_pools.append,
            begin=lambda _: _Held(),
        )
        self.loops.start()
        self._pools = set[str]()

    def take(self) -> None:
        """Takes one look at each server that pools name, or that may have tails."""
        pools = {body["metadata"]["name"]: body for body in self.world.cluster.find(DEVICE_POOLS)}
        for name in self._pools - pools.keys():
            self.loops.forget(name)
        for body in pools.values():
            self.loops.note(body)
        self._pools = set(pools)
        for address in sorted(self.loops.loops):
            loop = self.loops.loops[address]
            loop.looked(loop.next_look()())

    def _used(self, server: str) -> frozenset[str]:
        """The tails in use, as if a watch had reported all Placements."""
        used = needed(self.world.cluster.find(PLACEMENTS))
        return frozenset(name for address, name in used if server_of(address) == server)

    def _server_changed(self, address: str) -> None:
        for loop in self.world.loops.values():
            loop.server_changed(address)
