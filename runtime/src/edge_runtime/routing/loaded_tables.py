"""Route tables with every slice loaded and warm and every hop addressed before the first request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from edge_planning.responses import crossing
from edge_planning.routing.deadlines import DeadlineAction
from edge_planning.routing.latency_stats import LatencyStats
from edge_planning.routing.routes import RouteRequirement, bandwidth_alone
from edge_runtime.assignment import IntermediateSlice, Placement, Route, Slice, Stage, returned
from edge_runtime.errors import CannotLoad, EdgeError
from edge_runtime.inference.sessions import Session
from edge_runtime.routing.hops import Hop
from edge_runtime.routing.response_outputs import NO_OUTPUTS, ResponseOutputs, response_outputs
from edge_runtime.routing.shaped_tables import TableShapes, request_shape, table_shapes
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.routing.warm_inputs import WarmInputs
from edge_runtime.tensors import Array, Contract, Tensor

HopTo = Callable[[Sequence[Stage]], Hop]


@dataclass(frozen=True, slots=True)
class LoadedRoute:
    """A route with its session here, its hop, or both. `stats` are those of the session.

    outputs: of its response; none for a part of a route that ends before an exit. kept: names of the tensors
    known here that follow those of the last stage in its results.
    """

    route: Route
    session: Session | None
    hop: Hop | None
    stats: LatencyStats = field(default_factory=LatencyStats)
    outputs: ResponseOutputs = NO_OUTPUTS
    kept: tuple[str, ...] = ()

    def results(self, made: list[Array], known: Mapping[str, Array]) -> list[Array]:
        """The results that `outputs` describes. made: by the last stage. known: tensors here by name."""
        return [*made, *(known[name] for name in self.kept)] if self.kept else made


@dataclass(frozen=True, slots=True)
class LoadedIntermediate:
    """An intermediate slice with its session, and its next hop if it has one."""

    slice: IntermediateSlice
    session: Session
    hop: Hop | None
    contract: Contract
    stats: LatencyStats = field(default_factory=LatencyStats)


@dataclass(frozen=True, slots=True)
class BranchPoint:
    """An early exit: the trunk up to its branch point, and its branch."""

    trunk: LoadedRoute
    branch: LoadedRoute


@dataclass(frozen=True, slots=True)
class BranchedRoute:
    """A local route divided at its early exits, nearest first, and the rest behind the last of them."""

    points: tuple[BranchPoint, ...]
    rest: LoadedRoute


@dataclass(frozen=True, slots=True)
class LoadedTable:
    """One generation of the route table: everything that a request needs.

    fallbacks: local tails that can respond in place of a route's hop, by the route's name.
    branched_routes: local routes with early exits, by name. Both are loaded after the table.
    shapes: costs by the shape of a request; None if only the batch is open. samples: for warm-ups.
    missing: routes that are omitted, and why.
    """

    placement: Placement
    routes: tuple[LoadedRoute, ...]
    requirements: tuple[RouteRequirement, ...]
    sessions: dict[str, Session]
    local: LoadedRoute | None
    contract: Contract
    hops: tuple[Hop | None, ...]
    missing: str = ""
    intermediates: tuple[LoadedIntermediate, ...] = ()
    fallbacks: dict[str, LoadedRoute] = field(default_factory=dict)
    branched_routes: dict[str, BranchedRoute] = field(default_factory=dict)
    shapes: TableShapes | None = None
    samples: WarmInputs | None = None

    def request_size(self, inputs: Mapping[str, Array]) -> float | None:
        """Elements of a request's inputs for a batch of one; None without costs by shape, or if unknown."""
        shape = None if self.shapes is None else request_shape(self.contract.inputs, inputs)
        return None if shape is None else float(shape.size)

    def predicted(self, loaded: LoadedRoute, inputs: Mapping[str, Array], planned: float) -> float:
        """Predicted compute time here, in seconds, of one of the routes on these inputs of the model.

        planned: that at the shape that the table is planned for.
        """
        size = self.request_size(inputs)
        if self.shapes is None or size is None:
            return planned
        costs = self.shapes.routes[next(i for i, each in enumerate(self.routes) if each is loaded)]
        return planned if costs.here is None else costs.here.at(size)

    @property
    def has_fallback(self) -> bool:
        """Whether a local route can respond if a hop is late."""
        return self.local is not None and self.placement.spec.deadline_action is DeadlineAction.LOCAL_EXIT

    @property
    def bytes(self) -> int:
        """Bytes of the slices that are loaded here, each counted once."""
        return sum(session.size for session in self.sessions.values())

    @property
    def unpacked(self) -> tuple[str, ...]:
        """Digests of the slices here whose weights are not packed."""
        return tuple(sorted(digest for digest, session in self.sessions.items() if not session.packed))

    @property
    def unrepeatable(self) -> str | None:
        """Why this node's results may differ from run to run; None if that depends on other nodes."""
        found = next((s.proven.unrepeatable for s in self.sessions.values() if s.proven.unrepeatable), "")
        return found or (None if any(self.hops) else "")

    def leaves_early(self, loaded: LoadedRoute) -> bool:
        """Whether inputs of a local route can leave at an exit before its last."""
        leave_at = self.placement.spec.early_exit.leave_at
        return leave_at is not None and loaded.route.name in self.branched_routes

    def fallback(self, loaded: LoadedRoute, left: float = inf) -> LoadedRoute | None:
        """The fallback of this route's hop in `left` seconds: its local tail, else a route of the ladder."""
        tail = self.fallbacks.get(loaded.route.name)
        if tail is not None and (tail.session is None or tail.session.seconds <= left):
            return tail
        return self.local_within(left) or tail

    def local_within(self, left: float) -> LoadedRoute | None:
        """The most accurate local route that takes at most `left` seconds, else the last one of the ladder.

        None without a local route.
        """
        found = None
        for each in self.routes:
            if each.hop is None and each.session is not None:
                found = each
                if each.session.seconds <= left:
                    break
        return found


async def load_table(
    placement: Placement,
    loader: SliceLoader,
    hop_to: HopTo,
    before: LoadedTable | None,
    *,
    at_hand: bool = False,
) -> LoadedTable:
    """Loads a table, sharing sessions with the one `before` it.

    Raises CannotLoad with the route and the cause, or a subclass if a slice failed its trial.

    at_hand: load from the disk only, and omit missing routes as long as a local one is present.
    """
    sessions: dict[str, Session] = {}
    loaded: list[LoadedRoute] = []
    missing: list[str] = []
    shared = before.sessions if before is not None else {}
    new = {s.digest: s for _, s in _slices_here(placement) if s.digest not in shared}
    model = placement.spec.model
    samples = (
        await loader.warm_inputs(model.warm_up, model.inputs, fetch=not at_hand) if model.warm_up else None
    )
    failures = await loader.admit(new.values(), fetch=not at_hand)
    if not at_hand:
        _refuse(placement, failures)

    packed = _packed_here(placement)

    async def session_of(slice_: Slice) -> Session:
        if slice_.digest in failures:
            raise failures[slice_.digest]
        if slice_.digest in shared:
            sessions[slice_.digest] = shared[slice_.digest]
        choice = packed.get(slice_.digest)
        return await loader.session(slice_, sessions, fetch=not at_hand, packed=choice, samples=samples)

    for route in placement.spec.routes:
        try:
            _check(route.stages, placement.spec.model.inputs)
            outputs = response_outputs(route, placement.spec.model.outputs)
            session = None
            if route.local is not None:
                session = await session_of(route.local.slice)
            remote = [stage for stage in route.stages if stage.address is not None]
            hop = hop_to(remote) if remote else None
        except (EdgeError, ValueError) as error:
            missing.append(f"route {route.name}: {error}")
            if not at_hand:
                raise _because(error, missing[0]) from error
            continue
        stats = LatencyStats(session.seconds if session else 0.0)
        kept = route.local.kept or () if route.local is not None and hop is not None else ()
        loaded.append(LoadedRoute(route, session, hop, stats, outputs, kept))
    if missing and all(r.hop is not None for r in loaded):
        raise CannotLoad("; ".join(missing))
    intermediates: list[LoadedIntermediate] = []
    for intermediate in placement.spec.intermediate_slices:
        here, *beyond = intermediate.stages
        try:
            _check(intermediate.stages, here.slice.inputs)
            session = await session_of(here.slice)
            hop = hop_to(beyond) if beyond else None
        except (EdgeError, ValueError) as error:
            missing.append(f"intermediate slice {intermediate.model}: {error}")
            if not at_hand:
                raise _because(error, missing[-1]) from error
            continue
        gives = Contract(here.slice.inputs, returned(intermediate.stages))
        intermediates.append(
            LoadedIntermediate(intermediate, session, hop, gives, LatencyStats(session.seconds))
        )
    shapes = table_shapes(placement, [each.route for each in loaded])
    requirements = tuple(
        _requirement(each.route, placement.spec.slo.latency, 0.0 if shapes is None else shapes.bits(number))
        for number, each in enumerate(loaded)
    )
    local = next((r for r in loaded if r.hop is None), None)
    of_exits = [t for each in loaded if each.outputs.own for t in each.outputs.tensors]
    contract = Contract(model.inputs, model.outputs, of_exits)
    return LoadedTable(
        placement,
        tuple(loaded),
        requirements,
        sessions,
        local,
        contract,
        tuple(r.hop for r in loaded),
        "; ".join(missing),
        tuple(intermediates),
        shapes=shapes,
        samples=samples,
    )


def _requirement(route: Route, slo: float, at_planned: float = 0.0) -> RouteRequirement:
    """The route's input of the decision. The bytes of a hop whose tensors have open sizes are unknown.

    at_planned: bits of that hop at the planned shape; 0 if they are unknown.
    """
    first = next((i for i, stage in enumerate(route.stages) if stage.runtime == "Triton"), None)
    sent = () if first is None else route.stages[first].slice.inputs
    known = all(t.datatype != "BYTES" and not t.any_rank and min(t.shape[1:], default=1) >= 0 for t in sent)
    back = crossing(sum(t.item_bytes() for t in route.stages[-1].slice.outputs))
    bits = at_planned or (8.0 * (sum(t.item_bytes() for t in sent) + back) if known and sent else 0.0)
    here = route.local.compute if route.local is not None else 0.0
    beyond = sum(stage.compute for stage in route.stages if stage.address is not None)
    if bits and route.min_bandwidth:
        beyond = max(route.predicted_latency - here - bits / route.min_bandwidth, beyond)
    latency = route.predicted_latency
    alone = bandwidth_alone(route.min_bandwidth, latency, bits, slo)
    return RouteRequirement(
        route.min_bandwidth, route.crosses, route.value, latency, here, beyond, bits, alone
    )


def _slices_here(placement: Placement) -> Iterator[tuple[str, Slice]]:
    """The slices that run at this node, each with the name of its route or intermediate slice."""
    named = [(f"route {route.name}", route.stages) for route in placement.spec.routes]
    named += [
        (f"intermediate slice {intermediate.model}", intermediate.stages)
        for intermediate in placement.spec.intermediate_slices
    ]
    for name, stages in named:
        yield from ((name, stage.slice) for stage in stages if stage.address is None)


def _packed_here(placement: Placement) -> dict[str, bool]:
    """Whether to pack the weights of the slices here, by digest: only if every stage with a choice does."""
    found: dict[str, bool] = {}
    stages = [stage for route in placement.spec.routes for stage in route.stages]
    stages += [stage for each in placement.spec.intermediate_slices for stage in each.stages]
    for stage in stages:
        if stage.address is None and stage.packed is not None:
            found[stage.slice.digest] = stage.packed and found.get(stage.slice.digest, True)
    return found


def digests_here(placement: Placement) -> set[str]:
    """Digests of the slices that run at this node, and of the sample on which they are warmed up."""
    warm_up = placement.spec.model.warm_up
    return {slice_.digest for _, slice_ in _slices_here(placement)} | ({warm_up} if warm_up else set())


def _refuse(placement: Placement, failures: Mapping[str, EdgeError]) -> None:
    """Raises an error that names each slice that must not be loaded, with the first route that uses it."""
    said: dict[str, str] = {}
    for name, slice_ in _slices_here(placement):
        if slice_.digest in failures:
            said.setdefault(slice_.digest, f"{name}: {failures[slice_.digest]}")
    if said:
        raise _because(failures[next(iter(said))], "; ".join(said.values()))


def _because(error: Exception, said: str) -> CannotLoad:
    """The error with another message, of the same class if it is one about a slice."""
    return type(error)(said) if isinstance(error, CannotLoad) else CannotLoad(said)


def _check(stages: Sequence[Stage], inputs: Sequence[Tensor]) -> None:
    """Checks that the stages match each other and the inputs, so that requests do not fail later."""
    whole = given = _described(inputs)
    for stage in stages:
        wanted = _described(stage.slice.inputs)
        if not wanted <= given:
            raise CannotLoad(f"the stage at {stage.place} reads {wanted}, but the one before returns {given}")
        given = _described(stage.slice.outputs)
        if stage.address is None:  # after the first hop only the sent tensors are available
            given |= whole


def _described(tensors: Sequence[Tensor]) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(t.name, t.datatype, t.shape) for t in tensors}
