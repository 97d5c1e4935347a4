"""The route of a request: kept across tables, skipped for short timeouts, retried after failures."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from edge_planning.links.estimates import LinkView
from edge_planning.routing.latency_stats import LatencyStats
from edge_planning.routing.routes import RouteRequirement
from edge_runtime.metrics import Metrics
from edge_runtime.routing.active_routes import ActiveRoute
from edge_runtime.routing.breaker_registry import BreakerRegistry
from edge_runtime.routing.loaded_tables import LoadedRoute, LoadedTable


class _Hop:
    """A hop without health checks."""

    address, peer, reachable = "http://far", "", True

    async def healthy(self, within: float) -> bool:
        return False


class _Link:
    """A link that is up, with a level of 10 Mbit/s and one transfer in three at half of that."""

    def view(self) -> LinkView:
        return LinkView(True, 10e6, (-0.7, 0.0, 0.0))


class _Setup:
    def __init__(self) -> None:
        self.now, self.switches, self.metrics, self.link = 100.0, 0, Metrics("m"), _Link()
        self.breakers = BreakerRegistry(lambda: self.now)
        self.active = ActiveRoute(lambda: self.now, self.breakers, self.metrics, self._switched)

    def of(self, table: LoadedTable) -> str:
        link: Any = self.link
        return self.active.of(table, link).route.name

    def choose(self, table: LoadedTable, deadline: float = 1.0) -> tuple[str, bool]:
        link: Any = self.link
        chosen = self.active.choose(table, link, deadline)
        return chosen.loaded.route.name, chosen.trial

    def counted(self) -> float | None:
        return self.metrics.registry.get_sample_value("edge_route_switches_total", {"service": "m"})

    def _switched(self) -> None:
        self.switches += 1


def _table(has_fallback: bool = True, **needs: float) -> LoadedTable:
    """Routes by name with the bandwidth that each needs; `near` is local, fast and less accurate."""
    routes, session = [], SimpleNamespace(seconds=0.02)
    for name in needs:
        route: Any = SimpleNamespace(name=name, exit=name, accuracy=0.7, value=0.7)
        near: Any = session if name == "near" else None
        hop: Any = None if name == "near" else _Hop()
        routes.append(LoadedRoute(route, near, hop, LatencyStats(0.02)))
    placement: Any = SimpleNamespace(spec=SimpleNamespace(slo=SimpleNamespace(latency=1.0)))
    contract: Any = None

    class Told(LoadedTable):
        @property
        def has_fallback(self) -> bool:
            return has_fallback

    return Told(
        placement,
        tuple(routes),
        tuple(
            RouteRequirement(
                need, name != "near", 0.7 if name == "near" else 0.9, 0.0 if name == "near" else 0.5
            )
            for name, need in needs.items()
        ),
        {},
        next((r for r in routes if r.hop is None), None),
        contract,
        tuple(r.hop for r in routes),
    )


def test_a_table_that_takes_over_keeps_the_route_of_the_same_name() -> None:
    setup = _Setup()
    first, second, third = _table(far=8e6, near=0), _table(farther=20e6, far=9.5e6, near=0), _table(near=0)
    setup.active.hand_over(None, first)
    assert (setup.of(first), setup.switches, setup.counted()) == ("far", 1, 0)
    setup.active.hand_over(first, second)
    assert (setup.of(second), setup.switches, setup.counted()) == ("far", 1, 0)  # not reported twice
    setup.active.hand_over(second, third)
    assert (setup.of(third), setup.switches, setup.counted()) == ("near", 2, 0)


@pytest.mark.parametrize(("has_fallback", "name"), [(True, "far"), (False, "near")])
def test_where_a_late_response_is_lost_a_route_needs_a_better_chance(has_fallback: bool, name: str) -> None:
    assert _Setup().of(_table(has_fallback, far=8e6, near=0)) == name


def test_a_request_beyond_the_planned_rate_uses_a_crowded_link_only_as_planned() -> None:
    setup, table = _Setup(), _table(far=20e6, near=0)
    far, near = table.requirements
    table = replace(table, requirements=(replace(far, bits=1e6, alone=1e6), near))
    link: Any = setup.link
    found = [setup.active.choose(table, link, 1.0, spare=spare) for spare in (None, 1.0)]
    assert [chosen.loaded.route.name for chosen in found] == ["far", "near"]


def test_a_request_with_a_short_timeout_takes_the_local_route_if_that_is_in_time() -> None:
    setup, table = _Setup(), _table(far=8e6, near=0)
    # The local route takes 20 ms, the remote one 0.5 s by the plan.
    found = {deadline: setup.choose(table, deadline)[0] for deadline in (0.025, 0.4, 0.6)}
    assert found == {0.025: "near", 0.4: "near", 0.6: "far"}


async def test_after_a_hop_failed_one_request_a_second_later_tries_it() -> None:
    setup, table = _Setup(), _table(far=8e6, near=0)
    assert setup.choose(table) == ("far", False)
    hop = table.routes[0].hop
    assert hop is not None
    setup.breakers.ended(hop, "failed", trial=False, fair=True)
    assert setup.choose(table) == ("near", False)
    setup.now += 1.1
    assert [setup.choose(table) for _ in range(3)] == [("far", True), ("near", False), ("near", False)]
    setup.breakers.ended(hop, "ok", trial=True, fair=True)
    assert setup.choose(table) == ("far", False)
    setup.breakers.close()


@pytest.mark.parametrize(
    ("left", "name"), [(1.0, "exit4"), (0.05, "exit4"), (0.04, "exit2"), (0.001, "exit1")]
)
def test_the_fallback_of_a_hop_is_the_most_accurate_local_route_in_time(left: float, name: str) -> None:
    table = _table(far=8e6, exit4=0, exit2=0, exit1=0)
    local: Any = {
        name: SimpleNamespace(seconds=s) for name, s in (("exit4", 0.05), ("exit2", 0.02), ("exit1", 0.01))
    }
    routes = [
        replace(r, session=local.get(r.route.name), hop=r.hop if r.route.name == "far" else None)
        for r in table.routes
    ]
    table = replace(table, routes=tuple(routes))
    found = table.fallback(table.routes[0], left)
    assert found is not None
    assert found.route.name == name
