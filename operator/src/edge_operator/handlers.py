"""kopf's handlers: they feed the mirror and mark services, pools and namespaces as dirty; a queue works.

Only raw events are used (`kopf.index`, `kopf.on.event`): kopf then adds neither annotations nor finalizers to
objects. kopf calls `kopf.index` for every object of every kind before the first `kopf.on.event`, so that no
reconcile sees half a cluster. Events that do not change an object's fingerprint are ignored.

Cost: one watch a kind. Every RESYNC seconds each kind is listed once, to find what a watch missed.
"""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import kopf
import prometheus_client

from edge_api import reasons
from edge_operator import fingerprints, metrics
from edge_operator.authority.upkeep import Upkeep
from edge_operator.cluster import (
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    JOBS,
    NODES,
    PLACEMENTS,
    ApiServer,
    Cluster,
    Kind,
    Object,
)
from edge_operator.control_keys import ControlKeys
from edge_operator.errors import ClusterError, ObjectRefusedError
from edge_operator.installation import identified
from edge_operator.leadership import Leadership, end_process
from edge_operator.link_telling import tell_links
from edge_operator.names import GROUP, NODE_LABEL, OURS, label_value
from edge_operator.namespaces import NamespaceMemory, reconcile_namespace
from edge_operator.observed.changes import concerned, selectors
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.mirrored_cluster import MirroredCluster, vanished
from edge_operator.observed.watched import LABELLED, OWNED, WATCHED
from edge_operator.pool_servers import PoolServers, connected
from edge_operator.pooling import reconcile_pool
from edge_operator.pools import Node, node_of
from edge_operator.reconciliation import reconcile_service
from edge_operator.residency import dirty_services, in_use, lacking
from edge_operator.runs import Clients, Clock, Memory, NamespaceKey, PoolKey, ServiceKey, TailKey
from edge_operator.settings import Settings
from edge_operator.store import ModelStore
from edge_operator.triton import TritonServers
from edge_operator.workqueue import DEBOUNCE, WorkQueue

Result = TypeVar("Result")
Key = ServiceKey | PoolKey | NamespaceKey

_THREADS = 4
_TRITON_CHECK = 10.0
_MEASUREMENTS = 5.0
"""Seconds for which events with new measurements alone are collected."""
RESYNC = 600.0
_LAST_WRITES = 10.0
"""Seconds that running reconciles get to end before the process does."""
_KINDS = {ServiceKey: "service", PoolKey: "pool", NamespaceKey: "namespace"}


class Operator:
    """State and tasks of the process."""

    def __init__(
        self,
        clients: Clients,
        settings: Settings,
        scope: str | None,
        server: Cluster,
        mirror: Mirror,
        leadership: Leadership,
        *,
        keys: ControlKeys | None = None,
    ) -> None:
        """server: the API server, which `resync` compares with the mirror. keys: of the Triton servers."""
        self.clients, self.settings, self.scope = clients, settings, scope
        self.server, self.mirror = server, mirror
        self.seen = fingerprints.Seen()
        self.services: dict[ServiceKey, Memory] = {}
        self.namespaces: dict[NamespaceKey, NamespaceMemory] = {}
        self.pools: dict[ServiceKey, str] = {}
        self.nodes: dict[str, Node] = {}
        self.changed_nodes: dict[str, Node | None] = {}
        """Nodes that changed since the pools that they concern were marked, as they were then."""
        self.tails: dict[str, frozenset[TailKey]] = {}
        """Tails in use, by the uid of the Placement."""
        self.tritons = PoolServers(dataclasses.replace(clients, cluster=server), settings, scope, keys)
        self._loop = asyncio.get_running_loop()
        self.queue: WorkQueue[Key] = WorkQueue(self.work, self._loop.time, parallel=_THREADS)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reconcile")
        self.leadership = leadership
        placed = functools.partial(mirror.namespaces, PLACEMENTS.kind)
        self.certificates = Upkeep(server, settings, placed) if settings.issues_certificates else None
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Campaigns for the leadership; until it leads, a replica only feeds the mirror and collects keys."""
        self.tasks = [asyncio.create_task(self.leadership.run(self.lead, end_process))]

    def lead(self) -> None:
        """Starts the queue, the watch over Triton servers, and the search for missed deletions."""
        metrics.LEADING.set(1)
        links = tell_links(self.clients.cluster, Clock(), asyncio.sleep)
        queue = self.queue.run()
        if self.certificates is not None:
            self.tasks.append(asyncio.create_task(self.certificates.run()))
            queue = self.certificates.before(queue)
        runs = (queue, self.watch_tritons(), self.resync(), links)
        self.tasks += [asyncio.create_task(run) for run in runs]

    async def stop(self) -> None:
        """Ends the tasks, and gives the leadership up once no write is on its way."""
        led = self.leadership.resign()
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._threads.shutdown(wait=False, cancel_futures=True)
        if not led:
            return
        try:
            await asyncio.wait_for(asyncio.to_thread(self._give_up), _LAST_WRITES)
        except (ClusterError, TimeoutError) as error:
            logging.getLogger(__name__).warning(
                "the Lease ends by itself: it could not be given up: %s", error
            )

    def _give_up(self) -> None:
        self._threads.shutdown(wait=True)
        self.leadership.release()

    def check(self) -> None:
        """Raises RuntimeError if a task that should run until shutdown has ended."""
        for task in self.tasks:
            if task.done():
                raise RuntimeError(f"task {task.get_coro()} ended unexpectedly")

    async def work(self, key: Key) -> float | None:
        """Runs one reconcile in a thread."""
        kind = _KINDS[type(key)]
        try:
            with metrics.RECONCILE_SECONDS.labels(kind).time():
                again = await self._in_thread(functools.partial(self._reconcile, key))
        except Exception:
            metrics.RECONCILES.labels(kind, "failed").inc()
            raise
        memory = self.services.get(key) if isinstance(key, ServiceKey) else None
        blocked = memory.blocked if memory is not None else None
        metrics.RECONCILES.labels(kind, "done" if blocked is None else "blocked").inc()
        if blocked is not None and blocked.reason == reasons.OBJECT_REFUSED:
            # Its status has the reason; the queue retries with backoff, however often runtimes report.
            raise ObjectRefusedError(blocked.message)
        return again

    def dirty_pool(self, name: str, *, mended: bool = False) -> None:
        """Marks a pool and the services on it as dirty. mended: what they failed for may have changed."""
        self.queue.add(PoolKey(name), mended=mended)
        for key, pool in self.pools.items():
            if pool == name:
                self.queue.add(key, mended=mended)
                self.dirty_namespace(key.namespace)

    def pool_changed(self, name: str, *, mended: bool = False) -> None:
        """Handles a change of a pool's spec: by all pools, a pod tolerates the taints of its node."""
        self.dirty_pool(name, mended=mended)
        for key in self.pools:
            self.dirty_namespace(key.namespace)

    def dirty_namespace(self, name: str) -> None:
        """Marks a namespace as dirty, unless it is the operator's own, watched for its Jobs."""
        if self.scope in (None, name):
            self.queue.add(NamespaceKey(name))

    def node_changed(self, name: str, after: Node | None) -> None:
        """Notes that a node changed. after: None if it is gone."""
        if not self.changed_nodes:
            asyncio.get_running_loop().call_later(DEBOUNCE, self.dirty_pools_of_nodes)
        self.changed_nodes.setdefault(name, self.nodes.get(name))
        if after is None:
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = after

    def dirty_pools_of_nodes(self) -> None:
        """Marks the pools as dirty that the changed nodes concern."""
        changes = {name: (before, self.nodes.get(name)) for name, before in self.changed_nodes.items()}
        self.changed_nodes.clear()
        found = (self.mirror.find(kind.kind) for kind in (INFERENCE_SERVICES, DEVICE_POOLS))
        pools = concerned(changes.values(), selectors(*found))
        for pool in pools:
            self.dirty_pool(pool)
        for place in (f"{NODE_LABEL}={label_value(name)}" for name in changes if pools):
            for placement in self.mirror.find(PLACEMENTS.kind, None, place):
                self.dirty_namespace(placement["metadata"]["namespace"])

    async def watch_tritons(self) -> None:
        """Unloads unused tails, and marks services as dirty whose Triton server lost tails or returned."""
        before: Mapping[str, frozenset[str] | None] = {}
        while True:
            await asyncio.sleep(_TRITON_CHECK)
            expected = {
                key: memory.published for key, memory in list(self.services.items()) if memory.published
            }
            used = frozenset[TailKey]().union(*self.tails.values())
            look = functools.partial(self.tritons.look, asyncio.get_running_loop().time(), used)
            try:
                # Not in a thread of the reconciles: it waits for each server.
                now, pools = await asyncio.to_thread(look)
            except Exception:
                logging.getLogger(__name__).exception("checking the Triton servers failed")
                continue
            loaded = {key: memory.loaded for key, memory in list(self.services.items())}
            for key in {*dirty_services(expected, before, now), *lacking(loaded, now)}:
                if key in self.services:
                    self.services[key].loaded = frozenset()
                self.queue.add(key)
            for name in pools:
                self.queue.add(PoolKey(name))
            before = {**before, **now}

    async def resync(self) -> None:
        """Finds what was deleted while a watch was interrupted, and marks as dirty what that concerns."""
        while True:
            await asyncio.sleep(RESYNC)
            for kind in WATCHED:
                namespaces = (None,) if self.scope is None or not kind.namespaced else self.watched
                find = functools.partial(vanished, self.server, self.mirror, kind, namespaces)
                try:
                    gone = await self._in_thread(functools.partial(find, OURS if kind in LABELLED else ""))
                except Exception:
                    logging.getLogger(__name__).exception("listing %s failed", kind.plural)
                    continue
                for body in gone:
                    self.deleted(kind, body)

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces that an operator of a single one watches: its own, too, where its Jobs run."""
        return tuple(sorted({self.scope or self.settings.namespace, self.settings.namespace}))

    def deleted(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Marks as dirty what the deletion of an object concerns."""
        meta = body["metadata"]
        if kind == INFERENCE_SERVICES:
            key = ServiceKey(meta["namespace"], meta["name"])
            self.pools.pop(key, None)
            metrics.SERVICES.set(len(self.pools))
            self.queue.add(key)
            self.dirty_namespace(key.namespace)
        elif kind == DEVICE_POOLS:
            self.tritons.forget(meta["name"])
            self.pool_changed(meta["name"])
        elif kind == NODES:
            self.node_changed(meta["name"], None)
        elif kind == JOBS:
            self.dirty_waiting()
        else:
            self.tails.pop(meta.get("uid", ""), None)  # of a Placement
            self.dirty_owner(body, DEBOUNCE)
            self.dirty_namespace(meta["namespace"])

    def dirty_waiting(self) -> None:
        """Marks the services as dirty that wait for a measurement."""
        for key, memory in list(self.services.items()):
            if memory.waiting:
                self.queue.add(key)

    def dirty_owner(self, body: Mapping[str, Any], delay: float) -> None:
        """Marks the service that owns an object as dirty."""
        owners: list[Object] = body["metadata"].get("ownerReferences") or []
        for owner in owners:
            if owner.get("kind") == "InferenceService":
                key = ServiceKey(body["metadata"]["namespace"], owner["name"])
                if self.scope not in (None, key.namespace):
                    continue
                self.queue.add(key, delay)

    def dirty_at_node(self, body: Mapping[str, Any]) -> None:
        """Marks the services as dirty that a runtime's Deployment serves."""
        namespace, labels = body["metadata"]["namespace"], body["metadata"].get("labels") or {}
        if node := labels.get(NODE_LABEL):
            for placement in self.mirror.find(PLACEMENTS.kind, namespace, f"{NODE_LABEL}={node}"):
                self.dirty_owner(placement, DEBOUNCE)

    def _reconcile(self, key: Key) -> float | None:
        if isinstance(key, PoolKey):
            reconcile_pool(key, self.clients, self.settings, Clock(), *self.tritons.observed)
            return None
        if isinstance(key, NamespaceKey):
            return self._reconcile_namespace(key)
        memory = self.services.setdefault(key, Memory())
        findings = self.namespaces.get(NamespaceKey(key.namespace), NamespaceMemory()).findings
        again = reconcile_service(
            key, self.clients, self.settings, memory, Clock(), self.scope, runtimes=findings
        )
        if again is None:
            self.services.pop(key, None)
        return again

    def _reconcile_namespace(self, key: NamespaceKey) -> float | None:
        memory = self.namespaces.setdefault(key, NamespaceMemory())
        cluster, settings = self.clients.cluster, self.settings
        if self.certificates is not None:
            self.certificates.provide(key.namespace)
        changed, again = reconcile_namespace(key.namespace, cluster, settings, memory, Clock())
        for name in changed:
            woken = functools.partial(self.queue.add, ServiceKey(key.namespace, name), mended=True)
            self._loop.call_soon_threadsafe(woken)
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
    server, mirror = ApiServer.from_environment(), Mirror()
    try:
        environment = await asyncio.to_thread(identified, environment, server, scope)
    except ClusterError as error:
        raise kopf.TemporaryError(str(error), delay=5) from error
    folder = Path(environment.tls_dir) if environment.tls_dir else None
    token = Path(environment.store_token) if environment.store_token else None
    store = ModelStore(environment.store_url, certificates=folder, token=token)
    keys = ControlKeys(server, environment.namespace)
    identity = os.environ.get("EDGE_POD_NAME") or socket.gethostname()
    leadership = Leadership(server, environment.namespace, identity)
    fenced = server.fenced(leadership.check)
    clients = connected(MirroredCluster(fenced, mirror), store, TritonServers(folder, keys))
    port = int(os.environ.get("EDGE_METRICS_PORT") or "0")
    if port:
        prometheus_client.start_http_server(port, environment.listen)
    memo.operator = Operator(clients, environment, scope, fenced, mirror, leadership, keys=keys)
    memo.operator.start()


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
    for kind in LABELLED:
        settings.watching.label_selectors[kind.plural] = OURS


def _register(
    handler: Callable[..., object], decorator: Callable[..., Callable[..., object]], kinds: Iterable[Kind]
) -> None:
    """Registers a handler for several kinds."""
    for kind in kinds:
        group, _, version = kind.api_version.rpartition("/")
        decorator(group, version, kind.plural)(handler)


async def mirror_object(body: kopf.Body, memo: kopf.Memo, resource: kopf.Resource, **_: object) -> None:
    """Puts an object into the mirror. kopf does not call it for deleted objects."""
    memo.operator.mirror.put(resource.kind, dict(body))


async def mirror_deletion(
    type: str | None,  # noqa: A002
    body: kopf.Body,
    memo: kopf.Memo,
    resource: kopf.Resource,
    **_: object,
) -> None:
    """Removes a deleted object from the mirror."""
    if type == "DELETED":
        memo.operator.mirror.remove(resource.kind, dict(body))


async def owned_event(
    type: str | None,  # noqa: A002
    body: kopf.Body,
    memo: kopf.Memo,
    resource: kopf.Resource,
    **_: object,
) -> None:
    """Handles a change of an object that the operator made, or its deletion."""
    if memo.operator.seen.changed(type, resource.kind, body, fingerprints.owned(body)):
        memo.operator.dirty_owner(body, DEBOUNCE)
        memo.operator.dirty_namespace(body["metadata"]["namespace"])


_register(mirror_object, kopf.index, WATCHED)
_register(mirror_deletion, kopf.on.event, WATCHED)
_register(owned_event, kopf.on.event, OWNED)


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
        operator.queue.add(key, mended=True)
        operator.dirty_namespace(key.namespace)


@kopf.on.event(GROUP, "devicepools")
async def pool_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Spec and deletion."""
    if type == "DELETED":
        memo.operator.tritons.forget(body["metadata"]["name"])
    else:
        memo.operator.tritons.note(dict(body))
    if memo.operator.seen.changed(type, "DevicePool", body, fingerprints.generation(body)):
        memo.operator.pool_changed(body["metadata"]["name"], mended=True)


@kopf.on.event("", "v1", "nodes")
async def node_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Labels and readiness; not the heartbeats."""
    if memo.operator.seen.changed(type, "Node", body, fingerprints.node(body)):
        after = None if type == "DELETED" else node_of(dict(body))
        memo.operator.node_changed(body["metadata"]["name"], after)


@kopf.on.event(GROUP, "placements")
async def placement_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Handles reports of runtimes: immediately if the route changed, else collected."""
    if type == "DELETED":
        memo.operator.tails.pop(body["metadata"]["uid"], None)
    else:
        memo.operator.tails[body["metadata"]["uid"]] = in_use([dict(body)])
    changed = memo.operator.seen.changed(type, "Placement", body, fingerprints.placement(body))
    memo.operator.dirty_owner(body, DEBOUNCE if changed else _MEASUREMENTS)
    if memo.operator.seen.changed(type, "Placement spec", body, fingerprints.generation(body)):
        memo.operator.dirty_namespace(body["metadata"]["namespace"])


@kopf.on.event("apps", "v1", "deployments")
async def deployment_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Handles a change of pods or of the Deployment itself."""
    if memo.operator.seen.changed(type, "Deployment", body, fingerprints.deployment(body)):
        memo.operator.dirty_namespace(body["metadata"]["namespace"])
    if memo.operator.seen.changed(type, "pods of Deployment", body, fingerprints.pods(body)):
        memo.operator.dirty_at_node(body)


@kopf.on.event("batch", "v1", "jobs")
async def job_event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: object) -> None:  # noqa: A002
    """Marks services that wait for measurements as dirty when a Job ends."""
    operator: Operator = memo.operator
    if operator.seen.changed(type, "Job", body, fingerprints.job(body)):
        operator.dirty_waiting()
