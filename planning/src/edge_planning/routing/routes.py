"""Selects the route of the next request. Pure: time and link state are arguments.

The value of a route is its worth (accuracy, unless the service optimizes something else) times the
probability that its response is in time, plus the value of the fallback times the probability that it is not.
The probability is the share of recent transfers that would have carried the request's bytes in the remaining
time, given their deviations from the link's estimate. Below the bandwidth at which the link carries the
planned rates, it serves the requests that are in time behind those in transfer; the others stay at the node.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from edge_planning.links.estimates import LinkView
from edge_planning.routing.deadlines import latest, usable

HYSTERESIS: Final = 1.1  # a route with a higher need is judged as if it needed this many times more
DWELL: Final = 0.5
MISS_PRICE: Final = 30.0  # cost of a missed deadline in addition to the lost response, in units of accuracy
LEAST_GAIN: Final = 0.01  # in expected value that justifies another route than the plan's at this bandwidth
# Below it, a request that has a fallback, or would wait behind others, does not use the link.
LEAST_CHANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class RouteRequirement:
    """The properties of a route that the decision needs.

    Attributes:
        min_bandwidth: Bandwidth in bit/s from which the plan uses the route.
        remote: Whether a hop crosses the measured link. Hops between edge nodes do not.
        worth: Value of its response, from 0 to 1.
        latency: Predicted latency in seconds at min_bandwidth.
        here: Predicted compute time in seconds at this node.
        beyond: Predicted seconds that are neither this node's nor the measured link's.
        bits: Size of the transfer over that link. 0 if unknown; then min_bandwidth decides.
        alone: Bandwidth in bit/s from which a request is in time that shares the link with no other; None: as
            min_bandwidth, from which the link also carries the planned rates.
    """

    min_bandwidth: float
    remote: bool
    worth: float = 0.0
    latency: float = 0.0
    here: float = 0.0
    beyond: float = 0.0
    bits: float = 0.0
    alone: float | None = None


def carries(link: LinkView, requirement: RouteRequirement) -> bool:
    """Returns whether the link, as far as it is known, has the bandwidth of a route's request alone."""
    least = requirement.min_bandwidth if requirement.alone is None else requirement.alone
    return link.up and (link.bandwidth is None or link.bandwidth >= least)


def bandwidth_alone(min_bandwidth: float, latency: float, bits: float, slo: float) -> float:
    """Returns the bandwidth in bit/s at which a route of `latency` seconds at min_bandwidth takes the SLO's.

    It is less than min_bandwidth where the plan raised that for the rates that the link has to carry.
    """
    if not min_bandwidth or not bits:
        return min_bandwidth
    left = slo - (latency - bits / min_bandwidth)
    return min(min_bandwidth, bits / left) if left > 0 else min_bandwidth


@dataclass(frozen=True, slots=True)
class RouteState:
    """The state between decisions.

    Attributes:
        active: Index of the route; None before the first decision.
        settled_at: Time in seconds from which a switch to a route with a higher need is allowed.
    """

    active: int | None = None
    settled_at: float = 0.0


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """A request when it arrives.

    Attributes:
        deadline: Time that it has, in seconds.
        wait: Seconds until this node can start it.
        here: Recent compute time of this node in seconds, for each route. Default: as predicted.
        fallbacks: For each route, the worth of its fallback and the seconds that it takes after this
            node's part; None if there is no fallback.
        beyond: Whether it exceeds the planned rate; it then uses the link only as planned.
    """

    deadline: float = inf
    wait: float = 0.0
    here: Sequence[float] = ()
    fallbacks: Sequence[tuple[float, float] | None] = ()
    beyond: bool = False

    def head_done(self, index: int, requirement: RouteRequirement) -> float:
        """Seconds until this node has computed its part."""
        here = self.here[index] if self.here else requirement.here
        return self.wait + here if here else 0.0


WITHOUT_DEADLINE: Final = RouteRequest()


def decide(
    table: Sequence[RouteRequirement],
    link: LinkView,
    state: RouteState,
    now: float,
    blocked: Collection[int] = (),
    request: RouteRequest = WITHOUT_DEADLINE,
) -> tuple[int, RouteState]:
    """Returns the index of the route for a request at `now`, and the next state.

    The first route that may be in time and whose need the estimate covers, which the plan prefers at this
    bandwidth, is selected unless another one is worth LEAST_GAIN more; then the one with the highest value
    is. If all are late, it is the fastest of those that are not remote. A switch to a route with a higher
    need has to exceed the hysteresis and waits for the dwell time; a switch to a lower need is immediate. If
    the table has a route that is not remote, remote routes are skipped while the link is down or unmeasured,
    and so are `blocked` routes, whose breaker is open.
    """
    chosen = best(table, link, request, blocked, state, now)
    return chosen, state if chosen == state.active else _switched(state, chosen, now)


def best(
    table: Sequence[RouteRequirement],
    link: LinkView,
    request: RouteRequest,
    blocked: Collection[int] = (),
    state: RouteState = RouteState(),
    now: float = 0.0,
) -> int:
    """Returns the index of the route that `decide` would select."""
    avoidable = any(not requirement.remote for requirement in table)
    known = link.up and link.bandwidth is not None
    active, settled = state.active, now >= state.settled_at
    # The value, and whether the route may be in time and the estimate covers its need.
    found: dict[int, tuple[float, bool]] = {}
    for index, requirement in enumerate(table):
        if avoidable and (index in blocked or (requirement.remote and not known)):
            continue
        upward = active is not None and index < active
        if upward and not settled and active not in blocked:
            continue
        factor = HYSTERESIS if upward else 1.0
        covered = not requirement.remote or (link.bandwidth or 0.0) >= factor * requirement.min_bandwidth
        value, likely = _expected(requirement, index, link, request, factor)
        found[index] = value, covered and (likely > 0.0 or not requirement.remote)
    if not found:
        return next((i for i in range(len(table) - 1, -1, -1) if not avoidable or not table[i].remote), 0)
    top = max(value for value, _ in found.values())
    if top <= -MISS_PRICE:  # all are late: the fastest without the link delays the requests behind it least
        near = [i for i in found if not table[i].remote]
        if near:
            return min(near, key=lambda i: request.head_done(i, table[i]) + table[i].beyond)
    return next(
        (i for i, (value, ok) in found.items() if ok and value >= top - LEAST_GAIN),
        max(i for i, (value, _) in found.items() if value == top),
    )


def route_to_test(
    table: Sequence[RouteRequirement],
    link: LinkView,
    request: RouteRequest,
    chosen: int,
    local: Collection[int],
    testable: Collection[int],
) -> int | None:
    """Returns the blocked route that a request tests in place of its `chosen` one, if any.

    It is the best of those that would be selected otherwise and whose breaker is half open (`testable`).
    local: routes without a hop; one that is better than all blocked routes left ends the search.
    """
    passed = set[int]()
    while True:
        found = best(table, link, request, passed)
        if found == chosen or found in local or found in passed:
            return None
        if found in testable:
            return found
        passed.add(found)


def _expected(
    requirement: RouteRequirement, index: int, link: LinkView, request: RouteRequest, factor: float
) -> tuple[float, float]:
    """Returns the expected value of a route's response, and the probability that it is in time.

    A fallback is worth its accuracy. Without a fallback in time, a late response costs MISS_PRICE.
    factor: multiplies the bandwidth that the route needs.
    """
    fallback = _fallback(requirement, index, request)
    likely = _chance(requirement, index, link, request, has_fallback=fallback is not None, factor=factor)
    otherwise = -MISS_PRICE if fallback is None else fallback[0]
    return requirement.worth * likely + otherwise * (1 - likely), likely


def chance(requirement: RouteRequirement, index: int, link: LinkView, request: RouteRequest) -> float:
    """Returns the probability that a route's own response is in time."""
    has_fallback = _fallback(requirement, index, request) is not None
    return _chance(requirement, index, link, request, has_fallback=has_fallback, factor=1.0)


def _fallback(requirement: RouteRequirement, index: int, request: RouteRequest) -> tuple[float, float] | None:
    """Returns the route's fallback if it would be in time."""
    found = request.fallbacks[index] if request.fallbacks else None
    if found is None or request.head_done(index, requirement) + found[1] > latest(request.deadline):
        return None
    return found


def _chance(
    requirement: RouteRequirement,
    index: int,
    link: LinkView,
    request: RouteRequest,
    *,
    has_fallback: bool,
    factor: float,
) -> float:
    """Returns the probability that a route's own response is in time."""
    seconds = request.head_done(index, requirement) + requirement.beyond
    if not requirement.remote:
        # The queue runs what waits by the time at which it is due, which leaves the reserve.
        due = usable(request.deadline) if request.wait else request.deadline
        return 1.0 if seconds <= due else 0.0
    until = usable(request.deadline) if has_fallback else request.deadline
    if not requirement.bits:
        need = requirement.min_bandwidth if requirement.latency <= until else inf
    elif until > seconds:
        planned = requirement.min_bandwidth
        least = planned if request.beyond or requirement.alone is None else requirement.alone
        need = max((requirement.bits + link.backlog) / (until - seconds), least)
    else:
        need = inf
    found = link.chance(factor * need)
    return 0.0 if (has_fallback or link.backlog) and found < LEAST_CHANCE else found


def _switched(state: RouteState, chosen: int, now: float) -> RouteState:
    """Returns the state after a switch, which adds a dwell time: on average at most one switch in each.

    Only a switch to a higher need waits for it, since one to a lower need keeps deadlines.
    """
    if state.active is None:
        return replace(state, active=chosen)
    return RouteState(chosen, max(state.settled_at, now) + DWELL)
