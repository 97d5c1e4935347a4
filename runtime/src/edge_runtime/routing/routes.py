"""Which route answers the next request. Pure: the clock and the link's state come in as arguments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edge_runtime.links.estimates import LinkView

HYSTERESIS: Final = (
    1.1  # a route that needs more bandwidth is taken when the estimate is this much above its need
)
DWELL: Final = 0.5


@dataclass(frozen=True, slots=True)
class RouteRequirement:
    """What a route requires: its minimum bandwidth (bit/s), and whether it is remote.

    A route is remote if any of its hops crosses the measured link, at whichever node that hop begins. A route
    whose hops all stay between edge nodes is not, nor is one without hops.
    """

    min_bandwidth: float
    remote: bool


@dataclass(frozen=True, slots=True)
class RouteState:
    """What one decision leaves to the next.

    active: index of the route; None before the first decision.
    settled_at: when (seconds) the next switch to a route that needs more may happen.
    """

    active: int | None = None
    settled_at: float = 0.0


def decide(
    table: Sequence[RouteRequirement],
    link: LinkView,
    state: RouteState,
    now: float,
    shut: Collection[int] = (),
) -> tuple[int, RouteState]:
    """The index of the route for a request at `now`, and the state for the next decision.

    The first route whose need the estimate covers; upward only beyond the hysteresis and after the dwell
    time, downward at once. With the link down or unmeasured: the first route that is not remote, where there
    is one. Where there is one, the routes that are `shut` (their hop's breaker is open) are passed over.
    """
    near = [i for i, requirement in enumerate(table) if not requirement.remote]
    if not link.up or link.bandwidth is None:
        chosen = next((i for i in near if i not in shut), near[-1] if near else 0)
    else:
        chosen = _by_bandwidth(table, link.bandwidth, state.active, shut if near else ())
        active = state.active
        if active is not None and chosen < active and now < state.settled_at and active not in shut:
            chosen = active
    return chosen, state if chosen == state.active else _switched(state, chosen, now)


def _switched(state: RouteState, chosen: int, now: float) -> RouteState:
    """Each switch uses up a dwell time, so that over time there is no more than one in each.

    Only a switch upward waits for it: one downward keeps deadlines.
    """
    if state.active is None:
        return replace(state, active=chosen)
    return RouteState(chosen, max(state.settled_at, now) + DWELL)


def _by_bandwidth(
    table: Sequence[RouteRequirement], bandwidth: float, active: int | None, shut: Collection[int]
) -> int:
    for index, requirement in enumerate(table):
        upward = active is not None and index < active
        if requirement.min_bandwidth * (HYSTERESIS if upward else 1.0) <= bandwidth and index not in shut:
            return index
    return len(table) - 1
