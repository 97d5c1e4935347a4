"""What a stopPolicy does to the services of a tenant."""

from typing import Any

import pytest

from edge_operator.cluster import TENANTS
from edge_operator.errors import ExplanationError
from edge_operator.keys import ServiceKey
from messages import mentions
from operator_objects import KEY


def test_services_of_a_tenant_are_placed_as_before(world: Any) -> None:
    world.settle()
    before = world.placements()
    world.label_namespace()
    world.put_tenant()
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert {node: body["spec"] for node, body in world.placements().items()} == {
        node: body["spec"] for node, body in before.items()
    }


def test_a_held_tenant_gets_no_routes_where_it_has_none(world: Any) -> None:
    world.label_namespace()
    world.put_tenant(stopPolicy="Hold")
    world.reconcile()
    assert world.placements() == {}
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "TenantHeld")
    assert mentions("Tenant shop", "spec.stopPolicy", '"Hold"', "None").search(planned["message"])


def test_published_routes_of_a_held_tenant_keep_serving(world: Any) -> None:
    world.label_namespace()
    world.put_tenant()
    world.settle()
    before = world.placements()
    world.put_tenant(stopPolicy="Hold")
    world.node("cam-3", "camera")
    world.settle()
    assert {node: body["spec"] for node, body in world.placements().items()} == {
        node: body["spec"] for node, body in before.items()
    }
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "TenantHeld")
    assert "cam-3" in planned["message"]


def test_a_drained_tenant_loses_its_routes_and_reports_why(world: Any) -> None:
    world.label_namespace()
    world.put_tenant()
    world.settle()
    assert world.placements()
    world.put_tenant(stopPolicy="HoldAndDrain")
    world.reconcile()
    world.reconcile()
    for body in world.placements().values():
        assert mentions("Tenant shop", '"HoldAndDrain"').search(body["spec"]["refusal"])
        for route in body["spec"]["routes"]:
            assert [stage["runtime"] for stage in route["stages"]] == ["Edge"]
    for kind in ("Planned", "Ready"):
        found = world.condition(kind)
        assert (found["status"], found["reason"]) == ("False", "TenantDrained")
    assert mentions("Tenant shop", '"HoldAndDrain"', "None").search(world.condition("Planned")["message"])


@pytest.mark.parametrize("policy", ["Hold", "HoldAndDrain"])
def test_services_are_placed_once_the_tenant_is_not_stopped_any_more(world: Any, policy: str) -> None:
    world.label_namespace()
    world.put_tenant(stopPolicy=policy)
    world.reconcile()
    assert world.placements() == {}
    world.put_tenant(stopPolicy="None")
    world.settle()
    assert world.condition("Ready")["status"] == "True"


def test_a_stopped_tenant_stops_no_other_namespace(world: Any) -> None:
    world.label_namespace("lab")
    world.put_tenant(stopPolicy="HoldAndDrain")
    world.settle()
    assert world.condition("Ready")["status"] == "True"


def test_a_deleted_tenant_stops_nothing_any_more(world: Any) -> None:
    world.label_namespace()
    world.put_tenant(stopPolicy="Hold")
    world.reconcile()
    world.cluster.delete(TENANTS, None, "shop")
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert world.planned(ServiceKey(*KEY)) is not None


def test_a_drained_tenant_serves_its_tables_again_once_it_is_not_stopped(world: Any) -> None:
    world.label_namespace()
    world.put_tenant()
    world.settle()
    before = world.placements()
    world.put_tenant(stopPolicy="HoldAndDrain")
    world.reconcile()
    world.put_tenant(stopPolicy="None")
    world.settle()
    after = world.placements()
    assert {node: body["spec"] for node, body in after.items()} == {
        node: body["spec"] for node, body in before.items()
    }
    assert world.condition("Ready")["status"] == "True"


def test_a_drained_service_with_a_runtime_of_its_own_loses_the_runtime(world: Any) -> None:
    world.change(isolation="Dedicated")
    world.label_namespace()
    world.put_tenant()
    world.settle()
    world.put_tenant(stopPolicy="HoldAndDrain")
    world.reconcile()
    world.reconcile()
    assert world.placements() == {}
    assert world.deployments() == []


def test_entry_nodes_that_left_while_the_tenant_was_drained_are_removed(world: Any) -> None:
    world.label_namespace()
    world.put_tenant()
    world.settle()
    world.put_tenant(stopPolicy="HoldAndDrain")
    world.reconcile()
    world.change(entryNodes={"nodeSelector": {"class": "gateway"}})
    world.put_tenant(stopPolicy="None")
    world.settle()
    assert list(world.placements()) == ["gate"]


@pytest.mark.parametrize("policy", ["Hold", "HoldAndDrain"])
def test_explain_says_that_the_tenant_is_stopped(world: Any, policy: str) -> None:
    world.settle()
    world.label_namespace()
    for node in ("cam-1", "cam-2", "gate"):
        world.cluster.objects.pop(("Placement", "default", f"digits.{node}"))
    world.put_tenant(stopPolicy=policy)
    try:
        said = repr(world.explained())
    except ExplanationError as error:
        said = str(error)
    assert mentions("Tenant shop", f'"{policy}"').search(said)


def test_a_restarted_operator_writes_nothing_for_a_drained_tenant(world: Any) -> None:
    world.label_namespace()
    world.put_tenant()
    world.settle()
    world.put_tenant(stopPolicy="HoldAndDrain")
    world.reconcile()
    applied = [line for line in world.log if line.startswith(("apply", "delete"))]
    world.restart()
    world.reconcile()
    assert [line for line in world.log if line.startswith(("apply", "delete"))] == applied


def test_tails_of_a_drained_tenant_are_unloaded(world: Any) -> None:
    world.label_namespace()
    world.put_tenant()
    world.settle()
    assert world.triton.models
    world.put_tenant(stopPolicy="HoldAndDrain")
    for _ in range(5):
        world.reconcile()
        world.runtimes_report()
        world.now += 600
    assert not world.triton.models


def test_a_drained_service_can_be_deleted(world: Any) -> None:
    world.label_namespace()
    world.put_tenant()
    world.settle()
    world.put_tenant(stopPolicy="HoldAndDrain")
    world.reconcile()
    body = world.service()
    world.cluster.put(body | {"metadata": body["metadata"] | {"deletionTimestamp": "2026-03-01T12:00:00Z"}})
    for _ in range(3):
        world.reconcile()
    assert world.placements() == {}
