"""Writes the status of Tenants: what each has of every pool, as the pools' loops plan it.

Changes are collected for a second, since the plans of several pools come in groups. Cost: a turn computes the
status of every Tenant, and writes those that differ.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping

from edge_operator.clients import Clients, Clock
from edge_operator.cluster import DEVICE_POOLS, TENANTS
from edge_operator.conditions import Finding
from edge_operator.effects.executor import API_SERVER, FAILED, Action
from edge_operator.effects.writes import Written, write
from edge_operator.loops.shared import Submits
from edge_operator.loops.tenant_metrics import measure
from edge_operator.observed import snapshots
from edge_operator.pool.actions import SetStatus
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.tenancy import Tenancy
from edge_operator.pool.tenant_status import Shares, reported
from edge_planning.pools import PoolShare

COLLECT = 1.0
"""Seconds for which changes are collected."""


class TenantReports:
    """The shares that the pools' plans give to tenants. On the event loop only."""

    def __init__(
        self,
        clients: Clients,
        clock: Clock,
        executor: Submits,
        in_use: Callable[[str], Finding | None] = lambda _tenant: None,
    ) -> None:
        """in_use: returns the condition InUse of a Tenant; None unless its deletion waits for services."""
        self.clients, self.clock, self.executor, self.in_use = clients, clock, executor, in_use
        self._planned: dict[str, Mapping[str, PoolShare]] = {}
        self._woken = asyncio.Event()
        self._tenancy: Tenancy | None = None
        """None: it has to be read again."""
        self._measured: frozenset[str] = frozenset()
        """Tenants with metrics."""

    def planned(self, pool: str, plan: PoolPlan) -> None:
        """Handles a plan of a pool."""
        if plan.joint is None or plan.joint.pool is None:
            return
        shares = {one.name: one for one in plan.joint.plan.plan.tenants}
        if self._planned.get(pool) != shares:
            self._planned[pool] = shares
            self.wake()

    def forget(self, pool: str) -> None:
        """Forgets a pool that is gone."""
        if self._planned.pop(pool, None) is not None:
            self.wake()

    def tenants_changed(self) -> None:
        """Handles a change of a Tenant, or of the labels of a namespace."""
        self._tenancy = None
        self.wake()

    def wake(self) -> None:
        """Has all Tenants reported on."""
        self._woken.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(COLLECT)
            try:
                self.report()
            except Exception:
                logging.getLogger(__name__).exception("reporting on tenants failed")

    def report(self) -> None:
        """Writes the status of every Tenant for which it changed."""
        self._woken.clear()
        reads = self.clients.cluster
        if self._tenancy is None:
            self._tenancy = snapshots.tenancy(reads)
        shares = Shares(self._planned, self._pools())
        for body in reads.find(TENANTS):
            name = body["metadata"]["name"]
            status = reported(body, self._tenancy, shares, self.clock.wall(), self.in_use(name))
            if status is not None:
                self._submit(name, status)
        weights = {name: float(spec.fair_sharing.weight) for name, spec in self._tenancy.specs.items()}
        self._measured = measure(self._planned.values(), weights, self._measured)

    def _pools(self) -> frozenset[str]:
        return frozenset(body["metadata"]["name"] for body in self.clients.cluster.find(DEVICE_POOLS))

    def _submit(self, name: str, status: SetStatus) -> None:
        call: Callable[[], Written] = functools.partial(write, self.clients.cluster, (status,))
        self.executor.submit(Action(API_SERVER, ("tenant", name), call, _again, self.wake))


def _again(done: Written) -> float | None:
    return None if done.as_wanted else FAILED
