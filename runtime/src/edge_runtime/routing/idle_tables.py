"""A route table whose sessions are let go without requests, and loaded again by the next request.

The slices stay on the disk. The first request loads one local route and is answered by it; requests that
arrive until then share this load. The other routes follow in the background: local ones at once, and those
through a hop as soon as the model at its end is ready, since its tail may have been unloaded, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_planning.routing.idle import FirstRoute, first_route
from edge_runtime.assignment import Placement, Route
from edge_runtime.inference.sessions import Session
from edge_runtime.routing.hops import Hop
from edge_runtime.routing.loaded_tables import LoadedRoute, LoadedTable
from edge_runtime.tensors import Contract

_ASK_AGAIN: Final = 1.0
_AT_MOST: Final = 5.0
"""Seconds between two looks whether a tail is ready, at first and at most."""
_READY_WITHIN: Final = 2.0

Load = Callable[[Placement, LoadedTable | None], Awaitable[LoadedTable]]
"""Loads a table, with the sessions of another one."""
TakeOver = Callable[[LoadedTable], None]


@dataclass(frozen=True, slots=True)
class IdleTable:
    """A table without sessions.

    Attributes:
        placement: With all routes.
        contract: Inputs and outputs for clients.
        active: The route that was active, which the status still names.
        costs: Of each local route, by its name: seconds of loading its session and of a run.
    """

    placement: Placement
    contract: Contract
    active: Route
    costs: Mapping[str, FirstRoute]

    def first(self, left: float) -> tuple[Route, FirstRoute]:
        """Returns the local route that a request with `left` seconds loads, and its cost."""
        ladder = _local(self.placement)
        costs = [self.costs[route.name] for route in ladder]
        index = first_route(costs, left)
        return ladder[index], costs[index]


def can_be_let_go(placement: Placement) -> bool:
    """Whether this node can respond from its disk alone, and serves no slices to other entry nodes."""
    return bool(_local(placement)) and not placement.spec.intermediate_slices


def idle(
    table: LoadedTable, placement: Placement, active: Route, took: Callable[[Session], float]
) -> IdleTable:
    """Returns what is left of a table once its sessions are let go.

    placement: with all of its routes. took: seconds of loading a session.
    """
    known = {
        each.route.name: FirstRoute(took(each.session), each.session.seconds)
        for each in table.routes
        if each.session is not None
    }
    costs = {route.name: known.get(route.name, _UNKNOWN) for route in _local(placement)}
    return IdleTable(placement, table.contract, active, costs)


_UNKNOWN: Final = FirstRoute(0.0, 0.0)


def with_routes(placement: Placement, names: Collection[str]) -> Placement:
    """Returns a placement with some of its routes alone."""
    routes = tuple(route for route in placement.spec.routes if route.name in names)
    return placement.model_copy(update={"spec": placement.spec.model_copy(update={"routes": routes})})


async def complete(placement: Placement, first: LoadedTable, load: Load, take_over: TakeOver) -> LoadedTable:
    """Loads the other routes of a table and has them take over. Returns the complete table.

    load: raises EdgeError. A hop whose model is not ready is checked again after 1 s, then after up to 5 s.
    """
    local = {route.name for route in _local(placement)}
    now = first
    if local != {each.route.name for each in first.routes}:
        now = await load(with_routes(placement, local), first)
        take_over(now)
    names = {route.name for route in placement.spec.routes}
    whole = await load(placement, now)
    pause = _ASK_AGAIN
    while names != {each.route.name for each in now.routes}:
        ready = local | await _ready(whole.routes)
        if ready != {each.route.name for each in now.routes}:
            now = whole if ready == names else await load(with_routes(placement, ready), whole)
            take_over(now)
            continue
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _AT_MOST)
    return now


async def _ready(routes: Sequence[LoadedRoute]) -> set[str]:
    """Returns the names of the routes whose hop leads to a model that is ready."""
    hops = [(each.route.name, each.hop) for each in routes if each.hop is not None]
    found = await asyncio.gather(*(_healthy(hop) for _, hop in hops))
    return {name for (name, _), healthy in zip(hops, found, strict=True) if healthy}


async def _healthy(hop: Hop) -> bool:
    return hop.reachable and await hop.healthy(_READY_WITHIN)


def _local(placement: Placement) -> list[Route]:
    """Returns the local routes of a placement, the most accurate first."""
    return [route for route in placement.spec.routes if route.remote is None]
