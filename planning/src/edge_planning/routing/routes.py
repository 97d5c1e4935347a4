"""Which route answers the next request. Pure: the clock and the link's state come in as arguments.

A route is worth its accuracy times the chance that its answer is in time, plus what happens otherwise. The
chance follows from how far recent transfers were off the link's estimate: the share of them that would have
carried the request's bytes in the time that is left.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from edge_planning.links.estimates import LinkView
from edge_planning.routing.deadlines import usable

HYSTERESIS: Final = (
    1.1  # a route that needs more bandwidth is taken when it would still do with this much more need
)
DWELL: Final = 0.5
PRICE: Final = 0.5  # what a missed deadline costs beside its answer, in units of accuracy
WASTE: Final = 0.01  # by how much a fallback is worth less than the same answer by the local route
LEAST_GAIN: Final = 0.01  # of expected worth, for which the active route is left while it is as fast
HOPELESS: Final = 0.05  # a chance below is none while other requests need the link
_AS_FAST: Final = 1.1
_EQUAL: Final = 1e-9


@dataclass(frozen=True, slots=True)
class RouteRequirement:
    """What the decision has to know of a route.

    min_bandwidth: bit/s from which the plan takes it. remote: some hop of it crosses the measured link, at
    whichever node that hop begins; False of one whose hops stay between edge nodes. accuracy: of its answer.
    latency: seconds that the plan predicts at min_bandwidth. here: seconds of it that are this node's, as
    planned. beyond: those that are neither this node's nor the measured link's. bits: what crosses that link;
    0 where it is not known, which leaves min_bandwidth to decide.
    """

    min_bandwidth: float
    remote: bool
    accuracy: float = 0.0
    latency: float = 0.0
    here: float = 0.0
    beyond: float = 0.0
    bits: float = 0.0


@dataclass(frozen=True, slots=True)
class RouteState:
    """What one decision leaves to the next.

    active: index of the route; None before the first decision.
    settled_at: when (seconds) the next switch to a route that needs more may happen.
    """

    active: int | None = None
    settled_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it comes.

    deadline: seconds that it has. wait: seconds until this node can begin with it. here: for each route the
    seconds that this node's part takes lately; without them the planned ones count. fallbacks: for each route
    (accuracy, seconds behind this node's part) of what answers when its hop is late; None: nothing does.
    """

    deadline: float = inf
    wait: float = 0.0
    here: Sequence[float] = ()
    fallbacks: Sequence[tuple[float, float] | None] = ()

    def begun(self, index: int, requirement: RouteRequirement) -> float:
        """Seconds until this node has done its part."""
        here = self.here[index] if self.here else requirement.here
        return self.wait + here if here else 0.0


ANY: Final = Asked()


def decide(
    table: Sequence[RouteRequirement],
    link: LinkView,
    state: RouteState,
    now: float,
    shut: Collection[int] = (),
    asked: Asked = ANY,
) -> tuple[int, RouteState]:
    """The index of the route for a request at `now`, and the state for the next decision.

    The one that is worth most, of equals the fastest; upward only beyond the hysteresis and after the dwell
    time, downward at once. With the link down or unmeasured: the best that is not remote, where there is one.
    Where there is one, the routes that are `shut` (their hop's breaker is open) are passed over.
    """
    chosen = best(table, link, asked, shut, state, now)
    return chosen, state if chosen == state.active else _switched(state, chosen, now)


def best(
    table: Sequence[RouteRequirement],
    link: LinkView,
    asked: Asked,
    shut: Collection[int] = (),
    state: RouteState = RouteState(),
    now: float = 0.0,
) -> int:
    """The index that `decide` would take, without a switch."""
    near = any(not requirement.remote for requirement in table)
    known = link.up and link.bandwidth is not None
    active, settled = state.active, now >= state.settled_at
    top, quickest, found, kept = -inf, inf, -1, (-inf, inf)
    for index, requirement in enumerate(table):
        if near and (index in shut or (requirement.remote and not known)):
            continue
        upward = active is not None and index < active
        if upward and not settled and active not in shut:
            continue
        value, seconds = prospect(requirement, index, link, asked, HYSTERESIS if upward else 1.0)
        if index == active:
            kept = value, seconds
        if value > top + _EQUAL or (value >= top - _EQUAL and seconds < quickest - _EQUAL):
            top, quickest, found = max(value, top), seconds, index
    if found < 0:
        return next((i for i in range(len(table) - 1, -1, -1) if not near or not table[i].remote), 0)
    if active is not None and kept[0] >= top - LEAST_GAIN and kept[1] <= _AS_FAST * quickest:
        return active
    return found


def prospect(
    requirement: RouteRequirement, index: int, link: LinkView, asked: Asked, factor: float = 1.0
) -> tuple[float, float]:
    """The expected worth of a route's answer, and its seconds at the estimated bandwidth.

    What answers in place of a late hop is worth WASTE less than its own accuracy; where nothing does in time,
    a late answer costs PRICE. factor: by how much more bandwidth is asked for.
    """
    fallback = _fallback(requirement, index, asked)
    likely, seconds = _outlook(requirement, index, link, asked, fallback is not None, factor)
    otherwise = -PRICE if fallback is None else fallback[0] - WASTE
    return requirement.accuracy * likely + otherwise * (1 - likely), seconds


def chance(requirement: RouteRequirement, index: int, link: LinkView, asked: Asked) -> float:
    """That a route's own answer is in time."""
    insured = _fallback(requirement, index, asked) is not None
    return _outlook(requirement, index, link, asked, insured, 1.0)[0]


def _fallback(requirement: RouteRequirement, index: int, asked: Asked) -> tuple[float, float] | None:
    """What answers in time when the hop is late."""
    found = asked.fallbacks[index] if asked.fallbacks else None
    if found is None or asked.begun(index, requirement) + found[1] > usable(asked.deadline):
        return None
    return found


def _outlook(
    requirement: RouteRequirement, index: int, link: LinkView, asked: Asked, insured: bool, factor: float
) -> tuple[float, float]:
    """The chance that a route's own answer is in time, and its seconds at the estimated bandwidth."""
    seconds = asked.begun(index, requirement) + requirement.beyond
    if not requirement.remote:
        return 1.0 if seconds <= asked.deadline else 0.0, seconds
    until = usable(asked.deadline) if insured else asked.deadline
    if not requirement.bits:
        need = requirement.min_bandwidth if requirement.latency <= until else inf
    else:
        bits = requirement.bits + link.backlog
        need = max(bits / (until - seconds), requirement.min_bandwidth) if until > seconds else inf
        seconds += bits / link.bandwidth if link.bandwidth else inf
    found = link.chance(factor * need)
    return 0.0 if link.backlog and found < HOPELESS else found, seconds


def _switched(state: RouteState, chosen: int, now: float) -> RouteState:
    """Each switch uses up a dwell time, so that over time there is no more than one in each.

    Only a switch upward waits for it: one downward keeps deadlines.
    """
    if state.active is None:
        return replace(state, active=chosen)
    return RouteState(chosen, max(state.settled_at, now) + DWELL)
