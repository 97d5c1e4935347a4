"""The active route of a table, decided for each request and after each measurement of the link."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from edge_planning.links.estimates import LinkView
from edge_planning.routing.deadlines import latest
from edge_planning.routing.routes import (
    RouteRequest,
    RouteState,
    best,
    carries,
    chance,
    decide,
    route_to_test,
)
from edge_runtime.inference.sessions import Session
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.metrics import Metrics
from edge_runtime.routing.breaker_registry import BreakerRegistry
from edge_runtime.routing.loaded_tables import LoadedRoute, LoadedTable

# A request that has less than this share of the SLO's latency left gets its own decision.
_FRESH: Final = 0.98


@dataclass(frozen=True, slots=True)
class Chosen:
    """A request's route.

    Attributes:
        loaded: The route.
        trial: Whether the request tests a hop whose breaker is open.
        chance: Probability that the route's own response is in time.
    """

    loaded: LoadedRoute
    trial: bool = False
    chance: float = 1.0


class ActiveRoute:
    """The active route of a table and the state of the decision. Calls `on_switch` when the route changes."""

    def __init__(
        self,
        clock: Callable[[], float],
        breakers: BreakerRegistry,
        metrics: Metrics,
        on_switch: Callable[[], None],
    ) -> None:
        self._clock, self._breakers, self._metrics, self._on_switch = clock, breakers, metrics, on_switch
        self._state = RouteState()

    def of(self, table: LoadedTable, link: LinkMonitor | None) -> LoadedRoute:
        """Returns the route that the next request would take."""
        return table.routes[self._decide(table, link)[0]]

    def plain(self, table: LoadedTable, link: LinkMonitor | None) -> LoadedRoute | None:
        """Returns the route of a request that nothing else waits with; None if its choice needs `choose`.

        It is the active route if that needs no hop, no hop is to be tested, none is in flight, and shapes of
        requests make no difference.
        """
        index, blocked, view, _ = self._decide(table, link)
        loaded = table.routes[index]
        if loaded.hop is not None or view.backlog > 0 or table.shapes is not None:
            return None
        return None if blocked and self._breakers.testable(table.hops) else loaded

    def choose(
        self,
        table: LoadedTable,
        link: LinkMonitor | None,
        left: float,
        wait: float = 0.0,
        *,
        spare: float | None = None,
        size: float | None = None,
    ) -> Chosen:
        """Returns the route for one request that has `left` seconds, and that this node can start after
        `wait` seconds.

        spare: for a request beyond the planned rate, the part of a processor's time that such requests get.
        With less than all of it, cheaper routes leave time for the requests after it. size: elements of the
        request's inputs for a batch of one, if the table has costs by shape.
        """
        index, blocked, view, request = self._decide(table, link)
        if table.local is None:
            return Chosen(table.routes[index])
        beyond = spare is not None
        requirements, shapes = table.requirements, table.shapes
        shaped = shapes is not None and size is not None and size != shapes.planned
        if shapes is not None and size is not None and shaped:
            slo = table.placement.spec.slo.latency
            requirements, pace = shapes.requirements(requirements, size, slo), shapes.pace(size)
            runs = zip(requirements, request.here, strict=True)
            request = replace(request, here=[needs.here or pace * seconds for needs, seconds in runs])
        if shaped or wait > 0 or view.backlog > 0 or beyond or left < _FRESH * request.deadline:
            fallbacks, here = _fallbacks(table, left, wait), [each / (spare or 1.0) for each in request.here]
            request = replace(
                request, deadline=left, wait=wait, here=here, fallbacks=fallbacks, beyond=beyond
            )
            index = best(requirements, view, request, blocked)
        trial = self._tested(table, view, request, index) if blocked else None
        index = index if trial is None else trial
        likely = chance(requirements[index], index, view, request)
        return Chosen(table.routes[index], trial is not None, likely)

    def least_local(
        self, table: LoadedTable, link: LinkMonitor | None, seconds: Callable[[Session], float]
    ) -> float | None:
        """Seconds that the fastest route needs from when this node computes; None if one needs only hops.

        seconds: those of a session for the request.
        """
        blocked = self._breakers.blocked(table.hops)
        view = LinkView(up=True, bandwidth=None) if link is None else link.view()
        least = inf
        for index, (loaded, needs) in enumerate(zip(table.routes, table.requirements, strict=True)):
            if loaded.hop is None:
                beyond = 0.0
            elif index in blocked or (needs.remote and not carries(view, needs)):
                continue
            elif loaded.session is None:
                return None
            else:
                beyond = max(loaded.route.predicted_latency - needs.here, 0.0)
            assert loaded.session is not None
            least = min(least, seconds(loaded.session) + beyond)
        return None if least == inf else least

    def hand_over(self, before: LoadedTable | None, table: LoadedTable) -> None:
        """Switches to another table. If it has a route with the active one's name, that stays active."""
        active = self._state.active
        name = before.routes[active].route.name if before is not None and active is not None else None
        same = next((i for i, r in enumerate(table.routes) if r.route.name == name), None)
        self._state = RouteState(active=same)

    def _decide(
        self, table: LoadedTable, link: LinkMonitor | None
    ) -> tuple[int, Collection[int], LinkView, RouteRequest]:
        """Returns the index of the active route, those of blocked routes, and the inputs of the decision."""
        now, blocked, before = self._clock(), self._breakers.blocked(table.hops), self._state.active
        view = LinkView(up=True, bandwidth=None) if link is None else link.view()
        request = _request(table)
        alone = replace(view, backlog=0.0) if view.backlog else view
        index, self._state = decide(table.requirements, alone, self._state, now, blocked, request)
        if index != before:
            route = table.routes[index].route
            self._metrics.active(route.name, route.exit, switched=before is not None)
            self._on_switch()
        return index, blocked, view, request

    def _tested(self, table: LoadedTable, view: LinkView, request: RouteRequest, index: int) -> int | None:
        """Returns the blocked route that the request tests, if any; its test has then begun."""
        hops = table.hops
        local = [i for i, hop in enumerate(hops) if hop is None]
        testable = self._breakers.testable(hops)
        found = route_to_test(table.requirements, view, request, index, local, testable)
        hop = None if found is None else hops[found]
        return found if hop is not None and self._breakers.may_try(hop) else None


def _request(table: LoadedTable) -> RouteRequest:
    """Returns a request with the SLO's latency as its deadline and no wait."""
    here = [r.session.seconds if r.session is not None else 0.0 for r in table.routes]
    deadline = table.placement.spec.slo.latency
    return RouteRequest(deadline, 0.0, here, _fallbacks(table, deadline, 0.0))


def _fallbacks(table: LoadedTable, left: float, wait: float) -> list[tuple[float, float] | None]:
    """Returns the worth and the seconds of each route's fallback for a request with `left` seconds that this
    node can start after `wait` seconds.
    """
    if not table.has_fallback:
        return []
    until, found = latest(left) - wait, list[tuple[float, float] | None]()
    for loaded in table.routes:
        here = loaded.session.seconds if loaded.session is not None else 0.0
        fallback = table.fallback(loaded, until - here) if loaded.hop is not None else None
        if fallback is None or fallback.session is None:
            found.append(None)
        else:
            found.append((fallback.route.value, fallback.session.seconds))
    return found
