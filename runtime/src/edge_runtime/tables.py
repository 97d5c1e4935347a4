"""A route table made ready: every slice loaded and warm, every hop addressed, before the first request sees
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from edge_runtime.assignment import Placement, Route, Slice
from edge_runtime.deadlines import Pace
from edge_runtime.errors import CannotLoad, EdgeError
from edge_runtime.model_store import SliceCache
from edge_runtime.routes import Choice
from edge_runtime.sessions import Session
from edge_runtime.tensors import Contract
from edge_runtime.upstream import Hop

HopTo = Callable[[Route], Hop]


@dataclass(frozen=True, slots=True)
class LoadedRoute:
    """A route with its session here, its hop away, or both. `pace` is that of the session."""

    route: Route
    session: Session | None
    hop: Hop | None
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
    covers: dict[str, LoadedRoute] = field(default_factory=dict)
    ladders: dict[str, Ladder] = field(default_factory=dict)

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
            _check(route, placement)
            session = None
            if route.local is not None:
                session = await load_session(
                    route.local.slice, sessions, cache, executor, before, fetch=not at_hand
                )
            hop = hop_to(route) if route.remote is not None else None
        except (EdgeError, ValueError) as error:
            missing.append(f"route {route.name}: {error}")
            if not at_hand:
                raise CannotLoad(missing[0]) from error
            continue
        loaded.append(LoadedRoute(route, session, hop, Pace(session.seconds if session else 0.0)))
    if missing and all(r.hop is not None for r in loaded):
        raise CannotLoad("; ".join(missing))
    choices = tuple(Choice(r.route.min_bandwidth, r.hop is not None) for r in loaded)
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
    )


async def load_session(
    slice_: Slice,
    sessions: dict[str, Session],
    cache: SliceCache,
    executor: Executor,
    before: Table | None,
    fetch: bool = True,
) -> Session:
    """The slice's session, warm, kept in `sessions`; the one that is there already when there is one."""
    known = sessions.get(slice_.digest) or (
        before.sessions.get(slice_.digest) if before is not None else None
    )
    if known is None:
        data = await cache.get(slice_.digest, fetch)

        def make() -> Session:
            session = Session(data, slice_.inputs, slice_.outputs)
            session.warm()
            return session

        known = await asyncio.get_running_loop().run_in_executor(executor, make)
    sessions[slice_.digest] = known
    return known


def _check(route: Route, placement: Placement) -> None:
    """The stages fit each other and the model, so that no request finds out."""
    model = placement.spec.model
    stages = [s for s in (route.local, route.remote) if s is not None]
    whole = given = {(t.name, t.datatype, t.shape) for t in model.inputs}
    for stage in stages:
        wanted = {(t.name, t.datatype, t.shape) for t in stage.slice.inputs}
        if not wanted <= given:
            raise CannotLoad(f"the stage at {stage.place} reads {wanted}, before it there is {given}")
        given = whole | {(t.name, t.datatype, t.shape) for t in stage.slice.outputs}
    last = stages[-1].slice.outputs
    if len(last) != 1 or (last[0].datatype, last[0].shape) != (model.output.datatype, model.output.shape):
        raise CannotLoad(f"it ends in {last}, the model's output is {model.output}")
