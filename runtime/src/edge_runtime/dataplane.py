"""Answers requests: picks the route, runs what is local, sends on what is not, and keeps the deadline.

A request holds the table that it started with; a new one is prepared beside it and takes over by one
assignment.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from edge_runtime.answers import Answer, confidence
from edge_runtime.assignment import Placement, Slice, Stage
from edge_runtime.cheap.settings import OFF, Cheap
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import CannotAnswer, EdgeError, HopFailed, HopLate, LinkBusy, NotReady
from edge_runtime.inference.batches import LARGEST
from edge_runtime.inference.memory import UNLIMITED, Memory
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.links import LinkMonitor
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import SliceCache
from edge_runtime.routing.completions import Completions
from edge_runtime.routing.deadlines import Action, Allowance, Times, allowance, head_due, usable
from edge_runtime.routing.guards import Guards
from edge_runtime.routing.insurance import Insurance
from edge_runtime.routing.ladders import climb
from edge_runtime.routing.relays import RelayBackend
from edge_runtime.routing.routes import LinkView, RouteState, decide
from edge_runtime.routing.tables import LoadedRoute, Table, load_session, load_table
from edge_runtime.routing.upstream import Hop
from edge_runtime.status import Window
from edge_runtime.tensors import Array, Contract

_log = logging.getLogger(__name__)

_OUTCOMES: Final[dict[type[Exception], str]] = {HopLate: "late", LinkBusy: "busy"}


class Dataplane:
    """One service at this node."""

    platform = "edge-intelligence"

    def __init__(
        self,
        cache: SliceCache,
        metrics: Metrics,
        resolver: Resolver,
        clock: Callable[[], float] = time.perf_counter,
        tls: ssl.SSLContext | None = None,
        completions: Completions | None = None,
        threads: int = 1,
        max_batch: int = LARGEST,
        memory: Memory = UNLIMITED,
    ) -> None:
        self.table: Table | None = None
        self.relays: Mapping[str, RelayBackend] = {}
        self.link: LinkMonitor | None = None
        self.message = ""
        self.generation = 0
        self.loaded = False
        self.window = Window()
        self.changed = asyncio.Event()
        self._tls = tls
        self.cheap = OFF
        self._state = RouteState()
        self._cache, self._metrics, self._resolver, self._clock = cache, metrics, resolver, clock
        self._completions = completions
        self._completing: asyncio.Task[None] | None = None
        self._guards = Guards(clock, self._reachable, self.changed.set)
        self._clients: dict[str, HttpClient] = {}
        self._runner = Runner(largest=max_batch, said=metrics.batch, clock=clock)
        self._threads, self._memory = threads, memory
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

    @property
    def accuracy(self) -> float:
        """Of the route that the next request would take."""
        active = self.active
        return active.route.accuracy if active is not None else 0.0

    @property
    def target(self) -> float | None:
        """The SLO's seconds; None before a table is loaded."""
        return self.table.placement.spec.slo.latency if self.table is not None else None

    async def use(self, placement: Placement, at_hand: bool = False) -> bool:
        """Prepares a placement and switches to it; False, with `message` saying why, leaves the old one
        active.

        `at_hand` takes what the disk has: `loaded` stays False while a route is missing.
        """
        try:
            link = self._link_for(placement)
            table = await load_table(
                placement,
                self._cache,
                lambda stages: self._hop(stages, link),
                self._loader,
                self.table,
                at_hand,
                self._threads,
                self._memory,
            )
        except EdgeError as error:
            self.refuse(placement.generation, str(error))
            return False
        except Exception as error:  # whatever a file of somebody else's does to us: the old table serves on
            _log.exception("generation %d", placement.generation)
            self.refuse(placement.generation, f"it cannot be loaded: {error!r}")
            return False
        old, self.table = self.table, table
        latency = placement.spec.slo.latency
        self.relays = {
            r.relay.model: RelayBackend(r, self._runner, self._metrics, self._clock, latency)
            for r in table.relays
        }
        spec = placement.spec
        self.cheap = Cheap(spec.input_filter, spec.result_cache, spec.model.digest)
        before = old.routes[self._state.active].route.name if old and self._state.active is not None else None
        self._switch_link(link)
        same = next((i for i, r in enumerate(table.routes) if r.route.name == before), None)
        self._state = RouteState(active=same)
        self.generation, self.message, self.loaded = placement.generation, table.missing, not table.missing
        self._forget_clients(table)
        self._metrics.sessions(table.bytes)
        if self._completing is not None:
            self._completing.cancel()
        self._completing = asyncio.create_task(self._complete(table))
        _log.info(
            "generation %d is loaded: %s", placement.generation, ", ".join(r.route.name for r in table.routes)
        )
        self.changed.set()
        return True

    def refuse(self, generation: int, why: str) -> None:
        """A placement is not used; the one before serves on."""
        self.generation, self.message, self.loaded = generation, why, False
        _log.error("generation %d is not loaded: %s", generation, why)
        self.changed.set()

    async def _complete(self, table: Table) -> None:
        async def load(slice_: Slice) -> Session:
            return await load_session(
                slice_, table.sessions, self._cache, self._loader, table, True, self._threads, self._memory
            )

        if self._completions is not None:
            await self._completions.complete(table, load)
            self._metrics.sessions(table.bytes)

    async def infer(
        self,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        within: float | None = None,
        stream: str = "",
        since: float | None = None,
    ) -> Answer:
        """Answers checked inputs `within` so many seconds or the SLO, whichever is less.

        The time counts from `since` (by this clock), else from now. Raises CannotAnswer when neither the
        route nor a local one can, QueueFull when too many wait.
        """
        start = self._clock() if since is None else since
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
        return Answer([output] * len(outputs), parameters, _worth(table, loaded, outcome))

    def repeated(self, answer: Answer, outcome: str, seconds: float, within: float | None) -> None:
        """Counts a request that was answered by an answer given before."""
        target = self.target
        met = target is None or seconds <= target
        exit_, route = str(answer.parameters["exit"]), str(answer.parameters["route"])
        self._metrics.request(exit_, route, outcome, seconds, met)
        self.window.add(self._clock() - seconds, seconds, met)

    async def _answer(
        self, table: Table, inputs: Mapping[str, Array], start: float, deadline: float
    ) -> tuple[Array, LoadedRoute, str]:
        """The output, the route that it came by and how that went; CannotAnswer when none can."""
        chosen, trial = self._choose(table, deadline)
        try:
            if chosen.hop is None:
                due = start + usable(deadline)
                return *await self._run_here(table, chosen, inputs, start + deadline, due), "ok"
            return await self._run_split(table, chosen, inputs, start, deadline, trial)
        except CannotAnswer:
            seconds = self._clock() - start
            self._metrics.request(chosen.route.exit, chosen.route.name, "failed", seconds, False)
            self.window.add(start, seconds, False)
            raise

    async def close(self) -> None:
        """Ends measuring and closes connections; what is in flight is the caller's to await first."""
        self._guards.close()
        if self._completing is not None:
            self._completing.cancel()
        if self.link is not None:
            await self.link.stop()
        for client in self._clients.values():
            client.close()
        self._runner.close()
        self._loader.shutdown(wait=False)

    def _decide(self, table: Table) -> tuple[int, RouteState]:
        now, shut = self._clock(), self._guards.shut(table.hops)
        index, state = decide(table.choices, self._view(), self._state, now, shut)
        if index != self._state.active:
            route = table.routes[index].route
            self._metrics.active(route.name, route.exit, self._state.active is not None)
            self.changed.set()
        return index, state

    def _choose(self, table: Table, deadline: float) -> tuple[LoadedRoute, bool]:
        """The route for one request, and whether it is the one that finds out about a hop that failed."""
        index, self._state = self._decide(table)
        chosen, local = table.routes[index], table.local
        if local is None:
            return chosen, False
        if (tried := self._to_be_tried(table, index)) is not None:
            return tried, True
        hurried = deadline < min(table.placement.spec.slo.latency, chosen.route.predicted_latency)
        return (local if hurried and local.pace.most <= deadline else chosen), False

    def _to_be_tried(self, table: Table, index: int) -> LoadedRoute | None:
        """The best of the routes that would be taken but for a breaker which may be tried."""
        shut, passed = self._guards.shut(table.hops), set[int]()
        while shut:
            best = decide(table.choices, self._view(), RouteState(), 0.0, passed)[0]
            hop = table.routes[best].hop
            if best == index or hop is None or best in passed:
                return None
            if best in shut and self._guards.may_try(hop):
                return table.routes[best]
            passed.add(best)
        return None

    def _view(self) -> LinkView:
        if self.link is None:
            return LinkView(True, None)
        if self.table is not None and self.table.insured:
            return self.link.view()
        return self.link.view(cautious=True)

    def _reachable(self) -> bool:
        return self.link is None or self.link.view().up

    async def _run_here(
        self, table: Table, loaded: LoadedRoute, inputs: Mapping[str, Array], until: float, due: float
    ) -> tuple[Array, LoadedRoute]:
        ladder, leave_at = table.ladders.get(loaded.route.name), table.placement.spec.early_exit.leave_at
        if ladder is None or leave_at is None:
            return await self._run(loaded, inputs, due), loaded
        run = partial(self._run_stage, due=due)
        return await climb(ladder, inputs, leave_at, run, lambda: until - self._clock())

    async def _run(
        self, loaded: LoadedRoute, inputs: Mapping[str, Array], due: float, halt: Halt | None = None
    ) -> Array:
        return (await self._run_stage(loaded, inputs, due, halt))[0]

    async def _run_stage(
        self, loaded: LoadedRoute, inputs: Mapping[str, Array], due: float, halt: Halt | None = None
    ) -> list[Array]:
        session = loaded.session
        assert session is not None
        start = self._clock()
        feeds = {t.name: inputs[t.name] for t in session.inputs}
        results = await self._runner.run(session, feeds, None, halt, due)
        seconds = self._clock() - start
        loaded.pace.add(seconds)
        self._metrics.stage(loaded.route.name, seconds)
        return results

    async def _run_split(
        self,
        table: Table,
        loaded: LoadedRoute,
        inputs: Mapping[str, Array],
        start: float,
        deadline: float,
        trial: bool,
    ) -> tuple[Array, LoadedRoute, str]:
        """By the hop, insured by what can answer here: as `_answer`."""
        known = inputs
        if loaded.session is not None and loaded.route.local is not None:
            behind = loaded.route.predicted_latency - loaded.route.local.predicted_compute
            try:
                made = await self._run_stage(loaded, inputs, start + head_due(deadline, behind))
            except BaseException:
                self._ended(loaded, "nothing", trial=trial, fair=False)
                raise
            # What the far stage reads was made here, or is an input that goes past the cut as it is.
            known = {**inputs, **{t.name: a for t, a in zip(loaded.session.outputs, made, strict=True)}}
        cover = table.cover(loaded)
        times = Times(
            table.placement.spec.slo.latency,
            deadline,
            self._clock() - start,
            loaded.route.predicted_latency,
        )
        spec = table.placement.spec
        action, leave_at = spec.deadline.action, spec.early_exit.leave_at
        allowed = allowance(action, times, cover.pace if cover is not None else None)
        if cover is None:
            return await self._send(loaded, known, allowed, trial), loaded, "ok"
        insurance = Insurance(lambda halt: self._run(cover, known, start + usable(deadline), halt))
        if leave_at is not None and cover is not table.local:
            output = await insurance.result()
            if (confidence(output) or 0.0) >= leave_at:
                self._ended(loaded, "nothing", trial=trial, fair=False)
                return output, cover, "ok"
        if allowed.insure_in is not None:
            insurance.begin_in(allowed.insure_in)
        try:
            return await self._send(loaded, known, allowed, trial), loaded, "ok"
        except CannotAnswer as error:
            reason = _OUTCOMES.get(type(error), "failed")
            if action is Action.FAIL and reason != "failed":
                raise
            self._metrics.fallback(reason)
            return await insurance.result(), cover, "fallback"
        finally:
            insurance.cancel()

    async def _send(
        self, loaded: LoadedRoute, known: Mapping[str, Array], allowed: Allowance, trial: bool
    ) -> Array:
        hop, remote = loaded.hop, loaded.route.remote
        assert hop is not None
        assert remote is not None
        begin = self._clock()
        outcome = "nothing"  # so it stays when the caller has left
        try:
            activations = [known[t.name] for t in remote.slice.inputs]
            async with asyncio.timeout(None) as limit:
                with self._guards.patient(hop, limit, allowed.expected):
                    output = (await hop.infer(activations, allowed.seconds))[0]
            outcome = "ok"
            return output
        except TimeoutError:
            raise HopLate(f"{remote.place}: others waited in vain meanwhile") from None
        except CannotAnswer as error:
            outcome = _OUTCOMES.get(type(error), "failed")
            if self._ended(loaded, outcome, trial=trial, fair=allowed.fair):
                _log.warning("route %s: %s", loaded.route.name, error)
            raise
        except Exception as error:  # a fault of ours must not cost the answer either
            outcome = "failed"
            self._ended(loaded, outcome, trial=trial, fair=True)
            _log.exception("route %s", loaded.route.name)
            raise HopFailed(f"{loaded.route.name}: {error!r}") from error
        finally:
            if outcome in ("ok", "nothing"):
                self._ended(loaded, outcome, trial=trial, fair=True)
            if outcome != "nothing":
                self._metrics.hop(loaded.route.name, outcome, self._clock() - begin)

    def _ended(self, loaded: LoadedRoute, outcome: str, *, trial: bool, fair: bool) -> bool:
        assert loaded.hop is not None
        return self._guards.ended(loaded.hop, outcome, trial=trial, fair=fair)

    def _hop(self, stages: Sequence[Stage], link: LinkMonitor | None) -> Hop:
        remote, *beyond = stages
        assert remote.address is not None
        client = self._clients.get(remote.address)
        if client is None:
            client = HttpClient(remote.address, self._resolver, tls=self._tls)
            self._clients[remote.address] = client
        # Between edge nodes there is another link than the measured one.
        return Hop(remote, client, link if remote.runtime == "Triton" else None, beyond)

    def _link_for(self, placement: Placement) -> LinkMonitor | None:
        spec = placement.spec.link
        chains = [chain.stages for chain in placement.spec.routes]
        chains += [chain.stages for chain in placement.spec.relays]
        if spec is None or not any(stage.runtime == "Triton" for chain in chains for stage in chain):
            return self.link if spec is not None and self.link is not None else None
        if self.link is not None and self.link.spec == spec:
            return self.link
        return LinkMonitor(spec, self._resolver, self._link_changed, tls=self._tls, on_probe=self._probed)

    def _switch_link(self, link: LinkMonitor | None) -> None:
        old, self.link = self.link, link
        if link is not None and link is not old:
            link.start()
        if old is not None and old is not link:
            old.cancel()

    def _probed(self, size: int) -> None:
        if self.link is not None:
            self._metrics.probe(self.link.spec.peer, size)

    def _link_changed(self, recovered: bool, notable: bool) -> None:
        if recovered:
            self._guards.recovered()
        if self.link is not None:
            bandwidth, told = self.link.view().bandwidth, self.link.report()
            self._guards.measured(bandwidth)
            level, low = (value or 0.0 if told.up else 0.0 for value in (bandwidth, told.bandwidth_low))
            measured = told.measured_at.timestamp() if told.measured_at is not None else None
            self._metrics.link(self.link.spec.peer, level, low, measured)
        if self.table is not None:
            _, self._state = self._decide(self.table)
        if notable:
            self.changed.set()

    def _forget_clients(self, table: Table) -> None:
        hops = [hop for hop in table.hops if hop is not None]
        self._guards.keep_only({hop.address for hop in hops})
        needed = {hop.url for hop in (*hops, *(r.hop for r in table.relays if r.hop is not None))}
        for address in self._clients.keys() - needed:
            self._clients.pop(address).close()


def _worth(table: Table, loaded: LoadedRoute, outcome: str) -> float:
    """The accuracy of an answer; the highest where its exit was so sure that the input left early."""
    planned = any(other.route.name == loaded.route.name for other in table.routes)
    return loaded.route.accuracy if planned or outcome != "ok" else 1.0
