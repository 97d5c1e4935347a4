"""A pool's plan is a function of what was observed, and plans only what has changed."""

from dataclasses import replace
from typing import Any

import pytest

from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_operator.errors import StoreError
from edge_operator.keys import ServiceKey, SliceKey
from edge_operator.loops.pools import PoolLoop
from edge_operator.pool import plans, publishing, services
from edge_operator.pool.drafts import EACH_WAITS, Draft
from edge_operator.pool.facts import CardOf, Fact, SliceOf
from edge_operator.pool.preparing import PATIENCE
from messages import mentions
from operator_objects import DIGEST, KEY

World = Any  # tests/operator/conftest.py
OTHER = ServiceKey("default", "letters")
CAMERAS = {"nodeSelector": {"class": "camera"}}
ACCURATE = {"latency": "900ms", "percentile": 95, "objective": 0.95, "minAccuracy": 0.95}


def second(world: World) -> None:
    """Another service on the pool."""
    body = world.service()
    world.cluster.put(body | {"metadata": {"name": OTHER.name, "namespace": OTHER.namespace}, "status": {}})


def planned(world: World, *changed: ServiceKey) -> plans.PoolPlan:
    """The next plan of the pool, which is not carried out."""
    loop = world.loops["factory"]
    return plans.plan(replace(loop.take(), changed=frozenset(changed)), loop.plan, loop.now())


def test_equal_states_give_equal_plans(world: World) -> None:
    world.settle()
    loop = world.loops["factory"]
    world.change(slo={"latency": "70ms", "percentile": 95, "objective": 0.95})
    loop.service_changed(KEY)
    state = loop.take()
    found = [plans.plan(state, loop.plan, loop.now()) for _ in range(2)]
    assert found[0].services[KEY].objects
    assert found[0] == found[1]


def test_without_a_change_nothing_is_planned(world: World) -> None:
    world.settle()
    found = planned(world)
    assert found.planned == frozenset()
    assert found.services == world.loops["factory"].plan.services
    assert found.status is None


def test_only_the_service_that_changed_is_planned(world: World) -> None:
    second(world)
    world.settle()
    world.settle()
    found = planned(world, OTHER)
    assert found.planned == {OTHER}
    assert found.services[KEY] is world.loops["factory"].plan.services[KEY]


def test_a_report_of_counters_is_work_for_the_status_alone(world: World) -> None:
    world.settle()
    before = world.planned()
    world.requests_arrive(10, 10)
    world.now += 60
    loop = world.loops["factory"]
    loop.service_changed(KEY)
    found = planned(world, KEY).services[KEY]
    assert found.rendered is before.rendered
    assert found.pooled is before.pooled
    assert found.objects == ()
    assert found.status is not None


def test_a_link_that_slowed_down_is_planned_for(world: World) -> None:
    world.settle()
    before = world.planned()
    world.runtimes_report(link={"state": "Up", "bandwidth": "5M", "roundTrip": "250ms"})
    loop = world.loops["factory"]
    loop.service_changed(KEY)
    found = planned(world, KEY).services[KEY]
    assert found.pooled is not before.pooled


def test_a_plan_that_lacks_a_fact_waits_and_then_says_what_for(world: World) -> None:
    """The model store is slow: nothing is written until then but the finalizer."""
    loop = PoolLoop("factory", world.shared())
    state = loop.take()
    first = plans.plan(state, plans.NOTHING, loop.now())
    service = first.services[KEY]
    assert service.status is None
    assert {type(need) for need in service.used} == {CardOf}
    world.now += PATIENCE
    later = plans.plan(state, first, loop.now()).services[KEY]
    assert later.blocked is not None
    assert (later.blocked.step, later.blocked.reason) == ("ModelReady", "Fetching")
    assert "store://digits/digits.onnx" in later.blocked.message


def test_a_plan_waits_longer_for_facts_while_many_services_are_placed(world: World) -> None:
    for number in range(99):
        body = world.service()
        world.cluster.put(body | {"metadata": {"name": f"digits-{number}", "namespace": "default"}})
    loop = PoolLoop("factory", world.shared())
    state = loop.take()
    first = plans.plan(state, plans.NOTHING, loop.now())
    world.now += PATIENCE
    later = plans.plan(state, first, loop.now())
    assert later.services[KEY].blocked is None
    assert later.services[KEY].again_at == pytest.approx(world.now - PATIENCE + 100 * EACH_WAITS)
    world.now += 100 * EACH_WAITS - PATIENCE
    blocked = plans.plan(state, later, loop.now()).services[KEY].blocked
    assert blocked is not None
    assert blocked.reason == "Fetching"


def test_facts_are_forgotten_once_no_plan_uses_them(world: World) -> None:
    """They are recorded in objects by then: a large installation keeps no copy in memory."""
    world.settle()
    assert not [need for need in world.planned().used if isinstance(need, CardOf | SliceOf)]
    assert dict(world.loops["factory"].take().facts) == {}


def test_a_defect_that_one_service_meets_leaves_the_others_planned(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    second(world)
    made = publishing.publish

    def publish(draft: Draft, *rest: Any) -> Any:
        if draft.key == KEY:
            raise KeyError("a defect")
        return made(draft, *rest)

    monkeypatch.setattr(publishing, "publish", publish)
    world.reconcile()
    assert {body["spec"]["service"] for body in world.cluster.find(PLACEMENTS)} == {OTHER.name}
    assert isinstance(world.planned().defect, KeyError)
    monkeypatch.undo()
    world.now += services.DEFECT
    world.reconcile()
    assert {body["spec"]["service"] for body in world.cluster.find(PLACEMENTS)} == {KEY.name, OTHER.name}
    assert world.planned().defect is None


def test_a_service_that_the_pool_cannot_hold_is_refused_and_the_first_keeps_its_tables(world: World) -> None:
    world.change(mode="LocalOnly", load={"rate": 6.0}, slo=ACCURATE, entryNodes=CAMERAS)
    world.settle()
    before = world.placements()
    assert set(before) == {"cam-1", "cam-2"}
    second(world)
    world.settle()
    found = world.planned(OTHER).blocked
    assert (found.step, found.reason) == ("Planned", "DoesNotFit")
    assert mentions("cpu of cam-1", KEY.name, "spec.load.rate").search(found.message)
    assert {n: p["spec"] for n, p in world.placements().items()} == {n: p["spec"] for n, p in before.items()}


def test_a_service_whose_change_cannot_be_planned_says_which_spec_its_routes_follow(world: World) -> None:
    world.change(mode="Auto", entryNodes=CAMERAS)
    world.settle()
    assert "earlier" not in world.condition("Ready")["message"]
    world.change(mode="LocalOnly", load={"rate": 1000.0}, slo=ACCURATE)
    world.settle()
    assert world.condition("Planned")["reason"] == "Infeasible"
    assert {body["spec"]["mode"] for body in world.placements().values()} == {"Auto"}
    earlier = 'the previous routes keep serving, by an earlier spec.mode: "Auto"'
    for kind in ("Ready", "Degraded"):
        assert earlier in world.condition(kind)["message"]


def test_a_service_of_higher_priority_takes_the_room_of_another(world: World) -> None:
    world.change(mode="LocalOnly", load={"rate": 6.0}, slo=ACCURATE, entryNodes=CAMERAS)
    world.settle()
    second(world)
    body = world.cluster.get(INFERENCE_SERVICES, *OTHER)
    world.cluster.put(body | {"spec": body["spec"] | {"priority": 10}})
    world.settle()
    assert world.planned(OTHER).blocked is None
    assert world.condition("Planned")["reason"] == "DoesNotFit"


def test_a_plan_that_waits_for_a_lost_model_still_knows_that_it_is_lost(world: World) -> None:
    world.settle()
    loop = world.loops["factory"]
    need = SliceOf(KEY.namespace, SliceKey(DIGEST, ("image",), ("logits",)))
    lost = {need: Fact(error=StoreError("NotFound", "no such model"))}
    before = replace(world.planned(), used=frozenset({need}))
    state = replace(loop.take(), facts=lost, changed=frozenset({KEY}))
    found = plans.plan(state, replace(loop.plan, services={KEY: before}), loop.now())
    assert {type(each) for each in found.services[KEY].used} == {SliceOf, CardOf}
