"""The operator: its loops, and which of them an event wakes.

An event and a deletion that no watch reported take the same way. An event that does not change the
fingerprint of an object wakes nothing, so that heartbeats cost nothing.

Cost: an event, its fingerprint. That of a DevicePool wakes the namespaces of its services, since its groups
have the tolerations of their runtimes, and the other pools that select a node which it gains or loses; that
of a node wakes the pools and namespaces that select it.
"""

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edge_operator import metrics
from edge_operator.authority.upkeep import Upkeep
from edge_operator.certificates import authority_of
from edge_operator.clients import Clients, Clock
from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    JOBS,
    NAMESPACES,
    NODES,
    PLACEMENTS,
    TENANTS,
    Cluster,
    Kind,
)
from edge_operator.effects.executor import Executor
from edge_operator.effects.server_looks import ServerLooks
from edge_operator.errors import ClusterError
from edge_operator.health import TURN, Health
from edge_operator.keys import NamespaceKey, ServiceKey
from edge_operator.leadership import Leadership, end_process
from edge_operator.loops.host_units import HostUnits
from edge_operator.loops.link_telling import LinkTelling
from edge_operator.loops.missed_deletions import missed_deletions
from edge_operator.loops.namespaces import Findings, NamespaceMemory, reconcile_namespace
from edge_operator.loops.object_metrics import ObjectMetrics
from edge_operator.loops.planners import Planners
from edge_operator.loops.pools import PoolLoop
from edge_operator.loops.protections import Protections
from edge_operator.loops.shared import Shared
from edge_operator.loops.tenant_reports import TenantReports
from edge_operator.loops.triton_servers import TritonServerLoops
from edge_operator.loops.workqueue import DEBOUNCE, WorkQueue
from edge_operator.names import FETCHER, NODE_LABEL, ROLE_LABEL, UNIT_JOB, label_value
from edge_operator.observed import fingerprints
from edge_operator.observed.changes import concerned, selectors
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.tails_in_use import TailsInUse
from edge_operator.observed.watched import OF_NAMESPACES, OWNED
from edge_operator.ownership import Claim, claim_of, contested
from edge_operator.pool_nodes import Node, node_of
from edge_operator.settings import Settings
from edge_operator.steps import RUNNING
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.residency import needed

Body = Mapping[str, Any]

FIRST_RESYNC, RESYNC = 30.0, 600.0
"""Seconds until the first search for deletions that no watch reported, and between two others."""
_RECONCILERS = 4
"""Threads that reconcile namespaces and tell runtimes of links."""
_MEASUREMENTS = 5.0
"""Seconds for which events with new measurements alone are collected."""
_LAST_WRITES = 8.0
"""Seconds that running writes to the API server get to end before the process does: more than one takes."""
_LAST_LOADS = 1.0
"""Seconds that running requests to Triton get before the Lease is given up."""


class Operator:
    """The loops of the process. Used on the event loop only."""

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
        health: Health | None = None,
    ) -> None:
        """server: the API server, which `resync` compares with the mirror. keys: of the Triton servers.

        health: told of the turns of the event loop and of the events of watches.
        """
        self.clients, self.settings, self.scope = clients, settings, scope
        self.server, self.mirror, self.leadership = server, mirror, leadership
        self.health = health or Health()
        self.health.leadership = leadership
        self.synced = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.seen = fingerprints.Seen()
        self.tails = TailsInUse()
        direct = dataclasses.replace(clients, cluster=server, triton=clients.patient_triton or clients.triton)
        self.tritons = TritonServerLoops(
            ServerLooks(direct, settings.installation, scope, lambda: leadership.term),
            keys or ControlKeys(server, settings.namespace),
            self._loop.time,
            self.tails.at,
            self._server_changed,
            self._pool_status_changed,
        )
        self.executor = Executor(self._loop.time)
        self.namespaces: dict[NamespaceKey, NamespaceMemory] = {}
        queued = metrics.QUEUE_SECONDS.labels("namespace").observe
        self.queue = WorkQueue[NamespaceKey](self._reconcile_namespace, self._loop.time, waited=queued)
        clock = Clock(monotonic=self._loop.time)
        findings, servers = Findings(self.namespaces), self.tritons.findings
        placed = functools.partial(mirror.namespaces, PLACEMENTS.kind)
        self.certificates = Upkeep(server, settings, placed) if settings.issues_certificates else None
        metrics.ADMISSION_INSTALLED.set(1 if settings.admission_webhook else 0)
        self.uncertified: Mapping[str, Sequence[str]] | None = None
        """Why certificates are not issued or renewed, by namespace; None if the operator issues none."""
        self._reconcilers = ThreadPoolExecutor(_RECONCILERS, thread_name_prefix="namespace")
        reported = {DEVICE_POOLS: self._pool_status_changed, TENANTS: lambda _: self.tenants.wake()}
        self.protections = Protections(clients.cluster, scope, clock, self._reconcilers, reported)
        in_use = self.protections.finding
        self.tenants: TenantReports = TenantReports(
            clients, clock, self.executor, functools.partial(in_use, TENANTS)
        )
        self.units = HostUnits(clients.cluster, settings, clock, self._reconcilers, self._pool_status_changed)
        self._shared = Shared(
            clients,
            settings,
            clock,
            self.executor,
            servers,
            findings,
            scope,
            certificates=lambda: self.uncertified,
            units=self.units.finding,
            in_use=functools.partial(in_use, DEVICE_POOLS),
            authority=functools.partial(authority_of, settings),
            planned=self.tenants.planned,
        )
        self.object_metrics = ObjectMetrics(
            clients.cluster, lambda: self._leads, lambda: servers.availability, clock.wall
        )
        self.pools: dict[str, PoolLoop] = {}
        self.pool_of: dict[ServiceKey, str] = {}
        self.nodes: dict[str, Node] = {}
        self.claims: dict[str, Claim] = {}
        """What each pool selects nodes by."""
        self.claims_before: dict[str, Claim] | None = None
        """What they selected by when other pools were last woken; None if nothing has changed since."""
        self.changed_nodes: dict[str, Node | None] = {}
        """Nodes that changed since the pools that they concern were woken, as they were then."""
        self._planners = Planners()
        self.links = LinkTelling(clients.cluster, clock, self._reconcilers)
        self.tasks: list[asyncio.Task[None]] = []
        self._pool_tasks: dict[str, asyncio.Task[None]] = {}
        self._leads: bool = False
        self._events: Mapping[Kind, Callable[[str | None, Body], None]] = {
            INFERENCE_SERVICES: self._service,
            DEVICE_POOLS: self._device_pool,
            NODES: self._node,
            DEPLOYMENTS: self._deployment,
            JOBS: self._job,
            TENANTS: self._tenant,
            NAMESPACES: self._labelled_namespace,
        }

    def start(self) -> None:
        """Campaigns for the leadership once the mirror is synced; until it leads, a replica only feeds it."""
        runs = {"election": self._campaign(), "resync": self.resync(), "turns": self._turn()}
        self.tasks = [asyncio.create_task(run, name=name) for name, run in runs.items()]

    def lead(self) -> None:
        """Starts the loops, after the operator has issued its own certificate if it issues any."""
        metrics.LEADING.set(1)
        if self.certificates is None:
            self._start_loops()
        else:
            run = self.certificates.run(self._start_loops, self.report_certificates)
            self.tasks.append(asyncio.create_task(run, name="certificates"))

    def _start_loops(self) -> None:
        self._leads = True
        runs = {
            "namespaces": self.queue.run(),
            "links": self.links.run(),
            "units": self.units.run(),
            "tenants": self.tenants.run(),
            "protections": self.protections.run(),
        }
        self.tasks += [asyncio.create_task(run, name=name) for name, run in runs.items()]
        self.tritons.start()
        for name in self.pools:
            self._run(name)

    async def stop(self) -> None:
        """Ends the loops, and gives the leadership up once no write to the API server is on its way.

        Requests to Triton are waited for during a second: what is later is recognized by its term.
        """
        led = self.leadership.resign()
        for task in [*self.tasks, *self._pool_tasks.values()]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.tritons.stop()
        await self.executor.stop()
        self._planners.stop()
        self._reconcilers.shutdown(wait=False, cancel_futures=True)
        if not led:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(self._wait_for_tritons), _LAST_LOADS)
        try:
            await asyncio.wait_for(asyncio.to_thread(self._give_up), _LAST_WRITES)
        except (ClusterError, TimeoutError) as error:
            logging.getLogger(__name__).warning(
                "the Lease ends by itself: it could not be given up: %s", error
            )

    def _wait_for_tritons(self) -> None:
        self.executor.wait_for_servers()
        self.tritons.wait()

    def _give_up(self) -> None:
        self.executor.wait_for_writes()
        self._reconcilers.shutdown(wait=True)
        self.leadership.release()

    async def _campaign(self) -> None:
        await self.synced.wait()
        await self.leadership.run(self.lead, end_process)

    async def _turn(self) -> None:
        while True:
            self.health.turns(self.ended)
            await asyncio.sleep(TURN)

    def hear(self) -> None:
        """Notes that a watch reported an event, which the first one does once the mirror has every object."""
        self.health.hears()
        self.synced.set()

    @property
    def ended(self) -> tuple[str, ...]:
        """The tasks that should run until shutdown and have ended."""
        tasks = {task.get_name(): task for task in (*self.tasks, *self._pool_tasks.values())}
        servers = {f"Triton at {address}": run for address, run in self.tritons.running.items()}
        return tuple(name for name, run in {**tasks, **servers}.items() if run.done())

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces that an operator of a single one watches: its own, too, where its Jobs run."""
        return tuple(sorted({self.scope or self.settings.namespace, self.settings.namespace}))

    # Events.

    def event(self, kind: Kind, event_type: str | None, body: Body, *, own: bool = False) -> None:
        """Wakes what an event concerns. event_type: None at the start. own: of the operator's last write."""
        if kind == PLACEMENTS:
            self._placement(event_type, body, own=own)
        elif kind in self._events:
            self._events[kind](event_type, body)
        owned = OF_NAMESPACES if own else OWNED  # the loops of pools have been woken after a write
        if kind in owned and self.seen.changed(event_type, kind.kind, body, fingerprints.owned(body)):
            self._wake_owner(body)
            self._wake_namespace(body["metadata"]["namespace"])

    def _service(self, event_type: str | None, body: Body) -> None:
        key = ServiceKey(body["metadata"]["namespace"], body["metadata"]["name"])
        if self.scope not in (None, key.namespace):
            return  # the operator's own namespace, watched for its Jobs
        before, now = self.pool_of.get(key), body["spec"]["devicePool"]
        if event_type == "DELETED":
            self.pool_of.pop(key, None)
        else:
            self.pool_of[key] = now
        metrics.SERVICES.set(len(self.pool_of))
        if not self.seen.changed(event_type, "InferenceService", body, fingerprints.service(body)):
            return
        urgent = event_type == "DELETED" or bool(body["metadata"].get("deletionTimestamp"))
        if event_type == "DELETED" or now != (before or now):
            self.protections.users_changed()
        for name in {before or now, now}:
            self._pool(name).service_changed(key, mended=True, urgent=urgent)
            self._end_if_unused(name)
        self._wake_namespace(key.namespace)

    def _device_pool(self, event_type: str | None, body: Body) -> None:
        name = body["metadata"]["name"]
        if event_type == "DELETED":
            self.tritons.forget(name)
        else:
            self.tritons.note(dict(body))
        if self.seen.changed(event_type, "DevicePool", body, fingerprints.generation(body)):
            self._claim(name, None if event_type == "DELETED" else claim_of(dict(body)))
            self._pool(name).topology_changed(mended=True)
            self._end_if_unused(name)
            self.protections.wake(DEVICE_POOLS, name)
            self.tenants.wake()
            self.units.wake()
            # The pool's groups have the tolerations of the runtimes at its nodes.
            for namespace in {key.namespace for key, pool in self.pool_of.items() if pool == name}:
                self._wake_namespace(namespace)

    def _claim(self, name: str, claim: Claim | None) -> None:
        if self.claims_before is None:
            self.claims_before = dict(self.claims)
            self._loop.call_later(DEBOUNCE, self.wake_contending_pools)
        if claim is None:
            self.claims.pop(name, None)
        else:
            self.claims[name] = claim

    def wake_contending_pools(self) -> None:
        """Wakes the pools that select a node which belongs to another pool than before."""
        before, self.claims_before = self.claims_before or {}, None
        for name in contested(self.nodes.values(), before.values(), self.claims.values()):
            if name in self.pools:
                self.pools[name].topology_changed()

    def _node(self, event_type: str | None, body: Body) -> None:
        if not self.seen.changed(event_type, "Node", body, fingerprints.node(body)):
            return
        name = body["metadata"]["name"]
        self.units.wake()
        if not self.changed_nodes:
            self._loop.call_later(DEBOUNCE, self.wake_pools_of_nodes)
        self.changed_nodes.setdefault(name, self.nodes.get(name))
        if event_type == "DELETED":
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = node_of(dict(body))

    def wake_pools_of_nodes(self) -> None:
        """Wakes the pools that the changed nodes concern."""
        changes = {name: (before, self.nodes.get(name)) for name, before in self.changed_nodes.items()}
        self.changed_nodes.clear()
        found = (self.mirror.find(kind.kind) for kind in (INFERENCE_SERVICES, DEVICE_POOLS))
        concerns = concerned(changes.values(), selectors(*found), self.claims.values())
        for name in concerns:
            self._pool(name).topology_changed()
            for namespace in {key.namespace for key, pool in self.pool_of.items() if pool == name}:
                self._wake_namespace(namespace)
        for place in (f"{NODE_LABEL}={label_value(name)}" for name in changes if concerns):
            for placement in self.mirror.find(PLACEMENTS.kind, None, place):
                self._wake_namespace(placement["metadata"]["namespace"])

    def _placement(self, event_type: str | None, body: Body, *, own: bool) -> None:
        """Handles reports of runtimes: immediately if the route changed, else collected."""
        used = needed([dict(body)]) if event_type != "DELETED" else frozenset()
        self.tails.note(body["metadata"].get("uid", ""), used)
        self.links.placement_changed(event_type, body)
        changed = self.seen.changed(event_type, "Placement", body, fingerprints.placement(body))
        news = self.seen.changed(event_type, "Placement status", body, fingerprints.report(body)) or not own
        if changed and news:
            self._wake_owner(body)
        elif news:
            self._loop.call_later(_MEASUREMENTS, self._wake_owner, dict(body))
        if self.seen.changed(event_type, "Placement spec", body, fingerprints.needs(body)):
            self._wake_namespace(body["metadata"]["namespace"])

    def _deployment(self, event_type: str | None, body: Body) -> None:
        """Handles a change of pods or of the Deployment itself."""
        namespace, labels = body["metadata"]["namespace"], body["metadata"].get("labels") or {}
        if self.seen.changed(event_type, "Deployment", body, fingerprints.deployment(body)):
            self._wake_namespace(namespace)
        if not self.seen.changed(event_type, "pods of Deployment", body, fingerprints.pods(body)):
            return
        if node := labels.get(NODE_LABEL):
            self.links.readiness_changed(node)
            for placement in self.mirror.find(PLACEMENTS.kind, namespace, f"{NODE_LABEL}={node}"):
                self._wake_owner(placement)

    def _job(self, event_type: str | None, body: Body) -> None:
        if not self.seen.changed(event_type, "Job", body, fingerprints.job(body)):
            return
        role = (body["metadata"].get("labels") or {}).get(ROLE_LABEL)
        if role == FETCHER:
            self._wake_owner(body)
            return
        if role == UNIT_JOB:
            self.units.wake()
            return
        for pool in self.pools.values():
            pool.measurements_changed()

    def _tenant(self, event_type: str | None, body: Body) -> None:
        if self.seen.changed(event_type, "Tenant", body, fingerprints.generation(body)):
            self.protections.wake(TENANTS, body["metadata"]["name"])
            self._tenants_changed()

    def _labelled_namespace(self, event_type: str | None, body: Body) -> None:
        changed = self.seen.changed(event_type, "Namespace", body, fingerprints.labels(body))
        if changed and self.mirror.find(TENANTS.kind):
            self._tenants_changed()

    def _tenants_changed(self) -> None:
        self.tenants.tenants_changed()
        self.protections.users_changed()
        for pool in self.pools.values():
            pool.tenants_changed()

    # Loops.

    def _pool(self, name: str) -> PoolLoop:
        if name not in self.pools:
            self.pools[name] = PoolLoop(name, self._shared)
            if self._leads:
                self._run(name)
        return self.pools[name]

    def _run(self, name: str) -> None:
        run = self.pools[name].run(self._planners.planned)
        self._pool_tasks[name] = asyncio.create_task(run, name=f"pool {name}")

    def _end_if_unused(self, name: str) -> None:
        """Ends the loop of a pool that does not exist and that no service names."""
        exists = self.mirror.get(DEVICE_POOLS.kind, None, name) is not None
        if exists or name in self.pool_of.values():
            return
        del self.pools[name]
        self.tenants.forget(name)
        if task := self._pool_tasks.pop(name, None):
            task.cancel()

    def _wake_owner(self, body: Body) -> None:
        for owner in body["metadata"].get("ownerReferences") or []:
            key = ServiceKey(body["metadata"]["namespace"], owner["name"])
            if owner.get("kind") == "InferenceService" and key in self.pool_of:
                self._pool(self.pool_of[key]).service_changed(key)

    def _wake_namespace(self, name: str) -> None:
        """Wakes a namespace's loop, unless it is the operator's own, watched for its Jobs."""
        if self.scope in (None, name):
            self.queue.add(NamespaceKey(name))

    def _server_changed(self, address: str) -> None:
        for pool in self.pools.values():
            pool.server_changed(address)

    def _pool_status_changed(self, name: str) -> None:
        if name in self.pools:
            self.pools[name].status_changed()

    async def _reconcile_namespace(self, key: NamespaceKey) -> float | None:
        memory = self.namespaces.setdefault(key, NamespaceMemory())
        cluster, settings = self.clients.cluster, self.settings
        clock = Clock(monotonic=self._loop.time)
        call = functools.partial(reconcile_namespace, key.namespace, cluster, settings, memory, clock)
        try:
            with (
                metrics.RECONCILE_SECONDS.labels("namespace").time(),
                RUNNING.step("namespace", f"namespace {key.namespace}"),
            ):
                uncertified = None
                if self.certificates is not None:
                    certify = functools.partial(self.certificates.certify, key.namespace)
                    uncertified = await self._loop.run_in_executor(self._reconcilers, certify)
                    self.report_certificates()
                changed, again = await self._loop.run_in_executor(self._reconcilers, call, uncertified)
        except Exception:
            metrics.RECONCILES.labels("namespace", "failed").inc()
            raise
        metrics.RECONCILES.labels("namespace", "done").inc()
        if again is None and not cluster.find(INFERENCE_SERVICES, key.namespace):
            self.namespaces.pop(key, None)
        for name in changed:
            service = ServiceKey(key.namespace, name)
            if service in self.pool_of:
                self._pool(self.pool_of[service]).service_changed(service, mended=True)
        return again

    def report_certificates(self) -> None:
        """Has the pools report the certificates that cannot be issued or renewed, if these changed."""
        if self.certificates is None:
            return
        before, self.uncertified = self.uncertified, self.certificates.failures
        if self.uncertified != before:
            metrics.CERTIFICATE_FAILURES.set(sum(map(len, self.uncertified.values())))
            for pool in self.pools.values():
                pool.status_changed()

    async def resync(self) -> None:
        """Finds what was deleted while a watch was interrupted, on standbys too; wakes what it concerns."""
        namespaces = None if self.scope is None else self.watched
        for seconds in itertools.chain([min(FIRST_RESYNC, RESYNC)], itertools.repeat(RESYNC)):
            await asyncio.sleep(seconds)
            async for kind, body in missed_deletions(self.server, self.mirror, namespaces):
                self.event(kind, "DELETED", body)
