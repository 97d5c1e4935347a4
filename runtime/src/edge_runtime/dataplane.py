"""Answers requests: picks the route, runs what is local, sends on what is not, and keeps the deadline.

A request holds the table that it started with; a new one is prepared beside it and takes over by one
assignment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from edge_runtime.answers import Answer, confidence
from edge_runtime.assignment import Placement, Route
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import CannotAnswer, EdgeError, HopFailed, HopLate, LinkBusy, NotReady
from edge_runtime.links import LinkMonitor
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import SliceCache
from edge_runtime.routes import LinkView, RouteState, after_hop, after_recovery, decide
from edge_runtime.runners import Runner
from edge_runtime.status import Window
from edge_runtime.tables import LoadedRoute, Table, load_table
from edge_runtime.tensors import Array, Contract
from edge_runtime.upstream import Hop

_log = logging.getLogger(__name__)

_SPARE: Final = 1.3  # the local route is given this much of its usual time
_RESERVE: Final = 0.08  # of the SLO: for what lies between a late hop and the answer in its place
_LEAST_SHARE: Final = 0.25  # of the SLO: less than this is no fair try for a hop
_OUTCOMES: Final[dict[type[Exception], str]] = {HopLate: "late", LinkBusy: "busy"}
_FAIR: Final = 1.1  # of the planned latency, which is one for the 95th percentile already
_ALONE_FACTOR: Final = 2.0
_ALONE_LEAST: Final = 1.0


def patience(slo: float, predicted: float, local: float | None, elapsed: float) -> float:
    """Seconds that a hop may take, `elapsed` after the request came.

    What is left of the SLO once the local route has its time (`local`, seconds; None without one), but never
    less than the route is planned to take: on a node whose local route alone nearly fills the SLO, there is
    no time for both, and the plan's route is the one that was promised. Twice as much for a route that is
    planned to be late.
    """
    if local is None:
        return max(_ALONE_FACTOR * slo, _ALONE_LEAST)
    factor = _ALONE_FACTOR if predicted > slo else _FAIR
    return max(
        slo - elapsed - _SPARE * local - _RESERVE * slo, factor * predicted - elapsed, _LEAST_SHARE * slo
    )


class Dataplane:
    """One service at this node."""

    platform = "edge-intelligence"

    def __init__(
        self,
        cache: SliceCache,
        metrics: Metrics,
        resolver: Resolver,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.table: Table | None = None
        self.link: LinkMonitor | None = None
        self.message = ""
        self.generation = 0
        self.loaded = False
        self.window = Window()
        self.changed = asyncio.Event()
        self._state = RouteState()
        self._cache, self._metrics, self._resolver, self._clock = cache, metrics, resolver, clock
        self._clients: dict[str, HttpClient] = {}
        self._runner = Runner()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loading")

    @property
    def contract(self) -> Contract | None:
        """What callers send and get, whichever route is active; None before a table is loaded."""
        return self.table.contract if self.table is not None else None

    @property
    def active(self) -> LoadedRoute | None:
        """The route that the next request would take, as far as is known now."""
        if self.table is None:
            return None
        index, self._state = self._decide(self.table)
        return self.table.routes[index]

    async def use(self, placement: Placement) -> bool:
        """Prepares a placement and switches to it; False, with `message` saying why, leaves the old one
        active.
        """
        try:
            link = self._link_for(placement)
            table = await load_table(
                placement, self._cache, lambda route: self._hop(route, link), self._loader, self.table
            )
        except EdgeError as error:
            self.generation, self.message, self.loaded = placement.generation, str(error), False
            _log.error("generation %d is not loaded: %s", placement.generation, error)
            self.changed.set()
            return False
        old, self.table = self.table, table
        before = old.routes[self._state.active].route.name if old and self._state.active is not None else None
        self._switch_link(link)
        same = next((i for i, r in enumerate(table.routes) if r.route.name == before), None)
        self._state = RouteState(active=same)
        self.generation, self.message, self.loaded = placement.generation, "", True
        self._cache.keep_only(table.sessions.keys() | (old.sessions.keys() if old else set()))
        self._forget_clients(table)
        _log.info(
            "generation %d is loaded: %s", placement.generation, ", ".join(r.route.name for r in table.routes)
        )
        self.changed.set()
        return True

    async def infer(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], within: float | None = None
    ) -> Answer:
        """Answers checked inputs `within` so many seconds or the SLO, whichever is less.

        Raises CannotAnswer when neither the route nor a local one can, QueueFull when too many wait.
        """
        start = self._clock()
        table = self.table
        if table is None:
            raise NotReady("no placement is loaded yet; ask /v2/health/ready")
        slo = table.placement.spec.slo.latency
        deadline = slo if within is None else min(slo, within)
        self._runner.admit(table.routes[-1].pace.seconds)
        try:
            output, loaded, outcome = await self._answer(table, inputs, start, deadline)
        finally:
            self._runner.leave()
        route = loaded.route
        seconds = self._clock() - start
        met = seconds <= slo
        self._metrics.request(route.exit, route.name, outcome, seconds, met)
        self.window.add(start, seconds, met)
        parameters: dict[str, str | bool | float] = {
            "exit": route.exit,
            "route": route.name,
            "cut": route.cut,
            "deadline_met": seconds <= deadline,
        }
        if (sure := confidence(output)) is not None:
            parameters["confidence"] = sure
        return Answer([output] * len(outputs), parameters)

    async def _answer(
        self, table: Table, inputs: Mapping[str, Array], start: float, deadline: float
    ) -> tuple[Array, LoadedRoute, str]:
        """The output, the route that it came by and how that went; CannotAnswer when none can."""
        index, self._state = self._decide(table)
        chosen = table.routes[index]
        try:
            if chosen.hop is None:
                return await self._run(chosen, inputs), chosen, "ok"
            try:
                return await self._run_split(table, chosen, inputs, start, deadline), chosen, "ok"
            except CannotAnswer as error:
                if table.local is None:
                    raise
                self._metrics.fallback(_OUTCOMES.get(type(error), "failed"))
                chosen = table.local
                return await self._run(chosen, inputs), chosen, "fallback"
        except CannotAnswer:
            seconds = self._clock() - start
            self._metrics.request(chosen.route.exit, chosen.route.name, "failed", seconds, False)
            self.window.add(start, seconds, False)
            raise

    async def close(self) -> None:
        """Ends measuring and closes connections; what is in flight is the caller's to await first."""
        if self.link is not None:
            await self.link.stop()
        for client in self._clients.values():
            client.close()
        self._runner.close()
        self._loader.shutdown(wait=False)

    def _decide(self, table: Table) -> tuple[int, RouteState]:
        view = self.link.view() if self.link is not None else LinkView(True, None)
        index, state = decide(table.choices, view, self._state, self._clock())
        if index != self._state.active:
            route = table.routes[index].route
            self._metrics.active(route.name, route.exit, self._state.active is not None)
            self.changed.set()
        return index, state

    async def _run(self, loaded: LoadedRoute, inputs: Mapping[str, Array]) -> Array:
        return (await self._run_stage(loaded, inputs))[0]

    async def _run_stage(self, loaded: LoadedRoute, inputs: Mapping[str, Array]) -> list[Array]:
        session = loaded.session
        assert session is not None
        start = self._clock()
        feeds = {t.name: inputs[t.name] for t in session.inputs}
        results = await self._runner.run(session, feeds)
        seconds = self._clock() - start
        loaded.pace.add(seconds)
        self._metrics.stage(loaded.route.name, seconds)
        return results

    async def _run_split(
        self, table: Table, loaded: LoadedRoute, inputs: Mapping[str, Array], start: float, deadline: float
    ) -> Array:
        hop, remote = loaded.hop, loaded.route.remote
        assert hop is not None
        assert remote is not None
        if loaded.session is None:
            activations = [inputs[t.name] for t in remote.slice.inputs]
        else:
            made = await self._run_stage(loaded, inputs)
            # What the far stage reads was made here, or is an input that goes past the cut as it is.
            known = {**inputs, **{t.name: a for t, a in zip(loaded.session.outputs, made, strict=True)}}
            activations = [known[t.name] for t in remote.slice.inputs]
        begin = self._clock()
        outcome = "ok"
        try:
            within = self._patience(table, loaded.route, begin - start, deadline)
            return (await hop.infer(activations, within))[0]
        except CannotAnswer as error:
            outcome = _OUTCOMES.get(type(error), "failed")
            if outcome != "busy" and not self._state.failures:
                _log.warning("route %s: %s", loaded.route.name, error)
            raise
        except Exception as error:  # a fault of ours must not cost the answer either
            outcome = "failed"
            _log.exception("route %s", loaded.route.name)
            raise HopFailed(f"{loaded.route.name}: {error!r}") from error
        finally:
            end = self._clock()
            self._metrics.hop(loaded.route.name, outcome, end - begin)
            if outcome != "busy":
                self._state = after_hop(self._state, outcome == "ok", end)

    def _patience(self, table: Table, route: Route, elapsed: float, deadline: float) -> float:
        """Seconds that a hop may take."""
        local = None if table.local is None else table.local.pace.seconds
        return patience(deadline, route.predicted_latency, local, elapsed)

    def _hop(self, route: Route, link: LinkMonitor | None) -> Hop:
        remote = route.remote
        assert remote is not None
        assert remote.address is not None
        client = self._clients.get(remote.address)
        if client is None:
            client = self._clients[remote.address] = HttpClient(remote.address, self._resolver)
        return Hop(remote, client, link)

    def _link_for(self, placement: Placement) -> LinkMonitor | None:
        spec = placement.spec.link
        if spec is None or all(route.remote is None for route in placement.spec.routes):
            return self.link if spec is not None and self.link is not None else None
        if self.link is not None and self.link.spec == spec:
            return self.link
        return LinkMonitor(spec, self._resolver, self._link_changed)

    def _switch_link(self, link: LinkMonitor | None) -> None:
        old, self.link = self.link, link
        if link is not None and link is not old:
            link.start()
        if old is not None and old is not link:
            old.cancel()

    def _link_changed(self, recovered: bool, notable: bool) -> None:
        if recovered:
            self._state = after_recovery(self._state)
        if self.link is not None:
            view = self.link.view()
            self._metrics.link(self.link.spec.peer, view.bandwidth or 0.0 if view.up else 0.0)
        if self.table is not None:
            _, self._state = self._decide(self.table)
        if notable:
            self.changed.set()

    def _forget_clients(self, table: Table) -> None:
        needed = {r.route.remote.address for r in table.routes if r.route.remote is not None}
        for address in self._clients.keys() - needed:
            self._clients.pop(address).close()
