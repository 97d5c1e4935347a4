"""What a stopPolicy does to the services of a tenant."""

from typing import Any

import pytest

from edge_operator.cluster import TENANTS
from edge_operator.keys import ServiceKey
from messages import mentions
from operator_objects import KEY


def label_namespace(world: Any, team: str = "shop") -> None:
    metadata = {"name": KEY.namespace, "labels": {"team": team}}
    world.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def put_tenant(world: Any, name: str = "shop", **spec: Any) -> None:
    world.cluster.put(
        {
            "apiVersion": "edge-intelligence.io/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": name},
            "spec": {"namespaceSelector": {"matchLabels": {"team": name}}} | spec,
        }
    )


def test_services_of_a_tenant_are_placed_as_before(world: Any) -> None:
    world.settle()
    before = world.placements()
    label_namespace(world)
    put_tenant(world)
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert {node: body["spec"] for node, body in world.placements().items()} == {
        node: body["spec"] for node, body in before.items()
    }


def test_a_held_tenant_gets_no_routes_where_it_has_none(world: Any) -> None:
    label_namespace(world)
    put_tenant(world, stopPolicy="Hold")
    world.reconcile()
    assert world.placements() == {}
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "TenantHeld")
    assert mentions("Tenant shop", "spec.stopPolicy", '"Hold"', "None").search(planned["message"])


def test_published_routes_of_a_held_tenant_keep_serving(world: Any) -> None:
    label_namespace(world)
    put_tenant(world)
    world.settle()
    before = world.placements()
    put_tenant(world, stopPolicy="Hold")
    world.node("cam-3", "camera")
    world.settle()
    assert {node: body["spec"] for node, body in world.placements().items()} == {
        node: body["spec"] for node, body in before.items()
    }
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "TenantHeld")
    assert "cam-3" in planned["message"]


def test_a_drained_tenant_loses_its_routes_and_says_so(world: Any) -> None:
    label_namespace(world)
    put_tenant(world)
    world.settle()
    assert world.placements()
    put_tenant(world, stopPolicy="HoldAndDrain")
    world.reconcile()
    world.reconcile()
    assert world.placements() == {}
    assert world.deployments() == []
    for kind in ("Planned", "Ready"):
        found = world.condition(kind)
        assert (found["status"], found["reason"]) == ("False", "TenantDrained")
    assert mentions("Tenant shop", '"HoldAndDrain"', "None").search(world.condition("Planned")["message"])


@pytest.mark.parametrize("policy", ["Hold", "HoldAndDrain"])
def test_services_are_placed_once_the_tenant_is_not_stopped_any_more(world: Any, policy: str) -> None:
    label_namespace(world)
    put_tenant(world, stopPolicy=policy)
    world.reconcile()
    assert world.placements() == {}
    put_tenant(world, stopPolicy="None")
    world.settle()
    assert world.condition("Ready")["status"] == "True"


def test_a_stopped_tenant_stops_no_other_namespace(world: Any) -> None:
    label_namespace(world, "lab")
    put_tenant(world, stopPolicy="HoldAndDrain")
    world.settle()
    assert world.condition("Ready")["status"] == "True"


def test_a_deleted_tenant_stops_nothing_any_more(world: Any) -> None:
    label_namespace(world)
    put_tenant(world, stopPolicy="Hold")
    world.reconcile()
    world.cluster.delete(TENANTS, None, "shop")
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert world.planned(ServiceKey(*KEY)) is not None
