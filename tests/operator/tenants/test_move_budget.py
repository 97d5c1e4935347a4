"""Tables that could become more accurate with borrowed capacity change a few at a time."""

from typing import Any

import pytest

from edge_operator.cluster import INFERENCE_SERVICES
from edge_operator.pool import plans
from edge_operator.pool.demands import NO_PLAN
from edge_planning.sharing import MoveBudget

World = Any  # tests/operator/conftest.py


def local_service(world: World, name: str, namespace: str, rate: float) -> None:
    """A service at one camera, by any exit and without a hop: the full model takes 120 ms, exit1 30 ms."""
    world.add_namespace(
        namespace,
        name=name,
        mode="RightSizingOnly",
        entryNodes={"nodeSelector": {"kubernetes.io/hostname": "cam-1"}},
        slo={"latency": "1m"},
        load={"rate": rate},
    )


def accurate(world: World) -> int:
    """How many services of the borrower have the full model."""
    (joint,) = (loop.plan.joint for loop in world.loops.values())
    found = [entry for key, entries in joint.entries.items() if key.namespace == "lab-1" for entry in entries]
    return sum(entry.plan.table.routes[0].exit == "final" for entry in found)


@pytest.fixture
def lent(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A tenant that steps down for another one, which then leaves; with one move a minute."""
    monkeypatch.setattr(plans, "_ALONE", plans.Joint(None, NO_PLAN, {}, MoveBudget(1.0)))
    world.cluster.delete(INFERENCE_SERVICES, "default", "digits")
    world.label_namespace()
    world.put_tenant()
    for number in range(5):
        local_service(world, f"owner-{number}", "default", 0.85)
    for number in range(10):
        local_service(world, f"borrower-{number}", "lab-1", 0.85)
    world.plan()
    for number in range(1, 5):
        world.cluster.delete(INFERENCE_SERVICES, "default", f"owner-{number}")
    return world


def test_a_pool_makes_the_moves_of_its_budget_and_the_others_later(lent: World) -> None:
    first = accurate(lent)
    lent.plan()
    assert accurate(lent) == first + 1
    lent.plan()
    assert accurate(lent) == first + 1
    for minute in (2, 3):
        lent.now += 60
        lent.plan()
        assert accurate(lent) == first + minute


def test_moves_that_wait_are_planned_without_another_change(lent: World) -> None:
    lent.plan()
    (loop,) = lent.loops.values()
    assert loop.plan.joint.again_at == lent.now + plans.REFILL
    assert loop.plan.again_at <= lent.now + plans.REFILL
