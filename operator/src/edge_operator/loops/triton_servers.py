"""One loop for each address of a Triton server that pools name, or that may have tails of the installation.

A loop starts when a pool first names the address. It ends when no pool lists it, no status has it as a former
server, and none of the installation's models is loaded there; or when it has not been named for a week. Only
the replica that leads runs loops, and its Triton client unloads nothing without the Lease.

Cost: one thread for each address; an event of a pool takes time proportional to the addresses.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from edge_operator.cluster import Object
from edge_operator.loops.server_findings import ServerFindings
from edge_operator.loops.triton_server import Looks, Surroundings, TritonServerLoop
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.former_servers import control_secrets
from edge_operator.tritons.named_servers import NamedServers


class Runs(Protocol):
    """A running loop."""

    def cancel(self) -> object: ...
    def done(self) -> bool: ...


def _begun(loop: TritonServerLoop) -> Runs:
    return asyncio.create_task(loop.run(), name=f"Triton at {loop.address}")


class TritonServerLoops:
    """The loops by address. On the event loop only."""

    def __init__(
        self,
        looks: Looks,
        keys: ControlKeys,
        clock: Callable[[], float],
        used: Callable[[str], frozenset[str]],
        server_changed: Callable[[str], None],
        pool_changed: Callable[[str], None],
        *,
        jitter: Callable[[], float] = random.SystemRandom().random,
        begin: Callable[[TritonServerLoop], Runs] = _begun,
    ) -> None:
        """looks: with the API server, since the mirror is not complete after a start.

        used: see `Surroundings`. server_changed: called with the address of a server whose services are to be
        planned. pool_changed: called with the name of a pool whose status is to be written. begin: runs a
        loop.
        """
        self.findings = ServerFindings(clock)
        self.loops: dict[str, TritonServerLoop] = {}
        self.running: dict[str, Runs] = {}
        self._keys, self._clock, self._pool_changed, self._begin = keys, clock, pool_changed, begin
        self._named = NamedServers()
        self._unnamed: dict[str, float] = {}
        """Since when no pool names a server that has a loop, in seconds."""
        self._leads = False
        self._around = Surroundings(
            looks=looks,
            findings=self.findings,
            used=used,
            control=lambda address: self._named.control(address),
            listed=lambda address: address in self._named.all_listed,
            services_concerned=server_changed,
            looked=self._looked,
            clock=clock,
            jitter=jitter,
        )

    def note(self, pool: Object) -> None:
        """Notes the servers of a pool and the Secrets with their keys."""
        self._keys.set_pool(pool["metadata"]["name"], control_secrets(pool))
        self._name(self._named.with_pool(pool))

    def forget(self, pool: str) -> None:
        """Forgets the servers of a pool that is gone; the keys stay, since tails are unloaded with them."""
        self._name(self._named.without_pool(pool))

    def start(self) -> None:
        """Starts the loops: this replica leads."""
        self._leads = True
        self._settle()

    def stop(self) -> None:
        """Ends all loops; looks in threads run to their end."""
        self._leads = False
        for address in list(self.loops):
            self.running[address].cancel()
            self.loops[address].stop()

    def wait(self) -> None:
        """Waits for the looks in threads; blocking."""
        for loop in self.loops.values():
            loop.wait()

    def _name(self, named: NamedServers) -> None:
        if named != self._named:
            self._named = named
            self.findings.emptied -= named.all_listed
            self._settle()

    def _looked(self, address: str, *, changed: bool) -> None:
        if changed:
            for pool in self._named.pools(address):
                self._pool_changed(pool)
        if address in self._unnamed:
            self._settle()

    def _settle(self) -> None:
        """Starts the loops that are missing, and ends those that have nothing left to do."""
        if not self._leads:
            return
        now = self._clock()
        self._unnamed = self._named.unnamed(self.loops, self._unnamed, now)
        watched = self._named.watched(self.loops, self._unnamed, self.findings.emptied, now)
        for address in self.loops.keys() - watched:
            self._end(address)
        for address in sorted(watched - self.loops.keys()):
            self.loops[address] = TritonServerLoop(address, self._around)
            self.running[address] = self._begin(self.loops[address])

    def _end(self, address: str) -> None:
        self.running.pop(address).cancel()
        self.loops.pop(address).stop()
        self._unnamed.pop(address, None)
        self.findings.forget(address)
