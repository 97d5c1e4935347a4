"""Which route answers the next request. Pure: the clock and the link's state come in as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

HYSTERESIS: Final = (
    1.1  # a route that needs more bandwidth is taken when the estimate is this much above its need
)
FASTER: Final = 1.4
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 8.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What the decision has to know of a route: the bandwidth it needs (bit/s) and whether it crosses the
    link.
    """

    min_bandwidth: float
    remote: bool


@dataclass(frozen=True, slots=True)
class LinkView:
    """The link as estimated: `bandwidth` in bit/s, None before anything was measured."""

    up: bool
    bandwidth: float | None


@dataclass(frozen=True, slots=True)
class RouteState:
    """What one decision leaves to the next.

    active: index of the route; None before the first decision.
    failures: hops that failed in a row. blocked_until: when (seconds) one may be tried again after them.
    lowest: the least bandwidth (bit/s) seen since the first of them.
    """

    active: int | None = None
    failures: int = 0
    blocked_until: float = 0.0
    lowest: float = inf


def decide(table: Sequence[Choice], link: LinkView, state: RouteState, now: float) -> tuple[int, RouteState]:
    """The index of the route for a request at `now`, and the state for the next decision.

    The first route whose need the estimate covers; upward only beyond the hysteresis, downward at once. With
    the link down, unmeasured or blocked after failed hops: the local route, where there is one.
    """
    state = _since_failure(state, link)
    local = next((i for i, choice in enumerate(table) if not choice.remote), None)
    away = not link.up or link.bandwidth is None or now < state.blocked_until
    if away and local is not None:
        chosen = local
    elif link.bandwidth is None or not link.up:
        chosen = 0
    else:
        chosen = _by_bandwidth(table, link.bandwidth, state.active)
    return chosen, state if chosen == state.active else replace(state, active=chosen)


def _since_failure(state: RouteState, link: LinkView) -> RouteState:
    """A hop that failed on a slow link is worth another try as soon as the link is clearly faster."""
    if not state.failures or link.bandwidth is None:
        return state
    if link.bandwidth > FASTER * state.lowest:
        return after_recovery(state)
    return replace(state, lowest=link.bandwidth) if link.bandwidth < state.lowest else state


def _by_bandwidth(table: Sequence[Choice], bandwidth: float, active: int | None) -> int:
    for index, choice in enumerate(table):
        upward = active is not None and index < active
        if choice.min_bandwidth * (HYSTERESIS if upward else 1.0) <= bandwidth:
            return index
    return len(table) - 1


def after_hop(state: RouteState, succeeded: bool, now: float) -> RouteState:
    """The state after a hop: each failure in a row doubles the pause before the next one is tried."""
    if succeeded:
        return after_recovery(state) if state.failures else state
    pause = min(FIRST_PAUSE * 2.0**state.failures, LONGEST_PAUSE)
    return replace(state, failures=min(state.failures + 1, 8), blocked_until=now + pause)


def after_recovery(state: RouteState) -> RouteState:
    """The state once the link is back: what failed while it was away says nothing any more."""
    return replace(state, failures=0, blocked_until=0.0, lowest=inf)
