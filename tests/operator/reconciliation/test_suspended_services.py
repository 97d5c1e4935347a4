"""A suspended service has no routes, tails or memory, and refuses requests; it serves again once resumed."""

from typing import Any

from edge_operator.keys import ServiceKey
from messages import mentions
from operator_objects import KEY


def specs(world: Any) -> dict[str, Any]:
    return {node: body["spec"] for node, body in world.placements().items()}


def test_a_suspended_service_refuses_requests_and_reports_why(world: Any) -> None:
    world.settle()
    world.change(suspend=True)
    world.reconcile()
    assert len(specs(world)) == 3
    for spec in specs(world).values():
        assert mentions("InferenceService digits", "spec.suspend: true", "false").search(spec["refusal"])
        for route in spec["routes"]:
            assert [stage["runtime"] for stage in route["stages"]] == ["Edge"]
    for kind in ("Planned", "Ready"):
        found = world.condition(kind)
        assert (found["status"], found["reason"]) == ("False", "Suspended")


def test_the_tails_of_a_suspended_service_are_unloaded(world: Any) -> None:
    world.settle()
    assert world.triton.models
    world.change(suspend=True)
    for _ in range(5):
        world.reconcile()
        world.runtimes_report()
        world.now += 600
    assert not world.triton.models


def test_a_suspended_service_takes_nothing_of_the_pool(world: Any) -> None:
    world.settle()
    world.change(suspend=True)
    world.reconcile()
    assert world.loops["factory"].plan.joint.pool.services == ()


def test_a_resumed_service_has_the_tables_of_before(world: Any) -> None:
    world.settle()
    before = specs(world)
    world.change(suspend=True)
    world.reconcile()
    world.change(suspend=False)
    world.settle()
    assert specs(world) == before
    assert world.condition("Ready")["status"] == "True"


def test_a_service_that_is_created_suspended_has_no_routes_until_it_is_resumed(world: Any) -> None:
    world.change(suspend=True)
    world.reconcile()
    assert specs(world) == {}
    assert world.condition("Planned")["reason"] == "Suspended"
    world.change(suspend=False)
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert world.planned(ServiceKey(*KEY)) is not None


def test_a_dedicated_service_loses_its_runtimes_while_it_is_suspended(world: Any) -> None:
    world.change(isolation="Dedicated")
    world.settle()
    world.change(suspend=True)
    world.reconcile()
    world.reconcile()
    assert (specs(world), world.deployments()) == ({}, [])
    world.change(suspend=False)
    world.settle()
    assert world.condition("Ready")["status"] == "True"
