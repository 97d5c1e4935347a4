"""Protects DevicePools and Tenants that services use from their deletion: see `pool.protection`.

Cost: one write for each new object. While nothing is being deleted, events of services cost nothing. While
an object is being deleted and in use, all services are looked through for it, once for all changes of 0.3 s,
with one request about its CustomResourceDefinition.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Final, NamedTuple

from edge_operator.clients import Clock
from edge_operator.cluster import CRDS, DEVICE_POOLS, INFERENCE_SERVICES, Cluster, Kind
from edge_operator.conditions import Finding
from edge_operator.errors import WriteConflictError
from edge_operator.loops.workqueue import WorkQueue
from edge_operator.names import GROUP, in_use_finalizer
from edge_operator.observed import snapshots
from edge_operator.pool.protection import Protection, protection, users
from edge_operator.pool.tenancy import NO_TENANTS

AGAIN: Final = 60.0
"""Seconds after which an object in use is checked again: no event tells that its kind is deleted."""
_TRIES: Final = 5
"""Times that an object is read again whose status is written at the same time."""


class Protected(NamedTuple):
    """A DevicePool or a Tenant."""

    kind: Kind
    name: str


class Protections:
    """When objects are looked at, and which deletions wait. On the event loop only."""

    def __init__(
        self,
        cluster: Cluster,
        scope: str | None,
        clock: Clock,
        threads: Executor,
        changed: Mapping[Kind, Callable[[str], None]],
    ) -> None:
        """cluster: reads the mirror. threads: in which it is called. scope: the watched namespace; None: all.

        changed: called with the name of an object whose condition changed, by its kind.
        """
        self._cluster, self._scope, self._threads, self._changed = cluster, scope, threads, changed
        self._waiting: dict[Protected, Finding] = {}
        self._looked_at = set[Protected]()
        """Objects whose services are being looked through."""
        self._queue: WorkQueue[Protected] = WorkQueue(self._look, clock.monotonic, 1)

    async def run(self) -> None:
        """Protects objects until cancelled."""
        await self._queue.run()

    def wake(self, kind: Kind, name: str) -> None:
        """Handles a change of a DevicePool or a Tenant."""
        self._queue.add(Protected(kind, name), mended=True)

    def users_changed(self) -> None:
        """Handles that a service is gone, or uses something else."""
        for each in self._waiting.keys() | self._looked_at:
            self._queue.add(each, mended=True)

    def finding(self, kind: Kind, name: str) -> Finding | None:
        """Returns the condition InUse; None if no service holds up a deletion."""
        return self._waiting.get(Protected(kind, name))

    async def _look(self, each: Protected) -> float | None:
        call = functools.partial(protect, self._cluster, each, self._scope)
        self._looked_at.add(each)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._looked_at.discard(each)
        before = self._waiting.pop(each, None)
        if found is not None:
            self._waiting[each] = found
        if found != before:
            self._changed[each.kind](each.name)
        return None if found is None else AGAIN


def protect(cluster: Cluster, each: Protected, scope: str | None) -> Finding | None:
    """Adds or removes the finalizer of an object. Returns the condition InUse; None if it does not apply.

    Raises ClusterError.
    """
    for left in reversed(range(_TRIES)):
        decided = _decided(cluster, each, scope)
        if decided.write is None:
            return decided.finding
        try:
            cluster.set_finalizers(each.kind, decided.write.current, list(decided.write.finalizers))
        except WriteConflictError:
            if not left:
                raise
        else:
            break
    return None


def _decided(cluster: Cluster, each: Protected, scope: str | None) -> Protection:
    body = cluster.get(each.kind, None, each.name)
    if body is None:
        return Protection()
    if not body["metadata"].get("deletionTimestamp"):
        return protection(body, (), in_use_finalizer(scope))
    tenancy = NO_TENANTS if each.kind == DEVICE_POOLS else snapshots.tenancy(cluster)
    using = users(each.kind, each.name, cluster.find(INFERENCE_SERVICES, scope), tenancy)
    ends = bool(using) and _ends(cluster, each.kind)
    return protection(body, using, in_use_finalizer(scope), kind_ends=ends)


def _ends(cluster: Cluster, kind: Kind) -> bool:
    """Whether the CustomResourceDefinition of a kind is being deleted, or is gone."""
    found = cluster.fetch(CRDS, None, f"{kind.plural}.{GROUP}")
    return found is None or bool(found["metadata"].get("deletionTimestamp"))
