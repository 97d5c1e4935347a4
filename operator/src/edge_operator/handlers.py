"""kopf's handlers: they mark services and pools as dirty; a level-triggered queue does all work.

Only raw events are used (`kopf.on.event`): kopf then adds neither annotations nor finalizers to objects, and
a restart begins with a list of all objects. Events that do not change an object's fingerprint are ignored.
"""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import kopf
import prometheus_client

from edge_operator import fingerprints, metrics
from edge_operator.cluster import NAMESPACES, ApiServer, Cluster, Object
from edge_operator.collecting import Collector
from edge_operator.errors import ClusterError
from edge_operator.lanes import Lanes
from edge_operator.names import GROUP, MANAGED_BY
from edge_operator.pooling import reconcile_pool
from edge_operator.reconciliation import reconcile_service
from edge_operator.residency import dirty_services, in_use, pool_addresses
from edge_operator.runs import Clients, Clock, Memory, PoolKey, ServiceKey, TailKey
from edge_operator.settings import Settings
from edge_operator.store import ModelStore
from edge_operator.tail_models import installation_identity
from edge_operator.triton import TritonServers
from edge_operator.workqueue import DEBOUNCE, WorkQueue

Result = TypeVar("Result")

_THREADS = 4
_TRITON_CHECK = 10.0
_MEASUREMENTS = 5.0
"""Seconds for which events with new measurements alone are collected."""
_OURS = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


class Operator:
    """State and tasks of the process."""

    def __init__(self, clients: Clients, settings: Settings, scope: str | None) -> None:
        self.clients, self.settings, self.scope = clients, settings, scope
        self.seen = fingerprints.Seen()
        self.services: dict[ServiceKey, Memory] = {}
        self.pools: dict[ServiceKey, str] = {}
        self.tritons: dict[str, frozenset[str]] = {}
        """Addresses of the Triton servers, by pool."""
        self.tails: dict[str, frozenset[TailKey]] = {}
        """Tails in use, by the uid of the Placement."""
        self.collector = Collector(clients, settings.installation, scope)
        self.queue: WorkQueue[ServiceKey | PoolKey] = WorkQueue(
            self.work, asyncio.get_running_loop().time, parallel=_THREADS
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reconcile")
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts the queue and the watch over Triton servers."""
        self.tasks = [asyncio.create_task(self.queue.run()), asyncio.create_task(self.watch_tritons())]

    async def stop(self) -> None:
        """Ends both; a running reconcile is not interrupted."""
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check(self) -> None:
        """Raises RuntimeError if a task that should run until shutdown has ended."""
        for task in self.tasks:
            if task.done():
                raise RuntimeError(f"task {task.get_coro()} ended unexpectedly")

    async def work(self, key: ServiceKey | PoolKey) -> float | None:
        """Runs one reconcile in a thread."""
        kind = "service" if isinstance(key, ServiceKey) else "pool"
        try:
            with metrics.RECONCILE_SECONDS.labels(kind).time():
                again = await self._in_thread(functools.partial(self._reconcile, key))
        except Exception:
            metrics.RECONCILES.labels(kind, "failed").inc()
            raise
        metrics.RECONCILES.labels(kind, "done").inc()
        return again

    def dirty_pool(self, name: str) -> None:
        """Marks a pool and the services on it as dirty."""
        self.queue.add(PoolKey(name))
        for key, pool in self.pools.items():
            if pool == name:
                self.queue.add(key)

    def dirty_everything(self) -> None:
        """Marks every pool as dirty, since any can select the changed node."""
        for name in {*self.pools.values(), *self.seen.names("DevicePool")}:
            self.dirty_pool(name)

    async def watch_tritons(self) -> None:
        """Unloads unused tails, and marks services as dirty whose Triton server lost tails or returned."""
        before: Mapping[str, frozenset[str] | None] = {}
        while True:
            await asyncio.sleep(_TRITON_CHECK)
            expected = {
                key: memory.published for key, memory in list(self.services.items()) if memory.published
            }
            listed = frozenset[str]().union(*self.tritons.values())
            used = frozenset[TailKey]().union(*self.tails.values())
            asked = functools.partial(self.collector.collect, listed, asyncio.get_running_loop().time(), used)
            try:
                # Not in a thread of the reconciles: it waits for each server.
                now = await asyncio.to_thread(asked)
            except Exception:
                logging.getLogger(__name__).exception("checking the Triton servers failed")
                continue
            for key in dirty_services(expected, before, now):
                self.queue.add(key)
            before = {**before, **now}

    def _reconcile(self, key: ServiceKey | PoolKey) -> float | None:
        if isinstance(key, PoolKey):
            reconcile_pool(key, self.clients, self.settings, Clock())
            return None
        memory = self.services.setdefault(key, Memory())
        again = reconcile_service(key, self.clients, self.settings, memory, Clock(), self.scope)
        if again is None:
            self.services.pop(key, None)
        return again

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def run(namespace: str | None, settings: Settings, liveness_port: int, log_format: str) -> None:
    """Runs until SIGTERM. namespace: watched besides the operator's own, where its Jobs run; None: all."""
    host = f"[{settings.listen}]" if ":" in settings.listen else settings.listen
    kopf.configure(log_format=kopf.LogFormat.JSON if log_format == "json" else kopf.LogFormat.FULL)
    # These log each event and each request.
    for noisy in ("kopf.objects", "kopf.activities", "httpx", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    kopf.run(
        standalone=True,
        # Without an identity, kopf looks up the user's name, which a container's user can lack.
        identity=cast("Any", socket.gethostname()),
        clusterwide=namespace is None,
        namespaces=[] if namespace is None else sorted({namespace, settings.namespace}),
        liveness_endpoint=f"http://{host}:{liveness_port}/healthz" if liveness_port else None,
    )


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    """Reads the environment, connects, identifies the installation, starts the queue."""
    configure(settings)
    environment = Settings.from_environment(os.environ)
    scope = os.environ.get("EDGE_WATCH_NAMESPACE") or None
    cluster = ApiServer.from_environment()
    try:
        environment = await asyncio.to_thread(identified, environment, cluster, scope)
    except ClusterError as error:
        raise kopf.TemporaryError(str(error), delay=5) from error
    folder = Path(environment.tls_dir) if environment.tls_dir else None
    store = ModelStore(environment.store_url, certificates=folder)
    clients = Clients(cluster, store, Lanes(TritonServers(folder)))
    port = int(os.environ.get("EDGE_METRICS_PORT") or "0")
    if port:
        prometheus_client.start_http_server(port, environment.listen)
    memo.operator = Operator(clients, environment, scope)
    memo.operator.start()


def identified(settings: Settings, cluster: Cluster, scope: str | None) -> Settings:
    """Returns the settings with the installation's identity. Raises ClusterError."""
    system = cluster.get(NAMESPACES, None, "kube-system")
    if system is None:
        raise ClusterError("Namespace kube-system does not exist: its uid identifies the cluster")
    identity = installation_identity(system["metadata"]["uid"], settings.namespace, scope)
    return dataclasses.replace(settings, installation=identity)


@kopf.on.probe(id="queue", errors=kopf.ErrorsMode.PERMANENT)
async def probe(memo: kopf.Memo, **_: object) -> str:
    """Fails the liveness probe if a task has ended, so that the kubelet restarts the container."""
    memo.operator.check()
    return "running"


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: object) -> None:
    """Ends the queue."""
    if "operator" in memo:
        await memo.operator.stop()


def configure(settings: kopf.OperatorSettings) -> None:
    """Limits the duration of watch streams, so that a dropped connection is noticed."""
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    # Raw events persist nothing; if that changes, use the project's prefix.
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    for plural in ("deployments", "jobs", "placements"):
        settings.watching.label_selectors[plural] = _OURS


@kopf.on.event(GROUP, "inferenceservices")
async def service_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Spec, deletion, finalizers."""
    operator: Operator = memo.operator
    key = ServiceKey(body["metadata"]["namespace"], body["metadata"]["name"])
    if operator.scope not in (None, key.namespace):
        return  # the operator's own namespace, watched for its Jobs
    if type == "DELETED":
        operator.pools.pop(key, None)
    else:
        operator.pools[key] = body["spec"]["devicePool"]
    metrics.SERVICES.set(len(operator.pools))
    if operator.seen.changed(type, "InferenceService", body, fingerprints.service(body)):
        operator.queue.add(key)


@kopf.on.event(GROUP, "devicepools")
async def pool_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Spec and deletion."""
    if type == "DELETED":
        memo.operator.tritons.pop(body["metadata"]["name"], None)
    else:
        memo.operator.tritons[body["metadata"]["name"]] = pool_addresses(dict(body))
    if memo.operator.seen.changed(type, "DevicePool", body, fingerprints.generation(body)):
        memo.operator.dirty_pool(body["metadata"]["name"])


@kopf.on.event("", "v1", "nodes")
async def node_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Labels and readiness; not the heartbeats."""
    if memo.operator.seen.changed(type, "Node", body, fingerprints.node(body)):
        memo.operator.dirty_everything()


@kopf.on.event(GROUP, "placements")
async def placement_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Handles reports of runtimes: immediately if the route changed, else collected."""
    if type == "DELETED":
        memo.operator.tails.pop(body["metadata"]["uid"], None)
    else:
        memo.operator.tails[body["metadata"]["uid"]] = in_use([dict(body)])
    changed = memo.operator.seen.changed(type, "Placement", body, fingerprints.placement(body))
    _owner_dirty(memo.operator, body, DEBOUNCE if changed else _MEASUREMENTS)


@kopf.on.event("apps", "v1", "deployments")
async def deployment_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Handles a change of pods or of the Deployment itself."""
    if memo.operator.seen.changed(type, "Deployment", body, fingerprints.deployment(body)):
        _owner_dirty(memo.operator, body, DEBOUNCE, verify=True)


@kopf.on.event("batch", "v1", "jobs")
async def job_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Marks services that wait for measurements as dirty when a Job ends."""
    operator: Operator = memo.operator
    if operator.seen.changed(type, "Job", body, fingerprints.job(body)):
        for key, memory in list(operator.services.items()):
            if memory.waiting:
                operator.queue.add(key)


def _owner_dirty(operator: Operator, body: Mapping[str, Any], delay: float, *, verify: bool = False) -> None:
    owners: list[Object] = body["metadata"].get("ownerReferences") or []
    for owner in owners:
        if owner.get("kind") == "InferenceService":
            key = ServiceKey(body["metadata"]["namespace"], owner["name"])
            if operator.scope not in (None, key.namespace):
                continue
            if verify and key in operator.services:
                operator.services[key].verified = None
            operator.queue.add(key, delay)
