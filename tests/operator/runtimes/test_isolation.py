"""A Dedicated service has pods of its own; it moves between them and the shared ones without a gap."""

from typing import Any

from edge_operator.cluster import DEPLOYMENTS, PLACEMENTS, SERVICES
from operator_objects import rolled_out

World = Any  # tests/operator/conftest.py
SHARED = {"edge-intelligence.io/isolation": "Shared"}
DEDICATED = {"edge-intelligence.io/isolation": "Dedicated", "edge-intelligence.io/service": "digits"}


def pods(world: World) -> list[tuple[str, bool]]:
    """The node of each Deployment, and whether it serves digits alone."""
    return sorted(
        (
            body["metadata"]["labels"]["edge-intelligence.io/node"],
            "edge-intelligence.io/service" in body["metadata"]["labels"],
        )
        for body in world.cluster.find(DEPLOYMENTS, "default")
    )


def ready(world: World) -> None:
    for body in world.cluster.find(DEPLOYMENTS):
        world.cluster.put(rolled_out(body))


def selector(world: World) -> Any:
    return world.cluster.get(SERVICES, "default", "digits")["spec"]["selector"]


def isolations(world: World) -> set[str]:
    """Of the tables, whose label tells runtimes where to forward requests."""
    placements = world.cluster.find(PLACEMENTS, "default")
    label = "edge-intelligence.io/isolation"
    assert all(body["metadata"]["labels"][label] == body["spec"]["isolation"] for body in placements)
    return {body["spec"]["isolation"] for body in placements}


def pass_time(world: World, *, starting: str = "") -> None:
    """starting: the isolation of the runtimes whose pods are not ready yet."""
    for _ in range(4):
        world.now += 6
        world.reconcile()
        world.runtimes_report()
        for body in world.cluster.find(DEPLOYMENTS):
            if body["metadata"]["labels"]["edge-intelligence.io/isolation"] == starting:
                world.cluster.put(body | {"status": {}})


def test_a_dedicated_service_gets_deployments_of_its_own_and_no_shared_ones(world: World) -> None:
    world.change(isolation="Dedicated")
    world.settle()
    assert pods(world) == [("cam-1", True), ("cam-2", True), ("gate", True)]
    assert (selector(world), isolations(world)) == (DEDICATED, {"Dedicated"})


def test_a_service_that_becomes_dedicated_is_shared_until_its_own_pods_serve(world: World) -> None:
    world.settle()
    ready(world)
    world.change(isolation="Dedicated")
    pass_time(world, starting="Dedicated")
    assert len(pods(world)) == 6
    assert (selector(world), isolations(world)) == (SHARED, {"Shared"})
    ready(world)
    pass_time(world)
    assert (selector(world), isolations(world)) == (DEDICATED, {"Dedicated"})
    pass_time(world)
    assert pods(world) == [("cam-1", True), ("cam-2", True), ("gate", True)]


def test_a_service_that_becomes_shared_keeps_its_own_pods_until_the_shared_ones_serve(world: World) -> None:
    world.change(isolation="Dedicated")
    world.settle()
    ready(world)
    world.change(isolation="Shared")
    pass_time(world, starting="Shared")
    assert len(pods(world)) == 6
    assert (selector(world), isolations(world)) == (DEDICATED, {"Shared"})
    ready(world)
    pass_time(world)
    assert selector(world) == SHARED
    pass_time(world)
    assert pods(world) == [("cam-1", False), ("cam-2", False), ("gate", False)]


def test_a_dedicated_service_is_deleted_with_its_pods(world: World) -> None:
    world.change(isolation="Dedicated")
    world.settle()
    body = world.service()
    deleted = {"deletionTimestamp": world.clock().wall().isoformat()}
    world.cluster.put(body | {"metadata": body["metadata"] | deleted})
    assert world.reconcile() is None
    assert pods(world) == []
