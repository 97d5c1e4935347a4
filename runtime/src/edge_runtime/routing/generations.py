"""Replaces route tables at a node: a new table is loaded while the old one serves, then replaces it at once.

Resources that several tables, of any service, share live as long as any table needs them: see
`node_resources`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from edge_api.told_links import ToldLink
from edge_runtime.assignment import Placement, Slice, Stage
from edge_runtime.errors import CannotLoad, EdgeError, NotReady, Unreachable
from edge_runtime.inference.planned_rates import PlannedRate
from edge_runtime.inference.service_queues import ServiceQueue
from edge_runtime.inference.sessions import Session
from edge_runtime.links.local_links import LocalLinks
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.memoization.settings import OFF, MemoizationSettings
from edge_runtime.metrics import Metrics
from edge_runtime.routing.active_routes import ActiveRoute
from edge_runtime.routing.background_loading import BackgroundLoader
from edge_runtime.routing.hops import Hop
from edge_runtime.routing.idle_tables import IdleTable, complete, idle, with_routes
from edge_runtime.routing.intermediate import IntermediateBackend
from edge_runtime.routing.loaded_tables import LoadedTable, digests_here, load_table
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.repeatability import Repeatability
from edge_runtime.sequences.settings import StateSettings

_log = logging.getLogger(__name__)

_ASK_AGAIN: Final = 5.0
_NOT_KNOWN: Final = "the model store has not reported yet whether the model is repeatable"


class Generations:
    """The current table and its resources.

    generation: the newest placement's. loaded: whether it serves in full. message: why it does not.
    reason: the same as a CamelCase reason. changed: set when the status has changed. idle: what is left of
    the table whose sessions were let go; None while there are sessions, or before a table is loaded.
    load_time: seconds that the last first request waited for its session.
    """

    def __init__(
        self,
        metrics: Metrics,
        resources: NodeResources,
        *,
        background: BackgroundLoader | None = None,
        repeatability: Repeatability | None = None,
    ) -> None:
        self.table: LoadedTable | None = None
        self.idle: IdleTable | None = None
        self.load_time: float | None = None
        self._placement: Placement | None = None
        self.intermediates: Mapping[str, IntermediateBackend] = {}
        self.link: LinkMonitor | None = None
        self._told: Mapping[str, ToldLink] = {}
        self.local_links = LocalLinks(resources.links, self._local_link_changed)
        self.memoization = OFF
        self.state: StateSettings | None = None
        self.generation, self.message, self.reason, self.loaded = 0, "", "", False
        self.changed = asyncio.Event()
        self.resources, self.queue = (
            resources,
            ServiceQueue(resources.runner, metrics.batch, ran=metrics.statistics.ran),
        )
        self.active_route = ActiveRoute(resources.clock, resources.breakers, metrics, self.changed.set)
        self._metrics, self._loader = metrics, resources.loader
        self._background, self._repeatability = background, repeatability
        self._unrepeatable: dict[str, str] = {}  # the store's response by the digest of a model
        self._completing: asyncio.Task[None] | None = None
        self._loading_again: asyncio.Task[None] | None = None
        self._incoming: frozenset[str] = frozenset()  # digests of the slices that are being loaded

    async def use(self, placement: Placement, *, at_hand: bool = False) -> bool:
        """Loads a placement and switches to it. Returns False, with the cause in `message`, if the old one
        stays active.

        at_hand: load from the disk only; `loaded` stays False while a route is missing.
        """
        self._incoming = frozenset(digests_here(placement))
        link = self._link_for(placement)
        load = partial(self._load, link, placement, self.table, at_hand=at_hand)
        table = await self._attempt(placement.generation, load)
        if table is None:
            return False
        if self._loading_again is not None:
            self._loading_again.cancel()
        self._placement, self.idle = placement, None
        self._take_over(table, link)
        self._begin_completing(self._complete(table))
        _log.info(
            "%s: generation %d is loaded: %s",
            self._metrics.service,
            placement.generation,
            ", ".join(r.route.name for r in table.routes),
        )
        self.changed.set()
        return True

    async def _load(
        self,
        link: LinkMonitor | None,
        placement: Placement,
        before: LoadedTable | None,
        *,
        at_hand: bool = False,
    ) -> LoadedTable:
        return await load_table(
            placement, self._loader, lambda stages: self._hop(stages, link), before, at_hand=at_hand
        )

    async def _attempt(
        self, generation: int, load: Callable[[], Awaitable[LoadedTable]]
    ) -> LoadedTable | None:
        """Returns the table, or None with the cause in `message`."""
        try:
            return await load()
        except EdgeError as error:
            self.refuse(generation, str(error), error.reason)
        except Exception as error:  # unexpected errors of a model must not stop the old table
            _log.exception("%s: generation %d", self._metrics.service, generation)
            self.refuse(generation, f"cannot be loaded: {error!r}", CannotLoad.__name__)
        return None

    @property
    def placement(self) -> Placement | None:
        """The placement in use, with all of its routes, also while its sessions are let go."""
        return self._placement

    def let_go(self) -> None:
        """Lets go of the sessions of the table. Requests in flight keep theirs."""
        table, placement = self.table, self._placement
        if table is None or placement is None:
            return
        active = self.active_route.of(table, self.link).route
        self.idle = idle(table, placement, active, self._loader.took)
        self._end_completing()
        self.table = None
        self._metrics.let_go()
        _log.info("%s: %d bytes of sessions are let go", self._metrics.service, table.bytes)
        self.changed.set()

    def begin_loading(self, left: float) -> None:
        """Begins to load a local route for a request that has `left` seconds, if the sessions were let go."""
        if self._loading_again is None and self.idle is not None:
            self._loading_again = asyncio.create_task(self._load_first(self.idle, left))

    async def load_again(self, left: float) -> LoadedTable:
        """Returns the table once one local route of it is loaded again; calls in the meantime share the load.

        left: seconds that the request has. Raises NotReady if it cannot be loaded.
        """
        self.begin_loading(left)
        if self._loading_again is not None:
            await asyncio.wait([self._loading_again])
        if self.table is None:
            raise NotReady(self.message or "no placement is loaded yet: check /v2/health/ready")
        return self.table

    async def _load_first(self, idle_table: IdleTable, left: float) -> None:
        begin, placement = self.resources.clock(), idle_table.placement
        load = partial(self._load, self.link)
        try:
            route, _ = idle_table.first(left)
            first = with_routes(placement, {route.name})
            table = await self._attempt(placement.generation, partial(load, first, None))
            if table is None:
                return
            self.idle = None
            self._take_over_again(table)
            self.load_time = self.resources.clock() - begin
            took = max(map(self._loader.took, table.sessions.values()), default=0.0)
            self._metrics.loaded_again(self.load_time, took)
            _log.info("%s: %s is loaded again", self._metrics.service, route.name)
            self._begin_completing(self._complete_again(placement, table))
            self.changed.set()
        finally:
            self._loading_again = None

    async def _complete_again(self, placement: Placement, first: LoadedTable) -> None:
        """Loads what follows the first route."""
        load = partial(self._load, self.link)
        work = partial(complete, placement, first, load, self._take_over_again)
        table = await self._attempt(placement.generation, work)
        if table is not None:
            await self._complete(table)

    def _take_over_again(self, table: LoadedTable) -> None:
        """Uses a table of before. What is known of a newer placement that could not be loaded stays."""
        before = self.generation, self.message, self.reason, self.loaded
        self._take_over(table, self.link)
        if before[0] != table.placement.generation:
            self.generation, self.message, self.reason, self.loaded = before

    def _begin_completing(self, work: Coroutine[Any, Any, None]) -> None:
        self._end_completing()
        self._completing = asyncio.create_task(work)

    def _end_completing(self) -> None:
        if self._completing is not None:
            self._completing.cancel()
            self._completing = None

    def refuse(self, generation: int, why: str, reason: str) -> None:
        """Records that a placement is not used; the one before stays active."""
        if (self.generation, self.message) != (generation, why):  # once, not with each attempt
            _log.error(
                "%s: generation %d is not loaded: %s: %s", self._metrics.service, generation, reason, why
            )
        self.generation, self.message, self.reason, self.loaded = generation, why, reason, False
        self.changed.set()

    @property
    def digests(self) -> set[str]:
        """The slices of the table in use, and of the one that is being loaded."""
        return {*self._incoming, *(self.table.sessions if self.table is not None else ())}

    def tell(self, told: Mapping[str, ToldLink]) -> None:
        """Takes what the operator tells of links, by peer."""
        if told != self._told:
            self._told = told
            if self.link is not None:
                self._tell(self.link)
            self.local_links.tell(told)

    def break_off(self) -> None:
        """Ends trials that are no longer needed, because a newer placement arrived."""
        self._loader.break_off(self._incoming)

    def close(self) -> None:
        """Releases what only this service needs. Its requests in flight may still use their table."""
        self._end_completing()
        if self._loading_again is not None:
            self._loading_again.cancel()
        self._switch_link(None)
        self.local_links.use(())
        self.resources.breakers.watch(self.changed.set, ())
        self.resources.clients.keep(self, ())

    def _take_over(self, table: LoadedTable, link: LinkMonitor | None) -> None:
        """Makes new requests use this table; requests in flight keep theirs."""
        before, self.table = self.table, table
        placement, spec = table.placement, table.placement.spec
        self.intermediates = {
            i.slice.model: IntermediateBackend(
                i, self.queue, self._metrics, self.resources.clock, spec.slo.latency
            )
            for i in table.intermediates
        }
        self.memoization = self._memoization(table)
        self.state = table.placement.spec.model.kept_state
        self._switch_link(link)
        self.local_links.use(spec.local_links or ())
        self.active_route.hand_over(before, table)
        self.generation, self.message, self.loaded = placement.generation, table.missing, not table.missing
        self.reason = CannotLoad.__name__ if table.missing else ""
        if spec.rate != self.queue.planned.rate:
            self.queue.planned = PlannedRate(spec.rate)
        self._keep_hops(table)
        self._metrics.table(spec.routes)
        self._metrics.in_use()
        self._count(table)
        self._follow(table)

    def _follow(self, table: LoadedTable) -> None:
        for session in table.sessions.values():
            self.resources.runner.follow(session)

    def _count(self, table: LoadedTable) -> None:
        self._metrics.sessions(table.bytes)
        self._metrics.joins(session.proven for session in table.sessions.values())

    def _memoization(self, table: LoadedTable) -> MemoizationSettings:
        """The enabled settings, and why responses must not be reused."""
        spec, why = table.placement.spec, table.unrepeatable
        if why is None:
            why = self._unrepeatable.get(spec.model.digest, _NOT_KNOWN)
        return MemoizationSettings(spec.input_filter, spec.result_cache, spec.model.digest, why)

    async def _complete(self, table: LoadedTable) -> None:
        async def load(slice_: Slice) -> Session:
            return await self._loader.session(slice_, table.sessions, samples=table.samples)

        learning = asyncio.ensure_future(self._learn(table))
        try:
            if self._background is not None:
                with self._loader.one_process():
                    await self._background.complete(table, load)
                self._count(table)
                self._refresh(table)  # an exit of the route may draw random numbers
            await learning
        finally:
            learning.cancel()

    async def _learn(self, table: LoadedTable) -> None:
        """Requests from the store what the slices here cannot show, until it responds."""
        spec = table.placement.spec
        if self._repeatability is None or (spec.input_filter, spec.result_cache) == (None, None):
            return
        while table.unrepeatable is None and spec.model.digest not in self._unrepeatable:
            try:
                self._unrepeatable[spec.model.digest] = await self._repeatability.unrepeatable(
                    spec.model.digest
                )
            except Unreachable:
                await asyncio.sleep(_ASK_AGAIN)
        self._refresh(table)

    def _refresh(self, table: LoadedTable) -> None:
        if table is self.table and (found := self._memoization(table)) != self.memoization:
            self.memoization = found

    def _hop(self, stages: Sequence[Stage], link: LinkMonitor | None) -> Hop:
        remote, *beyond = stages
        assert remote.address is not None
        client = self.resources.clients.client(remote.address)
        # Edge nodes are connected by another link than the measured one.
        return Hop(remote, client, link if remote.runtime == "Triton" else None, beyond)

    def _keep_hops(self, table: LoadedTable) -> None:
        hops = [hop for hop in table.hops if hop is not None]
        self.resources.breakers.watch(self.changed.set, {hop.address for hop in hops})
        beyond = [i.hop for i in table.intermediates if i.hop is not None]
        self.resources.clients.keep(self, {hop.url for hop in (*hops, *beyond)})

    def _link_for(self, placement: Placement) -> LinkMonitor | None:
        spec = placement.spec.link
        chains = [chain.stages for chain in placement.spec.routes]
        chains += [chain.stages for chain in placement.spec.intermediate_slices]
        needed = any(stage.runtime == "Triton" for chain in chains for stage in chain)
        # One that was measured before is measured on: it tells when a route through it would pay again.
        return self.resources.links.find(spec) if spec is not None and (needed or self.link) else None

    def _switch_link(self, link: LinkMonitor | None) -> None:
        old, self.link = self.link, link
        spec = self.table.placement.spec.link if self.table is not None else None
        if link is not None and spec is not None:
            self._tell(link)
            self.resources.links.use(link, spec, self._link_changed)
        if old is not None and old is not link:
            self.resources.links.leave(old, self._link_changed)

    def _tell(self, link: LinkMonitor) -> None:
        self.resources.links.tell(link, self._link_changed, self._told.get(link.spec.peer))

    def _local_link_changed(self, *, recovered: bool, notable: bool) -> None:
        if notable:
            self.changed.set()

    def _link_changed(self, *, recovered: bool, notable: bool) -> None:
        if self.link is not None:
            bandwidth, told = self.link.view().bandwidth, self.link.report()
            level, low = (value or 0.0 if told.up else 0.0 for value in (bandwidth, told.bandwidth_low))
            measured = told.measured_at.timestamp() if told.measured_at is not None else None
            self._metrics.link(self.link.spec.peer, level, low, measured)
        if self.table is not None:
            self.active_route.of(self.table, self.link)
        if notable:
            self.changed.set()
