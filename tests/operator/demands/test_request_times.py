"""The processor time of requests outside of inference in the plan of a pool."""

from dataclasses import replace
from typing import Any

import pytest

from edge_operator.pool.demands import NO_PLAN, plan_services
from edge_operator.pool.manifests import LOCAL_DELAY, LOCAL_OVERHEAD
from edge_operator.pool.pooled import EntryKey, PooledService
from edge_operator.store_answers import RequestTime
from edge_planning import Plan
from edge_planning.pools.reservations import Kind, Resource
from pooled import PROFILES, members, pool, published, service

NODES = members(1, 0)
CPU = Resource(Kind.CPU, "cam-0")
MEASURED = RequestTime(
    processors=0.5,
    receive_seconds=0.02,
    receive_seconds_per_byte=0.0,
    hop_seconds=0.01,
    hop_seconds_per_byte=0.0,
)


def local(name: str = "digits", *, requests: RequestTime | None = MEASURED, **spec: Any) -> PooledService:
    """A service whose full model takes 120 ms of a camera."""
    found = service(name, NODES, privacy="Local", **spec)
    camera = PROFILES["camera"].model_copy(update={"requests": requests})
    return replace(found, profiles={**PROFILES, "camera": camera})


def test_a_node_is_used_by_inference_and_by_what_receives_requests() -> None:
    load: dict[str, Any] = {"load": {"rate": 2}, "slo": {"latency": "2s"}}
    plan = plan_services(pool(NODES, local(**load)))
    assert plan.plan.used[CPU] == pytest.approx(2 * (0.12 + 0.02 / 0.5))
    plan = plan_services(pool(NODES, local(requests=None, **load)))
    assert plan.plan.used[CPU] == pytest.approx(2 * 0.12)


def test_latency_contains_the_measured_time_or_else_a_fixed_one() -> None:
    def latency(requests: RequestTime | None) -> float:
        plan = plan_services(pool(NODES, local(requests=requests, load={"rate": 0.001})))
        entry = next(iter(plan.entries.values()))
        assert isinstance(entry.plan, Plan)
        return entry.plan.table.routes[0].latency

    assert latency(MEASURED) - latency(None) == pytest.approx(0.02 / 0.5 + LOCAL_DELAY - LOCAL_OVERHEAD)


def test_a_service_that_the_time_of_its_requests_leaves_no_room_for_is_refused_with_what_binds() -> None:
    load: dict[str, Any] = {"load": {"rate": 5}, "slo": {"latency": "2s", "minAccuracy": 0.95}}
    names = ("first", "second")
    fitting = plan_services(pool(NODES, *(local(name, requests=None, load={"rate": 3}) for name in names)))
    assert not fitting.plan.refused
    plan = plan_services(pool(NODES, *(local(name, **load) for name in names)))
    (refused,) = (each for each in plan.entries.values() if each.plan is None)
    assert refused.shortage.startswith("cpu of cam-0: 80% of its time needed")


def test_a_restart_adopts_the_table_that_was_planned_with_it() -> None:
    one = local(load={"rate": 2})
    before = plan_services(pool(NODES, one))
    placement = published(one, before.entries[EntryKey(*one.key, "cam-0")])
    again = replace(one, placements={"cam-0": placement})
    entry = plan_services(pool(NODES, again), NO_PLAN).entries[EntryKey(*one.key, "cam-0")]
    assert entry.adopted
    unmeasured = replace(local(requests=None, load={"rate": 2}), placements={"cam-0": placement})
    entry = plan_services(pool(NODES, unmeasured), NO_PLAN).entries[EntryKey(*one.key, "cam-0")]
    assert not entry.adopted
