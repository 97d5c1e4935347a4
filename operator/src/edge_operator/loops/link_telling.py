"""Writes to Placements who measures each link and what was measured: see `link_measuring`."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from edge_api.told_links import LINKS_ANNOTATION, read_links
from edge_operator.clients import Clock
from edge_operator.cluster import DEPLOYMENTS, PLACEMENTS, Cluster, Object
from edge_operator.errors import ClusterError
from edge_operator.loops.link_measuring import Telling, renewal, tellings
from edge_operator.nodes.rollouts import has_ready_pod
from edge_operator.nodes.runtimes import Runtime, runtime_of

EVERY: Final = 3.0
"""Seconds between two looks at the mirror. They cost no requests."""


async def tell_links(cluster: Cluster, clock: Clock, pause: Callable[[float], Awaitable[None]]) -> None:
    """Tells the runtimes of their links until cancelled. pause: asyncio.sleep."""
    while True:
        await pause(EVERY)
        try:
            await asyncio.to_thread(tell_once, cluster, clock)
        except Exception:
            logging.getLogger(__name__).exception("telling runtimes of their links failed")


def tell_once(cluster: Cluster, clock: Clock) -> int:
    """Compares all Placements with what they should know of links; returns the number of writes."""
    nodes: dict[str, list[Object]] = {}
    told = 0
    for body in cluster.find(PLACEMENTS):
        if not body["metadata"].get("deletionTimestamp"):
            nodes.setdefault(body["spec"]["node"], []).append(body)
            told += LINKS_ANNOTATION in (body["metadata"].get("annotations") or {})
    ready = functools.cache(functools.partial(_ready, cluster))
    written, every = 0, renewal(told)
    for bodies in nodes.values():
        shared = len({runtime_of(body) for body in bodies}) > 1
        if shared or any(read_links(body["metadata"].get("annotations") or {}) for body in bodies):
            found = tellings(bodies, ready, clock.wall(), every)
            written += sum(_write(cluster, each) for each in found)
    return written


def _write(cluster: Cluster, telling: Telling) -> bool:
    try:
        cluster.annotate(PLACEMENTS, telling.placement, {LINKS_ANNOTATION: telling.text})
    except ClusterError as error:  # another look follows
        logging.getLogger(__name__).warning("%s", error)
        return False
    return True


def _ready(cluster: Cluster, runtime: Runtime) -> bool:
    return has_ready_pod(cluster.get(DEPLOYMENTS, runtime.namespace, runtime.name))
