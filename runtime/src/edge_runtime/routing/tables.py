"""A route table made ready: every slice loaded and warm, every hop addressed, before the first request sees
it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from mmap import mmap

from edge_runtime.assignment import Placement, Relay, Route, Slice, Stage
from edge_runtime.errors import BadTensor, CannotLoad, EdgeError, ModelFailed, NotFound
from edge_runtime.inference.memory import UNLIMITED, Memory
from edge_runtime.inference.paces import Pace
from edge_runtime.inference.sessions import Session
from edge_runtime.model_store import SliceCache
from edge_runtime.routing.deadlines import Action
from edge_runtime.routing.routes import Choice
from edge_runtime.routing.upstream import Hop
from edge_runtime.tensors import Contract, Tensor

_log = logging.getLogger(__name__)

HopTo = Callable[[Sequence[Stage]], Hop]


@dataclass(frozen=True, slots=True)
class LoadedRoute:
    """A route with its session here, its hop away, or both. `pace` is that of the session."""

    route: Route
    session: Session | None
    hop: Hop | None
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class LoadedRelay:
    """A relay with its session, and its next hop where it has one."""

    relay: Relay
    session: Session
    hop: Hop | None
    contract: Contract
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Rung:
    """One exit on the way to another: the trunk up to it and its branch."""

    trunk: LoadedRoute
    branch: LoadedRoute


@dataclass(frozen=True, slots=True)
class Ladder:
    """The exits on the way to a local route's, nearest first, and what comes after the last of them."""

    rungs: tuple[Rung, ...]
    rest: LoadedRoute


@dataclass(frozen=True, slots=True)
class Table:
    """A generation: what a request needs to be answered from beginning to end.

    `covers` are what may answer in place of a route's hop, by the route's name: from the activation that its
    head made. `ladders` are the exits on the way of a local route, by its name. Both come later than the
    table. `missing` says which routes are left out and why.
    """

    placement: Placement
    routes: tuple[LoadedRoute, ...]
    choices: tuple[Choice, ...]
    sessions: dict[str, Session]
    local: LoadedRoute | None
    contract: Contract
    hops: tuple[Hop | None, ...]
    missing: str = ""
    relays: tuple[LoadedRelay, ...] = ()
    covers: dict[str, LoadedRoute] = field(default_factory=dict)
    ladders: dict[str, Ladder] = field(default_factory=dict)

    @property
    def insured(self) -> bool:
        """Whether something else answers in time where a hop is late."""
        return self.local is not None and self.placement.spec.deadline.action is Action.LOCAL_EXIT

    @property
    def bytes(self) -> int:
        """Of the slices that are loaded here, each once."""
        return sum(session.size for session in self.sessions.values())

    @property
    def unrepeatable(self) -> str | None:
        """Why what this node computes may differ from run to run; None where it depends on what others do."""
        found = next((s.verdict.unrepeatable for s in self.sessions.values() if s.verdict.unrepeatable), "")
        return found or (None if any(self.hops) else "")

    def cover(self, loaded: LoadedRoute) -> LoadedRoute | None:
        """What answers in place of this route's hop: from its activation, else from the input."""
        return self.covers.get(loaded.route.name, self.local)


async def load_table(
    placement: Placement,
    cache: SliceCache,
    hop_to: HopTo,
    executor: Executor,
    before: Table | None,
    at_hand: bool = False,
    threads: int = 1,
    memory: Memory = UNLIMITED,
) -> Table:
    """A table ready to serve, sharing sessions with the one `before` it; CannotLoad
    says which route and why.

    `at_hand`: from the disk alone, without the routes that it lacks as long as a local one is there.
    """
    sessions: dict[str, Session] = {}
    loaded: list[LoadedRoute] = []
    missing: list[str] = []
    for route in placement.spec.routes:
        try:
            _check(route.stages, placement.spec.model.inputs, placement)
            session = None
            if route.local is not None:
                session = await load_session(
                    route.local.slice, sessions, cache, executor, before, not at_hand, threads, memory
                )
            remote = [stage for stage in route.stages if stage.address is not None]
            hop = hop_to(remote) if remote else None
        except (EdgeError, ValueError) as error:
            missing.append(f"route {route.name}: {error}")
            if not at_hand:
                raise CannotLoad(missing[0]) from error
            continue
        loaded.append(LoadedRoute(route, session, hop, Pace(session.seconds if session else 0.0)))
    if missing and all(r.hop is not None for r in loaded):
        raise CannotLoad("; ".join(missing))
    relays: list[LoadedRelay] = []
    for relay in placement.spec.relays:
        here, *beyond = relay.stages
        try:
            _check(relay.stages, here.slice.inputs, placement)
            session = await load_session(
                here.slice, sessions, cache, executor, before, not at_hand, threads, memory
            )
            hop = hop_to(beyond) if beyond else None
        except (EdgeError, ValueError) as error:
            missing.append(f"relay {relay.model}: {error}")
            if not at_hand:
                raise CannotLoad(missing[-1]) from error
            continue
        gives = Contract(here.slice.inputs, relay.stages[-1].slice.outputs)
        relays.append(LoadedRelay(relay, session, hop, gives, Pace(session.seconds)))
    choices = tuple(Choice(r.route.min_bandwidth, r.route.crosses) for r in loaded)
    local = next((r for r in loaded if r.hop is None), None)
    model = placement.spec.model
    contract = Contract(model.inputs, (model.output,))  # whichever exit answers
    return Table(
        placement,
        tuple(loaded),
        choices,
        sessions,
        local,
        contract,
        tuple(r.hop for r in loaded),
        "; ".join(missing),
        tuple(relays),
    )


async def load_session(
    slice_: Slice,
    sessions: dict[str, Session],
    cache: SliceCache,
    executor: Executor,
    before: Table | None,
    fetch: bool = True,
    threads: int = 1,
    memory: Memory = UNLIMITED,
) -> Session:
    """The slice's session, warm, kept in `sessions`; the one that is there already when there is one."""
    known = sessions.get(slice_.digest) or (
        before.sessions.get(slice_.digest) if before is not None else None
    )
    if known is None:
        run = asyncio.get_running_loop().run_in_executor
        known = await run(executor, _load_from_disk, slice_, cache, threads, memory)
    if known is None and not fetch:
        raise NotFound(f"slice {slice_.digest} is not on this node's disk, or is damaged there")
    if known is None:
        data = await cache.fetch(slice_.digest)
        known = await run(executor, _make_checked, slice_, data, threads, memory)
    sessions[slice_.digest] = known
    return known


def _load_from_disk(slice_: Slice, cache: SliceCache, threads: int, memory: Memory) -> Session | None:
    """Blocking, nearly all of it without the interpreter's lock."""
    size = cache.size(slice_.digest)
    if size is not None:
        memory.check(f"slice {slice_.digest}", size)
    data = cache.read(slice_.digest)
    if data is None:
        return None
    with data:
        return _make(slice_, data, threads)


def _make_checked(slice_: Slice, data: bytes, threads: int, memory: Memory) -> Session:
    memory.check(f"slice {slice_.digest}", len(data))
    return _make(slice_, data, threads)


def _make(slice_: Slice, data: bytes | mmap, threads: int) -> Session:
    session = Session(data, slice_.inputs, slice_.outputs, threads)
    try:
        session.warm()
    except (BadTensor, ModelFailed) as error:  # zeros need not be a sensible input
        _log.warning("slice %s serves without a warm-up: %s", slice_.digest, error)
    if session.verdict.alone:
        _log.info("slice %s: requests run alone: %s", slice_.digest, session.verdict.alone)
    return session


def _check(stages: Sequence[Stage], inputs: Sequence[Tensor], placement: Placement) -> None:
    """The stages fit each other and the model, so that no request finds out."""
    output = placement.spec.model.output
    whole = given = _described(inputs)
    for stage in stages:
        wanted = _described(stage.slice.inputs)
        if not wanted <= given:
            raise CannotLoad(f"the stage at {stage.place} reads {wanted}, before it there is {given}")
        given = _described(stage.slice.outputs)
        if stage.address is None:  # beyond the first hop there is only what was sent
            given |= whole
    last = stages[-1].slice.outputs
    if len(last) != 1 or (last[0].datatype, last[0].shape) != (output.datatype, output.shape):
        raise CannotLoad(f"it ends in {last}, the model's output is {output}")


def _described(tensors: Sequence[Tensor]) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(t.name, t.datatype, t.shape) for t in tensors}
