"""The route that requests take now, decided again for each and whenever the link was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from edge_planning.links.estimates import LinkView
from edge_planning.routing.routes import Asked, RouteState, best, chance, decide
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.metrics import Metrics
from edge_runtime.routing.breaker_registry import BreakerRegistry
from edge_runtime.routing.loaded_tables import LoadedRoute, LoadedTable


@dataclass(frozen=True, slots=True)
class Chosen:
    """A request's route. trial: it is the one that finds out about a hop that failed. chance: that the
    route's own answer is in time.
    """

    loaded: LoadedRoute
    trial: bool = False
    chance: float = 1.0


class ActiveRoute:
    """Which of a table's routes is active, and since when. `on_switch` is called when it is another one."""

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
        """What the next request would take, as far as is known now."""
        return table.routes[self._decide(table, link)[0]]

    def choose(
        self, table: LoadedTable, link: LinkMonitor | None, deadline: float, wait: float = 0.0
    ) -> Chosen:
        """The route for one request, which can begin here after `wait` seconds."""
        index, shut, view, asked = self._decide(table, link)
        if table.local is None:
            return Chosen(table.routes[index])
        if wait > 0 or view.backlog > 0 or deadline < asked.deadline:
            asked = replace(asked, deadline=deadline, wait=wait)
            index = best(table.requirements, view, asked, shut)
        trial = self._to_be_tried(table, view, asked, index, shut) if shut else None
        index = index if trial is None else trial
        likely = chance(table.requirements[index], index, view, asked)
        return Chosen(table.routes[index], trial is not None, likely)

    def hand_over(self, before: LoadedTable | None, table: LoadedTable) -> None:
        """A table takes over: the route of the same name stays active, where it has one."""
        active = self._state.active
        name = before.routes[active].route.name if before is not None and active is not None else None
        same = next((i for i, r in enumerate(table.routes) if r.route.name == name), None)
        self._state = RouteState(active=same)

    def _decide(
        self, table: LoadedTable, link: LinkMonitor | None
    ) -> tuple[int, Collection[int], LinkView, Asked]:
        """The index of the active route, those of the routes whose breaker is open, and what led there."""
        now, shut, before = self._clock(), self._breakers.shut(table.hops), self._state.active
        view = LinkView(True, None) if link is None else link.view()
        asked = _asked(table)
        alone = replace(view, backlog=0.0) if view.backlog else view
        index, self._state = decide(table.requirements, alone, self._state, now, shut, asked)
        if index != before:
            route = table.routes[index].route
            self._metrics.active(route.name, route.exit, before is not None)
            self._on_switch()
        return index, shut, view, asked

    def _to_be_tried(
        self, table: LoadedTable, view: LinkView, asked: Asked, index: int, shut: Collection[int]
    ) -> int | None:
        """The best of the routes that would be taken but for a breaker which may be tried."""
        passed = set[int]()
        while True:
            found = best(table.requirements, view, asked, passed)
            hop = table.routes[found].hop
            if found == index or hop is None or found in passed:
                return None
            if found in shut and self._breakers.may_try(hop):
                return found
            passed.add(found)


def _asked(table: LoadedTable) -> Asked:
    """A request with the SLO's time that nothing is before."""
    here = [r.session.seconds if r.session is not None else 0.0 for r in table.routes]
    fallbacks: list[tuple[float, float] | None] = []
    if table.has_fallback:
        found = [table.fallback(r) if r.hop is not None else None for r in table.routes]
        fallbacks = [
            (c.route.accuracy, c.session.seconds) if c is not None and c.session is not None else None
            for c in found
        ]
    return Asked(table.placement.spec.slo.latency, 0.0, here, fallbacks)
