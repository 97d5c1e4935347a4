"""Has the unit installed on the nodes of groups with survivesReboot, and removed from others.

Cost: after a change of a pool, a node or such a Job, all nodes are compared with all pools, from the mirror;
nothing if no pool has ever asked for units. A node costs one Job to install the unit, and one to remove it.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from types import MappingProxyType
from typing import Final, NamedTuple

from edge_operator import metrics
from edge_operator.clients import Clock
from edge_operator.cluster import DEVICE_POOLS, JOBS, NAMESPACES, NODES, PODS, Cluster
from edge_operator.conditions import Finding
from edge_operator.errors import ObjectRefusedError, WriteConflictError
from edge_operator.loops.workqueue import WorkQueue
from edge_operator.names import ROLE_LABEL, UNIT_JOB
from edge_operator.ownership import claim_of, from_the_oldest
from edge_operator.pool.host_units import Seen, UnitActions, decide
from edge_operator.pool_nodes import node_of
from edge_operator.settings import Settings

REFUSED: Final = 30.0
"""Seconds after which what the API server refused is tried again."""
_JOBS: Final = f"{ROLE_LABEL}={UNIT_JOB}"
_NOTHING: Final[Mapping[str, Finding]] = MappingProxyType({})


class _All(NamedTuple):
    """The key of the queue: one run decides on all nodes."""


class HostUnits:
    """When the units are compared with the desired ones, and the findings. On the event loop only."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        clock: Clock,
        threads: Executor,
        changed: Callable[[str], None],
    ) -> None:
        """cluster: reads the mirror. threads: in which it is called. changed: told of pools to report."""
        self._cluster, self._settings, self._clock, self._threads = cluster, settings, clock, threads
        self._changed = changed
        self._findings = _NOTHING
        self._queue: WorkQueue[_All] = WorkQueue(self._run_once, clock.monotonic, 1)

    async def run(self) -> None:
        """Compares after each change. Runs until cancelled."""
        self.wake()
        await self._queue.run()

    def wake(self) -> None:
        """Has the units compared."""
        self._queue.add(_All())

    def finding(self, pool: str) -> Finding | None:
        """Returns the condition of a pool; None if its nodes are to have no units."""
        return self._findings.get(pool)

    async def _run_once(self, _: _All) -> float | None:
        call = functools.partial(reconcile_units, self._cluster, self._settings, self._clock)
        found, again = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        before, self._findings = self._findings, found
        for pool in before.keys() | found.keys():
            if before.get(pool) != found.get(pool):
                self._changed(pool)
        return again


def observe(cluster: Cluster, settings: Settings) -> Seen | None:
    """Reads what is decided on; None without a pool that asks for units and without Jobs."""
    claims = from_the_oldest(claim_of(body) for body in cluster.find(DEVICE_POOLS))
    jobs = cluster.find(JOBS, settings.namespace, _JOBS)
    if not jobs and not any(group.survives_reboot for claim in claims for group in claim.groups):
        return None
    nodes = {node.name: node for node in map(node_of, cluster.find(NODES))}
    names = [job["metadata"]["name"] for job in jobs]
    pods = {name: tuple(cluster.find(PODS, settings.namespace, f"job-name={name}")) for name in names}
    namespace = cluster.get(NAMESPACES, None, settings.namespace)
    labels = {} if namespace is None else namespace["metadata"].get("labels") or {}
    return Seen(claims, nodes, tuple(jobs), pods, labels)


def reconcile_units(
    cluster: Cluster, settings: Settings, clock: Clock
) -> tuple[Mapping[str, Finding], float | None]:
    """Applies and deletes Jobs. Returns the conditions by pool, and the seconds until the next run, if any.

    Raises ClusterError if the API server does not respond.
    """
    seen = observe(cluster, settings)
    if seen is None:
        metrics.UNIT_FAILURES.set(0)
        return _NOTHING, None
    actions = decide(seen, settings, clock.wall())
    metrics.UNIT_FAILURES.set(actions.failed)
    for node, why in actions.left.items():
        logging.getLogger(__name__).warning("the unit of node %s is not removed: %s", node, why)
    refused = _write(cluster, actions)
    return actions.findings, REFUSED if refused and actions.again is None else actions.again


def _write(cluster: Cluster, actions: UnitActions) -> bool:
    """Writes; returns whether the API server refused something or it has to be decided on again."""
    refused = False
    for body in actions.apply:
        try:
            cluster.apply(body)
        except (ObjectRefusedError, WriteConflictError) as error:
            refused = True
            logging.getLogger(__name__).warning("%s", error)
    for body in actions.delete:
        metadata = body["metadata"]
        try:
            cluster.delete(JOBS, metadata["namespace"], metadata["name"], body)
        except (ObjectRefusedError, WriteConflictError) as error:
            refused = True
            logging.getLogger(__name__).warning("%s", error)
    return refused
