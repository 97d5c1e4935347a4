"""Packed weights in the plan of a pool: measured, chosen by the memory of nodes, published and adopted."""

from dataclasses import replace
from typing import Any

import pytest

from edge_api import DevicePool
from edge_operator.explaining.entries import EntryExplainer
from edge_operator.explaining.text import explanation_text
from edge_operator.explaining.values import Explanation
from edge_operator.pool import manifests
from edge_operator.pool.demands import PooledPlan, plan_services
from edge_operator.pool.pooled import EntryKey, PlannedEntry, PooledService
from edge_operator.pool_nodes import group_members, node_of
from edge_operator.store_answers import PackingCost
from edge_planning import Plan
from operator_objects import CARD, node_body, pool_body
from pooled import PROFILES, members, pool, published, service

MIB = 1 << 20
SIZE = 100 * MIB
MEASURED = PackingCost(slowdown=1.25, packed_memory=2.0, unpacked_memory=1.0)
ROOMY, TIGHT = members(1, 0, memory=1000.0 * MIB), members(1, 0, memory=250.0 * MIB)


def local(nodes: Any = TIGHT, *, packing: PackingCost | None = MEASURED, **spec: Any) -> PooledService:
    """A service with a model of 100 MiB whose full exit takes 120 ms of a camera."""
    spec = {"privacy": "Local", "slo": {"latency": "2s"}, "load": {"rate": 1}} | spec
    found = service("digits", nodes, card=CARD.model_copy(update={"size": SIZE}), **spec)
    camera = PROFILES["camera"].model_copy(update={"packing": packing})
    return replace(found, profiles={**PROFILES, "camera": camera})


def entry_of(plan: PooledPlan) -> PlannedEntry:
    return plan.entries[EntryKey("default", "digits", "cam-0")]


def best(entry: PlannedEntry) -> Any:
    assert isinstance(entry.plan, Plan)
    return entry.plan.table.routes[0]


@pytest.mark.parametrize(("nodes", "packed", "seconds"), [(ROOMY, True, 0.12), (TIGHT, False, 0.15)])
def test_the_placement_says_whether_the_runtime_packs(nodes: Any, packed: bool, seconds: float) -> None:
    one = local(nodes)
    entry = entry_of(plan_services(pool(nodes, one)))
    assert best(entry).exit == "final"
    stages = [stage for route in published(one, entry).spec.routes for stage in route.stages]
    assert {stage.packed for stage in stages} == {packed}
    assert stages[0].predicted_compute == pytest.approx(seconds)


def test_without_a_measurement_the_runtime_decides() -> None:
    one = local(ROOMY, packing=None)
    entry = entry_of(plan_services(pool(ROOMY, one)))
    stages = [stage for route in published(one, entry).spec.routes for stage in route.stages]
    assert {stage.packed for stage in stages} == {None}


def test_a_restart_adopts_a_table_without_packed_weights() -> None:
    one = local()
    before = entry_of(plan_services(pool(TIGHT, one)))
    placement = published(one, before)
    again = replace(one, placements={"cam-0": placement})
    entry = entry_of(plan_services(pool(TIGHT, again)))
    assert entry.adopted
    assert published(again, entry) == placement
    roomier = replace(one, placements={"cam-0": placement}, entries=ROOMY)
    assert best(entry_of(plan_services(pool(ROOMY, roomier)))).packed is True


def test_the_memory_that_a_group_declares_limits_what_its_nodes_take() -> None:
    body = pool_body()
    body["spec"]["nodes"][1]["memory"] = "250Mi"
    spec = DevicePool.model_validate(body).spec
    (member,) = group_members(spec, [node_of(node_body("cam-0", "camera"))])
    assert member.memory == 250 * MIB
    one = local((member,))
    assert best(entry_of(plan_services(pool((member,), one, spec=spec)))).packed is False
    small = replace(member, node=replace(member.node, memory=100.0 * MIB))
    assert small.memory == 100 * MIB, "no more than pods can use"


def test_a_measurement_is_the_same_after_a_restart() -> None:
    profile = PROFILES["camera"].model_copy(update={"packing": MEASURED})
    written = manifests.as_written(manifests.model_profile("digits", CARD, [profile]))
    assert manifests.device_profiles(written)["camera"].packing == MEASURED


def test_runs_that_were_faster_without_packed_weights_do_not_count_as_faster() -> None:
    faster = MEASURED.model_copy(update={"slowdown": 0.9})
    profile = manifests.class_profile(PROFILES["camera"].model_copy(update={"packing": faster}))
    assert profile.packing is not None
    assert profile.packing.slowdown == 1


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (ROOMY, "weights at cam-0: packed, 2 bytes of memory"),
        (TIGHT, "weights at cam-0: not packed, 1 bytes of memory"),
    ],
)
def test_an_explanation_says_what_was_chosen(nodes: Any, said: str) -> None:
    one = local(nodes)
    plan = plan_services(pool(nodes, one))
    found = EntryExplainer(plan).explain(one, entry_of(plan))
    (packing,) = found.packing
    assert (packing.place, packing.slowdown) == ("cam-0", 1.25)
    assert {packing.memory, packing.other_memory} == {1.0, 2.0}
    explanation = Explanation(
        service="digits",
        namespace="default",
        latency=one.spec.slo.latency,
        percentile=95,
        mode="Auto",
        optimize="Accuracy",
        entries=(found,),
    )
    assert said in explanation_text(explanation)
