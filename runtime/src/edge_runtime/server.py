"""Composes the runtime: services, transports, Placements and status, from start-up to a graceful shutdown."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

from edge_api.names import runtime_service_name
from edge_runtime.autonomy import LastContact
from edge_runtime.cluster import Placements, placed_at
from edge_runtime.connections import Resolver
from edge_runtime.errors import EdgeError
from edge_runtime.first_requests.measurer import Measurer, StoreAccess
from edge_runtime.grpc.forwarding import GrpcForwarder
from edge_runtime.grpc.keepalive import DEFAULT, KeepAlive, keepalive_of
from edge_runtime.inference import cpus
from edge_runtime.inference.gc_tuning import tune_for_serving
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.inference.native import return_unused_memory
from edge_runtime.json_values import Json
from edge_runtime.metrics import ProcessMetrics, joint_exposition
from edge_runtime.model_store import BlobSource, ModelStore, SliceCache
from edge_runtime.node_cache.client import FetchCounts, NodeCache
from edge_runtime.node_services import LoneService, NodeServices
from edge_runtime.placed_services import PlacedService
from edge_runtime.placement_files import follow
from edge_runtime.rest.forwarding import HttpForwarder
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.service_nodes import Addresses, PeerPorts, ServiceNodes
from edge_runtime.serving import SERVER
from edge_runtime.shared_memory.flags import memory_of
from edge_runtime.shutdown import GOODBYE, leave_threads_behind, stop_on_signals, unless_stopped
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tls.peers import NamespacePeers
from edge_runtime.tracing.startup import start
from edge_runtime.transports import Transports
from edge_runtime.trials.admission import Trials
from edge_runtime.trials.records import Records

if TYPE_CHECKING:
    from edge_runtime.tracing.spans import Spans

_log = logging.getLogger(__name__)

DRAIN: Final = 1.0
_AUTONOMY_EVERY: Final = 1.0
_SERVICES: Final = "services"
"""Folder in the cache folder for the files of each service of a shared runtime."""


async def watch_autonomy(
    services: NodeServices | LoneService, word: LastContact, placements: Placements | None
) -> None:
    """Checks the autonomy of each service once a second. Runs until cancelled.

    placements: None for a process that serves from its disk, which never has contact.
    """
    while True:
        if placements is not None and placements.in_contact:
            word.heard()
        for placed in services.placed:
            placed.keep_to_autonomy()
        if placements is not None:
            await asyncio.to_thread(word.keep)
        await asyncio.sleep(_AUTONOMY_EVERY)


def _resources(
    arguments: argparse.Namespace,
    slices: BlobSource,
    resolver: Resolver,
    metrics: ProcessMetrics,
    tls: ssl.SSLContext | None,
) -> NodeResources:
    threads = _threads(arguments)
    memory = Memory(arguments.memory_limit or cgroup_limit(), reclaim=return_unused_memory)
    folder = arguments.cache_dir
    trials = Trials(
        Records(folder / "trials"),
        memory,
        threads,
        arguments.trial_seconds,
        busy=lambda: resources.runner.busy,
    )
    loader = SliceLoader(SliceCache(folder / "slices", slices), trials, threads, memory)
    resources = NodeResources(
        loader,
        resolver,
        metrics,
        tls=tls,
        max_batch=arguments.max_batch,
        stuck_after=arguments.stuck_after,
    )
    return resources


def _measurer(arguments: argparse.Namespace, resources: NodeResources) -> Measurer:
    access = StoreAccess(arguments.store, arguments.store_token_file, arguments.tls_dir)
    memory = Memory(arguments.memory_limit or cgroup_limit(), reclaim=return_unused_memory)
    return Measurer(access, memory, _threads(arguments), lambda: resources.runner.busy)


def _threads(arguments: argparse.Namespace) -> int:
    """Threads of one inference."""
    return int(arguments.threads or cpus.threads(cpus.quota() or 1.0))


def _peer_ports(arguments: argparse.Namespace) -> PeerPorts | None:
    if arguments.peer_port is None:
        return None
    return PeerPorts(arguments.peer_port, arguments.peer_grpc_port)


def _from_file(services: NodeServices | LoneService) -> Callable[[list[Json], int], None]:
    """Receives the documents of a file; the one of a lone service whatever its service and node."""

    def receive(documents: list[Json], version: int) -> None:
        if isinstance(services, NodeServices):
            services.replace(documents)
        elif documents:
            services.placed[0].receive(documents[0], version)

    return receive


async def run(
    arguments: argparse.Namespace,
    stop: asyncio.Event,
    drain: float = DRAIN,
    certificates: Certificates | None = None,
    spans: Spans | None = None,
    keepalive: KeepAlive = DEFAULT,
) -> None:
    """Serves until `stop` is set, reports not ready for `drain` seconds, then finishes requests in flight."""
    memory = memory_of(arguments)
    resolver = Resolver()
    tls = certificates.client if certificates is not None else None
    store = ModelStore(arguments.store, resolver, tls, arguments.store_token_file)
    process = ProcessMetrics(arguments.service or "", namespace=arguments.namespace)
    cache = None
    if arguments.node_cache:
        counts = FetchCounts(process.registry, arguments.service or "")
        cache = NodeCache(arguments.node_cache, store, counts, resolver=resolver, tls=tls)
    resources = _resources(arguments, cache or store, resolver, process, tls)
    if certificates is not None:
        process.certificate(lambda: certificates.current.expires)
        certificates.count_failed(process.failed_handshake)
    word = LastContact(arguments.cache_dir / "last-word")
    peers = _peer_ports(arguments) if certificates is not None else None
    placements = None
    if arguments.placement_file is None and not arguments.from_disk:
        selector = placed_at(arguments.node, arguments.service or "")
        placements = Placements.in_cluster(arguments.namespace, selector, resolver)

    def make(name: str, folder: Path) -> PlacedService:
        metrics = spans.metrics(name, process) if spans is not None else None
        scheme = "HTTPS" if peers is not None else ""
        return PlacedService(
            name, folder, store, resources, word, metrics, peer_scheme=scheme, revision=revision
        )

    def revision(name: str) -> PlacedService | None:
        return services.find(name) if isinstance(services, NodeServices) else None

    measurer = _measurer(arguments, resources) if placements is not None else None
    services: NodeServices | LoneService
    if arguments.service:
        services = LoneService(make(arguments.service, arguments.cache_dir), placements, measurer)
    else:
        folder = arguments.cache_dir / _SERVICES
        services = NodeServices(
            arguments.node, folder, make, lambda: resources.runner.stuck, placements, measurer
        )
    forwarders = None
    if isinstance(services, NodeServices) and placements is not None:
        nodes = ServiceNodes(runtime_service_name(arguments.node), placements.runtimes_of)
        where = Addresses(
            arguments.namespace,
            arguments.cluster_domain,
            arguments.http_port,
            arguments.grpc_port,
            tls is not None,
            peers,
            placements.secured,
        )
        forwarders = (
            HttpForwarder(nodes, where.url, resolver, tls, process.forwarded),
            GrpcForwarder(nodes, where.target, certificates, process.forwarded, where.secured),
        )
    transports = Transports(
        services.models,
        lambda: joint_exposition([process.registry, *(each.metrics.registry for each in services.placed)]),
        host=arguments.host,
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        uds=arguments.uds,
        certificates=certificates,
        health_port=arguments.health_port,
        peer_ports=peers,
        peers=NamespacePeers(arguments.namespace, process.refused_peer) if peers is not None else None,
        spans=spans,
        end=resources.runner.end,
        grace=arguments.grace,
        keepalive=keepalive,
        forwarders=forwarders,
        memory=memory,
    )
    serving = asyncio.create_task(transports.serve())
    await services.restore()
    tasks: list[asyncio.Task[None]] = []
    if arguments.placement_file is not None:
        tasks.append(asyncio.create_task(follow(arguments.placement_file, _from_file(services))))
    else:
        if placements is not None:
            tasks.append(asyncio.create_task(placements.watch(services)))
        tasks.append(asyncio.create_task(watch_autonomy(services, word, placements)))
    await unless_stopped(stop, services.restored())
    tune_for_serving()
    stopping = asyncio.create_task(stop.wait())
    parts: set[asyncio.Task[Any]] = {serving, stopping, *tasks}
    await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done() and task.exception() is not None:
            _log.error("a task of the runtime ended unexpectedly", exc_info=task.exception())
    services.models.draining = True
    if stop.is_set():
        await asyncio.sleep(drain)  # clients see it by /v2/health/ready before the ports close
    await asyncio.gather(transports.stop(), serving, return_exceptions=True)
    for task in parts - {serving}:
        task.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    if measurer is not None:
        measurer.close()
    await services.close()
    await resources.close()
    if forwarders is not None:
        forwarders[0].close()
        await forwarders[1].close()
    store.close()
    if cache is not None:
        cache.close()
    if placements is not None:
        placements.close()
    if not stop.is_set():
        raise EdgeError("the runtime ended unexpectedly: see the log above")


def serve(arguments: argparse.Namespace, certificates: Certificates | None = None) -> int:
    """Runs until SIGTERM or SIGINT."""

    async def main() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop, arguments.drain + arguments.grace + GOODBYE)
        spans = start(arguments.service or SERVER, os.environ)
        try:
            keepalive = keepalive_of(arguments)
            await run(arguments, stop, arguments.drain, certificates, spans, keepalive)
        finally:
            if spans is not None:
                spans.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    leave_threads_behind()
    return 0
