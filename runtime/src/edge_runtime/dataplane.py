"""Responds to requests: picks the route, runs its local stage, calls the next hop, and enforces the deadline.

A request uses the table that it started with, even if another replaces it (routing/generations.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from edge_planning.routing.deadlines import (
    Allowance,
    DeadlineAction,
    Times,
    allowance,
    head_due,
    latest,
    usable,
)
from edge_runtime.codecs.contracts import without_range
from edge_runtime.errors import (
    BadTensor,
    CannotAnswer,
    HopFailed,
    HopLate,
    LinkBusy,
    ModelFailed,
    Overloaded,
)
from edge_runtime.first_requests.turns import FirstRequests
from edge_runtime.held_requests import Activity, table_for
from edge_runtime.inference.runners import INLINE
from edge_runtime.memoization.settings import MemoizationSettings
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from edge_runtime.residuals import Residuals
from edge_runtime.responses import InferenceResponse
from edge_runtime.routing.active_routes import Chosen
from edge_runtime.routing.early_exits import run_until_confident
from edge_runtime.routing.fallbacks.deferred import DeferredFallback
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.loaded_tables import LoadedRoute, LoadedTable
from edge_runtime.shape_counts import RequestShapes
from edge_runtime.status import Window
from edge_runtime.tensors import Array, Contract, rows

_log = logging.getLogger(__name__)

_LATE: Final = 2.0
"""Deadlines after which a request beyond the planned rate is refused that had no turn among the others."""

_Computed = tuple[Sequence[Array], LoadedRoute, str]
"""The results of the last stage of a route, the route, and the outcome."""

_OUTCOMES: Final[dict[type[Exception], str]] = {HopLate: "late", LinkBusy: "busy"}


@dataclass(frozen=True, slots=True)
class _Turn:
    """The turn of a request in the queue. beyond: 0 within the planned rate, else its place beyond it."""

    due: float
    beyond: float
    priority: int


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A request that was admitted: its start on the clock, its deadline and its wait in seconds."""

    start: float
    deadline: float
    wait: float
    beyond: float
    priority: int

    @property
    def turn(self) -> _Turn:
        return _Turn(self.start + usable(self.deadline), self.beyond, self.priority)


class Dataplane:
    """Serves the requests of one service at this node."""

    platform = "edge-intelligence"

    def __init__(
        self, generations: Generations, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.first_requests = FirstRequests(generations.changed.set)
        self.window, self.residuals, self.shapes = Window(), Residuals(), RequestShapes()
        self._generations, self.metrics, self._clock = generations, metrics, clock
        self.activity = Activity(clock)
        self.statistics = metrics.statistics
        self._queue, self._breakers = generations.queue, generations.resources.breakers
        self._active_route = generations.active_route

    @property
    def contract(self) -> Contract | None:
        """Inputs and outputs for clients, the same for all routes; None before a table is loaded."""
        found = self._generations.table or self._generations.idle
        return found.contract if found is not None else None

    @property
    def message(self) -> str:
        """Why nothing is loaded."""
        return self._generations.message

    @property
    def memoization(self) -> MemoizationSettings:
        """The memoization settings of the current table."""
        return self._generations.memoization

    @property
    def active(self) -> LoadedRoute | None:
        """The route that the next request would take with what is known now."""
        table = self._generations.table
        return self._active_route.of(table, self._generations.link) if table is not None else None

    @property
    def accuracy(self) -> float:
        """Accuracy of the route that the next request would take."""
        active = self.active
        return active.route.accuracy if active is not None else 0.0

    @property
    def target(self) -> float | None:
        """The SLO latency in seconds; None before a table is loaded."""
        placement = self._generations.placement
        return placement.spec.slo.latency if placement is not None else None

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Responds within the client's timeout or the SLO latency, whichever is less.

        Raises CannotAnswer if neither the route nor a local one can respond, and Overloaded if too many
        requests wait. If no session is loaded, because no request came for a time, it loads one first.
        """
        with self.activity.request():
            return await self._infer(request)

    async def _infer(self, request: InferenceRequest) -> InferenceResponse:
        start = self._clock() if request.since is None else request.since
        table, held = self._generations.table, 0.0
        if table is None:
            table = await table_for(self._generations, request, self._clock() - start, self._refused)
            held = self._clock() - start
        slo = table.placement.spec.slo.latency
        within = slo if request.within is None else min(slo, request.within)
        # The SLO counts from the arrival, but a response that had to wait for a session is of use after it.
        deadline = slo + held if request.within is None else min(slo + held, request.within)
        wait, beyond = self._admit(table, request, start, deadline)
        admitted = _Admitted(start, deadline, wait, beyond, request.priority)
        waits = request.within is None and table.placement.spec.deadline_action is DeadlineAction.WAIT
        try:
            async with asyncio.timeout(None) as limit:
                if beyond and not waits:
                    left = _LATE * deadline - (self._clock() - start)
                    limit.reschedule(asyncio.get_running_loop().time() + left)
                found = await self._respond(table, request, admitted)
        except TimeoutError:
            raise Overloaded(
                f"beyond the {self._queue.planned.rate:g} requests/s that are planned for, without a turn in "
                f"{1e3 * _LATE * deadline:.0f} ms: retry in 1 s",
                1,
            ) from None
        finally:
            self._queue.leave()
        return self._completed(table, request, start, within, found)

    def at_once(self, request: InferenceRequest) -> InferenceResponse | None:
        """Returns the response if it takes one short run at this node; None without a trace if `infer` is
        needed.

        Raises as `infer` does.
        """
        table = self._generations.table
        if (
            table is None
            or request.within is not None
            or self._queue.wait > 0
            or self._queue.spare_wait() > 0
        ):
            return None
        loaded = self._active_route.plain(table, self._generations.link)
        session = loaded.session if loaded is not None else None
        if loaded is None or session is None or session.seconds >= INLINE or table.leaves_early(loaded):
            return None
        loaded.outputs.check(request.outputs)
        start = self._clock() if request.since is None else request.since
        deadline = table.placement.spec.slo.latency
        self._admit(table, request, start, deadline, idle=True)
        try:
            begin, feeds = self._clock(), {t.name: request.inputs[t.name] for t in session.inputs}
            results = self._queue.run_now(session, feeds)
        except ModelFailed:
            self._failed(loaded, start)
            raise
        finally:
            self._queue.leave()
        if results is None:
            return None
        self._ran(loaded, request.inputs, self._clock() - begin, waited=False)
        self.activity.touch()
        return self._completed(table, request, start, deadline, (results, loaded, "ok"))

    def _completed(
        self,
        table: LoadedTable,
        request: InferenceRequest,
        start: float,
        deadline: float,
        found: _Computed,
    ) -> InferenceResponse:
        """Counts a request with results of a route, and its outcome; returns its response.

        Raises BadTensor if the client named an output that the route does not compute.
        """
        results, loaded, outcome = found
        route, outputs = loaded.route, loaded.outputs
        selected = outputs.select(results, request.outputs)
        seconds = self._clock() - start
        met = seconds <= table.placement.spec.slo.latency
        self.metrics.request(route.exit, route.name, outcome, seconds, met=met)
        self.window.add(start, seconds, met=met)
        self.shapes.add(table.placement.spec.model.digest, table.contract.inputs, request.inputs)
        if table.placement.spec.first_requests is not None:
            self.first_requests.add(table.placement.spec, table.contract.inputs, request.inputs)
        parameters: dict[str, str | bool | float] = {
            "exit": route.exit,
            "route": route.name,
            "cut": route.cut,
            "deadline_met": seconds <= deadline,
        }
        if (sure := outputs.confidence(results, request.inputs)) is not None:
            parameters["confidence"] = sure
        others = outputs.tensors if outputs.own and not request.outputs else None
        return InferenceResponse(selected, parameters, _worth(table, loaded, outcome), others)

    def _admit(
        self,
        table: LoadedTable,
        request: InferenceRequest,
        start: float,
        deadline: float,
        *,
        idle: bool = False,
    ) -> tuple[float, float]:
        """Counts the request in the queue. Returns its wait in seconds, and its place beyond the rate.

        idle: whether nothing waits or runs.

        Raises Overloaded if no route can respond in time, unless the service waits for late responses and the
        client has set no timeout.
        """
        try:
            seconds = partial(self._queue.least, inputs=request.inputs)
            least = self._active_route.least_local(table, self._generations.link, seconds)
            now = self._clock()
            planned = self._queue.planned
            exceeds = planned.rate is not None and planned.beyond(now)
            beyond = self._queue.next_place() if exceeds else 0.0
            wait = 0.0
            if not idle:
                due = start + usable(deadline)
                wait = self._queue.wait_before(due, least or 0.0, beyond=beyond, priority=request.priority)
            waits = table.placement.spec.deadline_action is DeadlineAction.WAIT
            if least is None:
                self._queue.admit(table.routes[-1].stats.seconds)
            elif waits and request.within is None:
                self._queue.admit(least)
            else:
                given = request.within if waits and request.within is not None else deadline
                self._queue.admit(least, usable(given) - (now - start), wait, beyond=beyond)
            return max(wait, self._queue.spare_wait()) if beyond else wait, beyond
        except Overloaded:
            self._refused(table.routes[-1].route.exit, table.routes[-1].route.name)
            raise

    def _refused(self, exit_: str, route: str) -> None:
        self.metrics.request(exit_, route, "refused", 0.0, met=False)
        self.window.add(self._clock(), None, met=False)

    def repeated(
        self, response: InferenceResponse, outcome: str, seconds: float, within: float | None
    ) -> None:
        """Counts a request whose response was reused from an earlier one."""
        self.activity.touch()
        target = self.target
        met = target is None or seconds <= target
        exit_, route = str(response.parameters["exit"]), str(response.parameters["route"])
        self.metrics.request(exit_, route, outcome, seconds, met=met)
        self.window.add(self._clock() - seconds, seconds, met=met)

    async def _respond(self, table: LoadedTable, request: InferenceRequest, admitted: _Admitted) -> _Computed:
        """Raises CannotAnswer if no route can respond."""
        start, deadline = admitted.start, admitted.deadline
        left = deadline - (self._clock() - start)
        spare = self._queue.spare if admitted.beyond else None
        size = table.request_size(request.inputs)
        found = self._active_route.choose(
            table, self._generations.link, left, admitted.wait, spare=spare, size=size
        )
        chosen = found.loaded
        try:
            chosen.outputs.check(request.outputs)
        except BadTensor:
            if chosen.hop is not None:
                self._ended(chosen, "nothing", trial=found.trial, fair=False)
            raise
        try:
            if chosen.hop is None:
                return *await self._run_here(table, chosen, request, start + deadline, admitted.turn), "ok"
            return await self._run_split(table, found, request, admitted)
        except (CannotAnswer, ModelFailed, asyncio.CancelledError) as error:
            seconds = self._clock() - start
            if isinstance(error, asyncio.CancelledError) and seconds < deadline:
                raise  # the client disconnected: no information about the route
            self._failed(chosen, start)
            raise

    def _failed(self, loaded: LoadedRoute, start: float) -> None:
        """Counts a request whose route ended with an error."""
        seconds = self._clock() - start
        self.metrics.request(loaded.route.exit, loaded.route.name, "failed", seconds, met=False)
        self.window.add(start, seconds, met=False, failed=True)

    async def _run_here(
        self, table: LoadedTable, loaded: LoadedRoute, request: InferenceRequest, until: float, turn: _Turn
    ) -> tuple[list[Array], LoadedRoute]:
        inputs = request.inputs
        if not table.leaves_early(loaded):
            return await self._run_stage(loaded, inputs, turn), loaded
        branched, leave_at = (
            table.branched_routes[loaded.route.name],
            table.placement.spec.early_exit.leave_at,
        )
        assert leave_at is not None
        run = partial(self._run_stage, turn=turn)
        return await run_until_confident(
            branched, inputs, leave_at, run, lambda: until - self._clock(), request.outputs
        )

    async def _run_stage(self, loaded: LoadedRoute, inputs: Mapping[str, Array], turn: _Turn) -> list[Array]:
        session = loaded.session
        assert session is not None
        if turn.beyond:
            await self._queue.spare_turn(session.seconds)
        start, waits = self._clock(), self._queue.wait > 0
        feeds = {t.name: inputs[t.name] for t in session.inputs}
        results = await self._queue.run(
            session, feeds, None, turn.due, beyond=turn.beyond, priority=turn.priority
        )
        self._ran(loaded, inputs, self._clock() - start, waited=waits)
        return results

    def _wait_before(self, turn: _Turn) -> float:
        """Estimated seconds until an inference with this turn would start."""
        return self._queue.wait_before(turn.due, 0.0, beyond=turn.beyond, priority=turn.priority)

    def _ran(self, loaded: LoadedRoute, inputs: Mapping[str, Array], seconds: float, *, waited: bool) -> None:
        """Counts a run here. inputs: of the model. waited: whether others were before it."""
        loaded.stats.add(seconds)
        if not waited:
            self._compare(loaded, inputs, seconds)
        self.metrics.stage(loaded.route.name, seconds)

    def _compare(self, loaded: LoadedRoute, inputs: Mapping[str, Array], seconds: float) -> None:
        """Compares a run that waited for no other with the plan, if it is one item of a planned stage."""
        table, local, session = self._generations.table, loaded.route.local, loaded.session
        if table is None or local is None or session is None or all(r is not loaded for r in table.routes):
            return
        if rows(session.inputs, [inputs[tensor.name] for tensor in session.inputs]) in (None, 1):
            predicted = table.predicted(loaded, inputs, local.compute)
            now = self._generations.resources.clock()
            self.residuals.add(table.placement.spec.model.digest, loaded.route.exit, predicted, seconds, now)

    async def _run_split(
        self,
        table: LoadedTable,
        chosen: Chosen,
        request: InferenceRequest,
        admitted: _Admitted,
    ) -> _Computed:
        """Computes by the hop or by a fallback at this node."""
        loaded, trial, inputs = chosen.loaded, chosen.trial, request.inputs
        known = inputs
        start, deadline, turn = admitted.start, admitted.deadline, admitted.turn
        if loaded.session is not None and loaded.route.local is not None:
            behind = loaded.route.predicted_latency - loaded.route.local.compute
            try:
                head = replace(turn, due=start + head_due(deadline, behind))
                made = await self._run_stage(loaded, inputs, head)
            except BaseException:
                self._ended(loaded, "nothing", trial=trial, fair=False)
                raise
            unfit = without_range(loaded.session.outputs, made)
            if unfit is not None:
                self._ended(loaded, "nothing", trial=trial, fair=False)
                return await self._run_instead(table, loaded, inputs, turn, unfit)
            # The remote stage reads outputs of the local stage, and inputs of the model that bypass the cut.
            known = {**inputs, **{t.name: a for t, a in zip(loaded.session.outputs, made, strict=True)}}
        wait = self._wait_before(turn)
        fallback = table.fallback(loaded, latest(deadline) - (self._clock() - start) - wait)
        times = Times(
            table.placement.spec.slo.latency,
            deadline,
            self._clock() - start,
            loaded.route.predicted_latency,
            chosen.chance,
        )
        spec = table.placement.spec
        action, leave_at = spec.deadline_action, spec.early_exit.leave_at
        allowed = allowance(action, times, fallback.stats if fallback is not None else None)
        if fallback is None:
            return await self._send(loaded, known, allowed, trial=trial), loaded, "ok"

        async def instead() -> list[Array]:
            return fallback.results(await self._run_stage(fallback, known, turn), known)

        deferred = DeferredFallback(instead)
        is_tail = fallback is table.fallbacks.get(loaded.route.name)
        if leave_at is not None and is_tail and fallback.outputs.has(request.outputs):
            results = await deferred.result()
            if (fallback.outputs.confidence(results, inputs) or 0.0) >= leave_at:
                self._ended(loaded, "nothing", trial=trial, fair=False)
                return results, fallback, "ok"
        if allowed.fallback_in is not None:
            deferred.start_in(allowed.fallback_in)
        try:
            return await self._send(loaded, known, allowed, trial=trial), loaded, "ok"
        except CannotAnswer as error:
            reason = _OUTCOMES.get(type(error), "failed")
            if action is DeadlineAction.FAIL and reason != "failed":
                raise
            self.metrics.fallback(reason)
            return await deferred.result(), fallback, "fallback"
        finally:
            deferred.cancel()

    async def _run_instead(
        self, table: LoadedTable, loaded: LoadedRoute, inputs: Mapping[str, Array], turn: _Turn, unfit: str
    ) -> _Computed:
        """Uses the local route if the codec cannot carry the values.

        Raises HopFailed without a local route.
        """
        left = turn.due - self._clock()
        local = table.local_within(left - self._wait_before(turn))
        if local is None:
            raise HopFailed(f"{loaded.route.name}: {unfit} has values that its codec cannot carry")
        self.metrics.fallback("failed")
        return await self._run_stage(local, inputs, turn), local, "fallback"

    async def _send(
        self, loaded: LoadedRoute, known: Mapping[str, Array], allowed: Allowance, *, trial: bool
    ) -> list[Array]:
        hop, remote = loaded.hop, loaded.route.remote
        assert hop is not None
        assert remote is not None
        begin, outcome = self._clock(), "nothing"  # stays if the client disconnects
        try:
            activations = [known[t.name] for t in remote.slice.inputs]
            async with asyncio.timeout(None) as limit:
                with self._breakers.patient(hop, limit, allowed.expected):
                    results = await hop.infer(activations, allowed.seconds, only=allowed.only)
            outcome = "ok"
            return loaded.results(results, known)
        except TimeoutError:
            raise HopLate(f"{remote.place}: circuit breaker opened while waiting") from None
        except CannotAnswer as error:
            outcome = _OUTCOMES.get(type(error), "failed")
            if self._ended(loaded, outcome, trial=trial, fair=allowed.fair):
                _log.warning("route %s: %s", loaded.route.name, error)
            raise
        except Exception as error:  # a bug here must not cost the response
            outcome = "failed"
            self._ended(loaded, outcome, trial=trial, fair=True)
            _log.exception("route %s", loaded.route.name)
            raise HopFailed(f"{loaded.route.name}: {error!r}") from error
        finally:
            if outcome in ("ok", "nothing"):
                self._ended(loaded, outcome, trial=trial, fair=True)
            if outcome != "nothing":
                self.metrics.hop(loaded.route.name, outcome, self._clock() - begin)
                self.statistics.hopped(self._clock() - begin)

    def _ended(self, loaded: LoadedRoute, outcome: str, *, trial: bool, fair: bool) -> bool:
        assert loaded.hop is not None
        return self._breakers.ended(loaded.hop, outcome, trial=trial, fair=fair)


def _worth(table: LoadedTable, loaded: LoadedRoute, outcome: str) -> float:
    """Accuracy of a response: the highest of the model if the input left at an early exit with confidence."""
    planned = any(other.route.name == loaded.route.name for other in table.routes)
    return loaded.route.accuracy if planned or outcome != "ok" else 1.0
