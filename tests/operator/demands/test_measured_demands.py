"""What measured requests change in what the services of a pool get, planned from their manifests."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from edge_operator.names import RATE_ANNOTATION
from edge_operator.pool import rates
from edge_operator.pool.demands import PooledPlan, plan_services
from edge_operator.pool.pooled import EntryKey, PlannedEntry, PooledService
from edge_operator.pool.slo import Counters
from edge_operator.pool_nodes import PoolMember
from edge_planning import Plan
from edge_planning.pools import Observed
from messages import mentions
from pooled import members, pool, service

NOW = 1_770_000_000.0


def at(plan: PooledPlan, name: str) -> PlannedEntry:
    return plan.entries[EntryKey("default", name, "cam-0")]


def busy(name: str, nodes: Sequence[PoolMember], rate: float, *, late: bool = False) -> PooledService:
    """A service with measured requests at the first camera, which has local routes only."""
    counted = rates.Measured("uid", NOW, Counters(400, 400), {4: rates.Band(400.0, 0.0)})
    made = service(name, nodes, mode="LocalOnly", slo={"latency": "400ms"})
    return replace(made, measured={"cam-0": counted}, observed={"cam-0": Observed(rate, late)})


@pytest.mark.parametrize("late", [False, True])
def test_a_service_alone_is_planned_and_noted_as_if_its_requests_were_not_measured(*, late: bool) -> None:
    nodes = members(1, 0)
    one = busy("digits", nodes, 400.0, late=late)
    found = at(plan_services(pool(nodes, one)), "digits")
    idle = at(plan_services(pool(nodes, replace(one, measured={}, observed={}))), "digits")
    assert found == idle
    assert RATE_ANNOTATION not in found.notes


def test_a_late_service_reports_who_takes_what_it_lacks_and_both_rates_are_noted() -> None:
    nodes = members(1, 0)
    first, second = busy("first", nodes, 5.6), busy("second", nodes, 5.6, late=True)
    plan = plan_services(pool(nodes, first, second))
    found = at(plan, "second")
    assert isinstance(found.plan, Plan)
    assert mentions("cpu of cam-0", "67% of its time needed", "used by first (40%)").search(found.shortage)
    assert at(plan, "first").shortage == ""
    assert all(RATE_ANNOTATION in at(plan, name).notes for name in ("first", "second"))


def test_a_declared_rate_counts_in_place_of_the_measured_one() -> None:
    nodes = members(1, 0)
    one = replace(service("digits", nodes, load={"rate": 2.0}), observed={"cam-0": Observed(4.0)})
    plan = plan_services(pool(nodes, one))
    (demand,) = plan.plan.problem.demands
    assert (demand.rate, demand.assumed, demand.observed) == (2.0, False, None)
    assert RATE_ANNOTATION not in at(plan, "digits").notes
