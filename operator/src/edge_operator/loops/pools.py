"""The loop of a DevicePool: take what was observed, plan it, have the plan carried out.

The loop sleeps until something changes or a service is due. Changes are collected for a moment, results
of its own actions only while plans take long. Plans are made off the event loop; no deletion waits for one.

Cost of a turn: the services that changed or are due, one list of the pool's Placements, and a comparison that
finds that the others bring nothing new. With 10,000 services of three entry nodes, these two take 15 to 35 ms
of CPU in a thread and 4 ms on the event loop. Reports of counters cause at most one turn a second.
"""

import asyncio
import contextlib
import functools
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from edge_api import reasons
from edge_operator import metrics
from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, Object
from edge_operator.effects import needs
from edge_operator.effects.executor import API_SERVER, FAILED, STATUSES, Action
from edge_operator.effects.tails import Loaded
from edge_operator.effects.writes import Written, write
from edge_operator.errors import TritonBusyError
from edge_operator.keys import NamespaceKey, ServiceKey
from edge_operator.loops.changed_services import ChangedServices
from edge_operator.loops.known_facts import KnownFacts
from edge_operator.loops.removals import Removals
from edge_operator.loops.shared import Shared
from edge_operator.observed import snapshots
from edge_operator.observed.fingerprints import generation
from edge_operator.ownership import Claim
from edge_operator.pool import attempts, plans
from edge_operator.pool.actions import Event, LoadTails, ObjectRef, UnloadTails, Write, ref_of
from edge_operator.pool.drafts import Now
from edge_operator.pool.facts import Need
from edge_operator.pool.lost_slices import newly_unloaded
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.services import NEW, ServicePlan, is_polled, removed
from edge_operator.pool.states import (
    NOTHING,
    LoadOutcome,
    PoolState,
    Refusal,
    ServiceState,
    UnloadOutcome,
)
from edge_operator.pool.tenancy import NO_TENANTS
from edge_operator.pool_nodes import Node
from edge_operator.steps import PLAN, RUNNING
from edge_operator.tritons.addresses import server_of

QUIET, LONGEST = 0.3, 0.8
"""Seconds without a change after which collected changes are planned, and the longest that one waits."""
_OWN = 0.02
"""Likewise for results of the loop's own actions."""
_PAUSE, _LONGEST_PAUSE = 2.0, 3.0
"""Least time between two plans, relative to what the last one took, and at most: not one plan a result."""
_FULL = 10.0
"""Seconds after which tails that did not fit are tried again."""
_BUSY = 1.0
"""Seconds after which a server that loads other models is tried again."""

Planner = Callable[[PoolState, PoolPlan, Now], Awaitable[PoolPlan]]


@dataclass(slots=True)
class Outcomes:
    """Results of the actions for a service: what was refused, and its tails by their server's address."""

    refusals: Mapping[ObjectRef, Refusal] = field(default_factory=dict)
    loads: dict[str, LoadOutcome] = field(default_factory=dict)
    unloads: dict[str, UnloadOutcome] = field(default_factory=dict)

    def keep(self, addresses: Collection[str]) -> None:
        """Forgets the loads at servers that the service has left."""
        for address in self.loads.keys() - addresses:
            del self.loads[address]


class PoolLoop:
    """State of a pool between two plans. Nothing in it has to outlive the process. On the event loop only."""

    def __init__(self, name: str, shared: Shared) -> None:
        self.name, self.shared = name, shared
        self.plan: PoolPlan = plans.NOTHING
        self._services: dict[ServiceKey, ServiceState] = {}
        self._nodes: tuple[Node, ...] = ()
        self._older: tuple[Claim, ...] = ()
        self._pools: tuple[str, ...] = ()
        self._jobs: Mapping[str, Object] = {}
        self._job_pods: Mapping[str, tuple[Object, ...]] = {}
        self._facts = KnownFacts(lambda need: shared.executor.mended((name, need)))
        self._outcomes: dict[ServiceKey, Outcomes] = defaultdict(Outcomes)
        self._conflicts: dict[object, Write] = {}
        """The last write of each key that another client's came before."""
        self._recorded: dict[ObjectRef, str] = {}
        """The last refusal of each object that was recorded as an event."""
        self._removals = Removals()
        self._changed = ChangedServices(shared.clock.monotonic)
        self._written: set[ServiceKey] = set()
        """Services of which something was written since the last turn began."""
        self._topology = self._measurements = self._tenants = True
        self._tenancy = NO_TENANTS
        self._selects = False
        """Whether entry nodes are selected by labels that may have concerned no pool when they changed."""
        self._woken = asyncio.Event()
        self._woken.set()
        self._urgent, self._quiet_from, self._paused_until = False, float("-inf"), float("-inf")

    # What wakes it.

    def service_changed(self, key: ServiceKey, *, mended: bool = False, urgent: bool = False) -> None:
        """Has a service planned. mended: what it failed for may have changed. urgent: it is deleted."""
        if mended:
            self.shared.executor.mended((key, "objects"), (key, "status"))
            self.shared.executor.mended(*(("load", key, a) for a in self._outcomes[key].loads))
        self._changed.add(key)
        if urgent:
            self._removals.wake(key)
        self._wake(urgent=urgent)

    def topology_changed(self, *, mended: bool = False) -> None:
        """Handles a change of the pool, of a node that concerns it, or of what belongs to older pools."""
        self._topology = True
        for key in self._services if mended else ():
            self.service_changed(key, mended=True)
        self._wake()

    def tenants_changed(self) -> None:
        """Handles a change of a Tenant, or of the labels of a namespace."""
        self._tenants = True
        self._wake()

    def measurements_changed(self) -> None:
        """Handles a change of a profiling Job: the services that wait for one are planned."""
        self._measurements = True
        waiting = [k for k, p in self.plan.services.items() if p.awaits_measurement]
        self._changed.update(waiting)
        if waiting:
            self._wake()

    def server_changed(self, address: str) -> None:
        """Handles that a Triton server lost tails, stopped responding, or responds again."""
        for key, planned in self.plan.services.items():
            if any(server_of(tail.address) == server_of(address) for tail in planned.tails):
                self.shared.executor.mended(("load", key, address))
                self._changed.add(key)
        self._wake()

    def status_changed(self) -> None:
        """Handles a change that only the pool's own status shows."""
        self._wake()

    @property
    def due(self) -> bool:
        """Whether there is something to plan."""
        return self._woken.is_set() or self.plan.again_at <= self.shared.clock.monotonic()

    def _wake(self, *, urgent: bool = False) -> None:
        self._urgent |= urgent
        self._quiet_from = self.shared.clock.monotonic()
        self._woken.set()

    def _wake_service(self, key: ServiceKey) -> None:
        self._changed.add(key)
        if key in self._removals:
            self._removals.wake(key)
        self._wake(urgent=True)

    # Its turns.

    async def run(self, planner: Planner) -> None:
        """Runs until cancelled. planner: makes a plan off the event loop."""
        removing = asyncio.create_task(self._remove())
        try:
            while True:
                await self._until_due()
                await self._until_quiet()
                try:
                    await self.turn(planner)
                except Exception:
                    metrics.RECONCILES.labels("pool", "failed").inc()
                    logging.getLogger(__name__).exception("planning pool %s failed", self.name)
                    await asyncio.sleep(_LONGEST_PAUSE)
                    self.topology_changed()
        finally:
            removing.cancel()

    async def turn(self, planner: Planner) -> None:
        """One turn: observe, plan, act."""
        state = self.take()
        timed, step = metrics.RECONCILE_SECONDS.labels("pool").time(), f"plan of pool {self.name}"
        clock, began = self.shared.clock.monotonic, self.shared.clock.monotonic()
        with timed, RUNNING.step("plan", step, PLAN):
            found = await planner(state, self.plan, self.now())
        self._paused_until = clock() + min(_LONGEST_PAUSE, _PAUSE * (clock() - began))
        self.act(found)

    def now(self) -> Now:
        """Returns the time of a plan."""
        return Now(self.shared.clock.monotonic(), self.shared.clock.wall())

    async def _until_due(self) -> None:
        left = self.plan.again_at - self.shared.clock.monotonic()
        timeout = None if left == float("inf") else max(left, 0.0)
        with contextlib.suppress(TimeoutError):
            # wait_for of Python 3.11 loses a cancellation that comes with the event.
            async with asyncio.timeout(timeout):
                await self._woken.wait()

    async def _until_quiet(self) -> None:
        clock = self.shared.clock.monotonic
        began = clock()
        while self._woken.is_set():
            quiet = _OWN if self._urgent else QUIET
            left = max(min(self._quiet_from + quiet, began + LONGEST), self._paused_until) - clock()
            if left <= 0:
                break
            await asyncio.sleep(left)

    def take(self) -> PoolState:
        """Begins a turn: returns what is known, with what changed since the last one read from the mirror."""
        self._woken.clear()
        self._urgent = False
        self._removals.snapshot_taken()
        reads, settings, scope = self.shared.clients.cluster, self.shared.settings, self.shared.scope
        body = reads.get(DEVICE_POOLS, None, self.name)
        changed = self._changed.take(metrics.QUEUE_SECONDS.labels("pool").observe) | self._polled()
        if self._topology:
            self._pools = snapshots.pool_names(reads)
            found = snapshots.services_of(reads, self.name, scope)
            changed |= found.keys() | self._services.keys()
        if self._measurements:
            before = self._jobs
            self._jobs, self._job_pods = snapshots.profilers(reads, settings.namespace)
            self._facts.models_doubted(attempts.failed_since(before, self._jobs))
        for key in changed:
            self._look_at(key)
        if self._topology or self._selects:
            self._nodes = self.shared.nodes.now(reads)
            self._older = snapshots.older_pools(reads, self.name)
        if self._tenants:
            self._tenancy = snapshots.tenancy(reads)
        self._written.clear()
        self._topology = self._measurements = self._selects = self._tenants = False
        servers = self.shared.servers
        return PoolState(
            name=self.name,
            settings=settings,
            body=body,
            pools=self._pools,
            older=self._older,
            nodes=self._nodes,
            services=MappingProxyType(dict(self._services)),
            changed=frozenset(changed),
            placements=snapshots.pool_placements(reads, self.name),
            jobs=self._jobs,
            job_pods=self._job_pods,
            facts=self._facts.for_plan(),
            loaded=servers.loaded,
            availability=servers.availability,
            emptied=servers.emptied,
            control_open=servers.control_open,
            certificates=self.shared.certificates(),
            units=self.shared.units(self.name),
            in_use=self.shared.in_use(self.name),
            tenancy=self._tenancy,
            authority=self.shared.authority(),
        )

    def _polled(self) -> set[ServiceKey]:
        """Returns services that are due while no event tells of what they wait for."""
        now, plans = self.shared.clock.monotonic(), self.plan.services
        return {k for k, own in self._services.items() if is_polled(own, plans.get(k), now)}

    def _look_at(self, key: ServiceKey) -> None:
        reads = self.shared.clients.cluster
        body = reads.get(INFERENCE_SERVICES, key.namespace, key.name)
        if body is None or body["spec"].get("devicePool") != self.name:
            self._forget(key)
            return
        findings = self.shared.findings.get(NamespaceKey(key.namespace), NOTHING)
        before = self._services.get(key)
        if before is not None and before.body["metadata"].get("uid") != body["metadata"].get("uid"):
            self._outcomes.pop(key, None)  # of another service of this name
            self._removals.end(key)
        outcomes = self._outcomes[key]
        respecified = before is None or generation(before.body) != generation(body)
        self._selects |= respecified and bool(body["spec"].get("entryNodes"))
        self._services[key] = snapshots.service_state(
            reads,
            key,
            body,
            findings,
            refusals=outcomes.refusals,
            loads=MappingProxyType(dict(outcomes.loads)),
            unloads=MappingProxyType(dict(outcomes.unloads)),
        )
        if self._is_deleted(key) and key not in self._removals:
            self._removals.wake(key)
        lost = newly_unloaded(before.placements if before is not None else (), self._services[key].placements)
        self._facts.files_lost(key.namespace, lost)

    def _forget(self, key: ServiceKey) -> None:
        self._services.pop(key, None)
        self._outcomes.pop(key, None)
        self._removals.end(key)
        for what in ("objects", "status"):
            self._conflicts.pop((key, what), None)
        before = self.plan.services.get(key)
        self._facts.use(key, before.used if before is not None else frozenset(), frozenset())

    # What it has carried out.

    def act(self, found: PoolPlan) -> None:
        """Has a plan carried out. Only the actions of services that it planned are new."""
        self.carry_on_removals()
        found = self._removals.without_overtaken(found)
        before, self.plan = self.plan, found
        self.shared.planned(self.name, found)
        for key in found.planned:
            planned = found.services[key]
            earlier = before.services.get(key)
            self._facts.use(key, earlier.used if earlier is not None else frozenset(), planned.used)
            self._count(key, planned)
            self._act(key, planned)
        if found.status is not None:
            own = ("pool", self.name)
            done = functools.partial(self._status_written, own, found.status.regarding)
            self._submit_writes(own, (found.status,), done, self._wake)

    async def _remove(self) -> None:
        """Carries on deletions as soon as something of them changes."""
        while True:
            await self._removals.until_due(self.shared.clock.monotonic())
            try:
                self.carry_on_removals()
            except Exception:
                logging.getLogger(__name__).exception("deletions in pool %s failed", self.name)

    def carry_on_removals(self) -> None:
        """Carries on the deletions that are due, from the objects as they are now."""
        now = self.now()
        for key in self._removals.due(now.monotonic):
            self._look_at(key)
            if not self._is_deleted(key):
                self._removals.end(key)
                continue
            before = self._removals.get(key) or self.plan.services.get(key, NEW)
            body = self.shared.clients.cluster.get(DEVICE_POOLS, None, self.name)
            planned = removed(body, self._services[key], before, now)
            self._removals.carried_on(key, planned)
            self._facts.use(key, before.used, frozenset())
            self._written.discard(key)  # it is decided from what has been written
            self._count(key, planned)
            self._act(key, planned)

    def _act(self, key: ServiceKey, planned: ServicePlan) -> None:
        wake = functools.partial(self._wake_service, key)
        self._outcomes[key].keep({tail.address for tail in planned.tails})
        if key in self._written:
            return  # the plan was made without what has been written since: another one follows
        deleted = self._is_deleted(key)
        if planned.objects:
            done = functools.partial(self._objects_written, key)
            self._submit_writes((key, "objects"), planned.objects, done, wake, urgent=deleted)
        if planned.status is not None:
            done = functools.partial(self._service_reported, key, planned.status.regarding)
            self._submit_writes((key, "status"), (planned.status,), done, wake, target=STATUSES)
        loader, submit = self.shared.loader, self.shared.executor.submit
        if not planned.loads and not planned.objects:
            loader.release(planned.tails)
        for load in planned.loads:
            submit(
                Action(
                    target=server_of(load.address),
                    key=("load", key, load.address),
                    call=functools.partial(loader.load, load, self.shared.servers.seen_at),
                    done=functools.partial(self._loaded, load),
                    wake=wake,
                )
            )
        for unload in planned.unloads:
            submit(
                Action(
                    target=server_of(unload.address),
                    key=("unload", key, unload.address),
                    call=functools.partial(loader.unload, unload),
                    done=functools.partial(self._unloaded, unload),
                    wake=wake,
                    urgent=deleted,
                )
            )
        for need in planned.used:
            if self._facts.is_new(need):
                self._wake_service(key)
            if self._facts.is_open(need):
                submit(
                    Action(
                        target=needs.target(need),
                        key=(self.name, need),
                        call=functools.partial(needs.met, need, self.shared.clients),
                        done=functools.partial(self._facts.met, need),
                        wake=functools.partial(self._need_woken, need),
                        tenant=needs.tenant(need),
                    )
                )

    def _submit_writes(
        self,
        key: object,
        writes: Sequence[Write],
        done: Callable[[Written], float | None],
        wake: Callable[[], None],
        *,
        urgent: bool = False,
        target: str = API_SERVER,
    ) -> None:
        call = functools.partial(write, self.shared.clients.cluster, writes)
        self.shared.executor.submit(Action(target, key, call, done, wake, urgent))

    def _is_deleted(self, key: ServiceKey) -> bool:
        own = self._services.get(key)
        return own is not None and bool(own.body["metadata"].get("deletionTimestamp"))

    def _objects_written(self, key: ServiceKey, written: Written) -> float | None:
        self._written.add(key)
        self._outcomes[key].refusals = MappingProxyType(written.refused)
        self._measurements = True  # Jobs can be among them
        if self._is_deleted(key):
            self._record_refusals(self._services[key].body, written)
        return self._again((key, "objects"), written)

    def _service_reported(self, key: ServiceKey, body: Object, written: Written) -> float | None:
        self._written.add(key)
        return self._status_written((key, "status"), body, written)

    def _status_written(self, key: object, body: Object, written: Written) -> float | None:
        self._record_refusals(body, written)
        return self._again(key, written)

    def _again(self, key: object, written: Written) -> float | None:
        """Returns when writes are repeated: FAILED, or None for the next plan alone.

        What conflicted is planned again at once, from the object as it is now. It is a failure only if the
        same write conflicts again.
        """
        before = self._conflicts.pop(key, None)
        if written.conflict is None:
            return None if written.as_wanted else FAILED
        self._conflicts[key] = written.conflict
        return FAILED if before == written.conflict else None

    def _record_refusals(self, body: Object, written: Written) -> None:
        """Records refusals that no condition can report as events, equal ones once."""
        ref = ref_of(body)
        for refusal in written.refused.values():
            if self._recorded.get(ref) != refusal.message:
                self._recorded[ref] = refusal.message
                event = Event(body, "Warning", reasons.OBJECT_REFUSED, refusal.message)
                self._submit_writes((ref, refusal.message), (event,), lambda _: None, self._wake)
        if not written.refused:
            self._recorded.pop(ref, None)

    def _loaded(self, load: LoadTails, found: Loaded) -> float | None:
        outcome = found.outcome
        metrics.TAILS_LOADED.inc(found.count)
        self.shared.servers.loaded_at(load.address, found.there)
        self._outcomes[load.service].loads[load.address] = outcome
        gone = {name for name, error in outcome.unread.items() if error.reason == reasons.NOT_FOUND}
        lost = {tail.digest for tail in load.tails if tail.name in gone}
        self._facts.files_lost(load.service.namespace, lost)
        if isinstance(outcome.error, TritonBusyError):
            return _BUSY
        if outcome.error is not None:
            return FAILED
        return _FULL if outcome.refused else None

    def _unloaded(self, unload: UnloadTails, found: UnloadOutcome) -> float | None:
        self._outcomes[unload.service].unloads[unload.address] = found
        return FAILED if found.error else None

    def _need_woken(self, need: Need[object]) -> None:
        for key in self._facts.woken_by(need):
            self._changed.add(key)
            self._wake(urgent=True)

    def _count(self, key: ServiceKey, planned: ServicePlan) -> None:
        if planned.defect is not None:
            metrics.RECONCILES.labels("service", "failed").inc()
            logging.getLogger(__name__).error("%s/%s cannot be planned", *key, exc_info=planned.defect)
            return
        blocked = planned.blocked
        metrics.RECONCILES.labels("service", "done" if blocked is None else "blocked").inc()
        if blocked is not None:
            metrics.BLOCKED.labels(blocked.step, blocked.reason).inc()
