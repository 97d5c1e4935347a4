"""The route that requests take now, decided again for each and whenever the link was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection

from edge_runtime.links.estimates import LinkView
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.metrics import Metrics
from edge_runtime.routing.breaker_registry import BreakerRegistry
from edge_runtime.routing.loaded_tables import LoadedRoute, LoadedTable
from edge_runtime.routing.routes import RouteState, decide


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
        self, table: LoadedTable, link: LinkMonitor | None, deadline: float
    ) -> tuple[LoadedRoute, bool]:
        """The route for one request, and whether it is the one that finds out about a hop that failed."""
        index, shut = self._decide(table, link)
        chosen, local = table.routes[index], table.local
        if local is None:
            return chosen, False
        if shut and (tried := self._to_be_tried(table, link, index, shut)) is not None:
            return tried, True
        hurried = deadline < min(table.placement.spec.slo.latency, chosen.route.predicted_latency)
        return (local if hurried and local.stats.most <= deadline else chosen), False

    def hand_over(self, before: LoadedTable | None, table: LoadedTable) -> None:
        """A table takes over: the route of the same name stays active, where it has one."""
        active = self._state.active
        name = before.routes[active].route.name if before is not None and active is not None else None
        same = next((i for i, r in enumerate(table.routes) if r.route.name == name), None)
        self._state = RouteState(active=same)

    def _decide(self, table: LoadedTable, link: LinkMonitor | None) -> tuple[int, Collection[int]]:
        """The index of the route, and those of the routes whose breaker is open."""
        now, shut, before = self._clock(), self._breakers.shut(table.hops), self._state.active
        index, self._state = decide(table.requirements, _view(table, link), self._state, now, shut)
        if index != before:
            route = table.routes[index].route
            self._metrics.active(route.name, route.exit, before is not None)
            self._on_switch()
        return index, shut

    def _to_be_tried(
        self, table: LoadedTable, link: LinkMonitor | None, index: int, shut: Collection[int]
    ) -> LoadedRoute | None:
        """The best of the routes that would be taken but for a breaker which may be tried."""
        passed = set[int]()
        while True:
            best = decide(table.requirements, _view(table, link), RouteState(), 0.0, passed)[0]
            hop = table.routes[best].hop
            if best == index or hop is None or best in passed:
                return None
            if best in shut and self._breakers.may_try(hop):
                return table.routes[best]
            passed.add(best)


def _view(table: LoadedTable, link: LinkMonitor | None) -> LinkView:
    """The link's estimated bandwidth if a fallback answers for a late hop, else its low quantile."""
    return LinkView(True, None) if link is None else link.view(cautious=not table.has_fallback)
