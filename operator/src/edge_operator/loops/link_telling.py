"""Writes to Placements who measures each link and what was measured: see `nodes.link_measuring`.

Cost: for an event of a Placement, its fingerprint. If a link's values, a spec, an annotation or the readiness
of a runtime changed, the Placements of that node are compared, once for all changes of 3 s. Each of them that
is to know something else costs one request. While nothing changes, values are renewed before they end: at
most 10 requests a minute, whatever the number of nodes. With 10,000 services at 1,000 nodes, a link that
changed costs the 10 Placements of its node; the other nodes cost nothing.
"""

import asyncio
import functools
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple

from edge_api.told_links import LINKS_ANNOTATION
from edge_operator.clients import Clock
from edge_operator.cluster import DEPLOYMENTS, PLACEMENTS, Cluster
from edge_operator.errors import ClusterError, WriteConflictError
from edge_operator.loops.workqueue import WorkQueue
from edge_operator.names import NODE_LABEL
from edge_operator.nodes.link_measuring import renewal, renewed_after, tellings
from edge_operator.nodes.rollouts import has_ready_pod
from edge_operator.nodes.runtimes import Runtime
from edge_operator.observed import fingerprints
from edge_operator.observed.fingerprints import Seen

TOGETHER: Final = 3.0
"""Seconds for which changes at a node are collected."""
_PARALLEL: Final = 2
"""Nodes that are compared at once: the threads have other work, too."""


class Place(NamedTuple):
    """A node, by the value of its label on Placements and Deployments."""

    node: str


class LinkTelling:
    """Which nodes have to be compared, and how many Placements receive values. On the event loop only."""

    def __init__(self, cluster: Cluster, clock: Clock, threads: Executor) -> None:
        """cluster: reads the mirror. threads: in which it is called."""
        self._cluster, self._clock, self._threads = cluster, clock, threads
        self._seen = Seen()
        self._told = set[str]()
        """Placements with values, by uid."""
        self._queue: WorkQueue[Place] = WorkQueue(self._tell, clock.monotonic, _PARALLEL)

    async def run(self) -> None:
        """Writes until cancelled."""
        await self._queue.run()

    def placement_changed(self, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Has the Placements of a node compared if what this one says of links changed."""
        if not self._seen.changed(event_type, "Placement", body, fingerprints.links(body)):
            return
        metadata = body["metadata"]
        gone = event_type == "DELETED" or LINKS_ANNOTATION not in (metadata.get("annotations") or {})
        (self._told.discard if gone else self._told.add)(metadata.get("uid", ""))
        self.readiness_changed((metadata.get("labels") or {}).get(NODE_LABEL, ""))

    def readiness_changed(self, node: str) -> None:
        """Has the Placements of a node compared. node: the value of its label."""
        if node:
            self._queue.add(Place(node), TOGETHER)

    async def _tell(self, place: Place) -> float | None:
        every = renewal(len(self._told))
        call = functools.partial(tell_node, self._cluster, place.node, self._clock, every)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def tell_node(cluster: Cluster, node: str, clock: Clock, every: float) -> float | None:
    """Writes what the Placements of a node are to know of links.

    Returns the seconds until values have to be renewed; None if no values were sent. Raises ClusterError
    if one could not be written, after all others. node: the value of its label. every: see `renewal`.
    """
    found = cluster.find(PLACEMENTS, None, f"{NODE_LABEL}={node}")
    bodies = [body for body in found if not body["metadata"].get("deletionTimestamp")]
    ready, now = functools.cache(functools.partial(_ready, cluster)), clock.wall()
    changes, failure = tellings(bodies, ready, now, every), None
    for each in changes:
        try:
            cluster.annotate(PLACEMENTS, each.placement, {LINKS_ANNOTATION: each.text})
        except WriteConflictError:
            pass  # it was created again, which has the node compared again
        except ClusterError as error:
            logging.getLogger(__name__).warning("%s", error)
            failure = error
    if failure is not None:
        raise failure
    return renewed_after(bodies, changes, now)


def _ready(cluster: Cluster, runtime: Runtime) -> bool:
    return has_ready_pod(cluster.get(DEPLOYMENTS, runtime.namespace, runtime.name))
