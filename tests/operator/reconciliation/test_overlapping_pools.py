"""A node that several pools select belongs to the oldest of them, and the others say so."""

from typing import Any

import pytest

from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.keys import ServiceKey
from messages import mentions
from operator_objects import KEY, device_profile

World = Any  # tests/operator/conftest.py
OTHER = ServiceKey("elsewhere", "other")
EARLY, MIDDLE, LATE = "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"


def pool(world: World, name: str, created: str, *classes: str) -> None:
    """Creates or changes a pool of these device classes, whose nodes it selects by their label."""
    body = world.pool()
    body.pop("status", None)
    body["metadata"] = {"name": name, "creationTimestamp": created}
    groups = [{"tier": "Edge", "deviceClass": each, "nodeSelector": {"class": each}} for each in classes]
    body["spec"]["nodes"] = groups
    world.cluster.put(body)


@pytest.fixture
def two(world: World) -> World:
    """A service on a pool of cameras and a gateway; another on a later pool of the cameras and a lamp."""
    world.node("lamp-1", "lamp")
    world.store.profiles["lamp"] = device_profile("lamp", 1.0)
    pool(world, "factory", EARLY, "gateway", "camera")
    pool(world, "annex", LATE, "camera", "lamp")
    service = world.service()
    service["metadata"] = {"name": OTHER.name, "namespace": OTHER.namespace}
    service["spec"]["devicePool"] = "annex"
    world.cluster.put(service)
    return world


def placed(world: World, service: ServiceKey = OTHER) -> list[str]:
    """The nodes with a route table of the service."""
    bodies = world.cluster.find(PLACEMENTS, service.namespace)
    return sorted(body["spec"]["node"] for body in bodies if body["spec"]["service"] == service.name)


def condition(world: World, kind: str, service: ServiceKey = OTHER) -> Object:
    status = world.cluster.get(INFERENCE_SERVICES, *service)["status"]
    return next(each for each in status["conditions"] if each["type"] == kind)


def status_of(world: World, name: str) -> tuple[list[str], int, Object]:
    """A pool's nodes, how many it counts, and its condition Ready."""
    status = world.cluster.get(DEVICE_POOLS, None, name)["status"]
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    return [node["name"] for node in status["nodes"]], status["nodeCount"], ready


def test_a_node_of_two_pools_is_planned_by_the_older_one_alone(two: World) -> None:
    two.reconcile()
    assert placed(two, KEY) == ["cam-1", "cam-2", "gate"]
    assert placed(two) == ["lamp-1"]
    assert condition(two, "Planned")["status"] == "True"


def test_a_pool_without_some_of_its_nodes_says_which_pool_has_them(two: World) -> None:
    two.reconcile()
    nodes, count, ready = status_of(two, "annex")
    assert (nodes, count) == (["lamp-1"], 1)
    assert (ready["status"], ready["reason"]) == ("False", "Overlapping")
    assert mentions("spec.nodes", 2, "cam-1, cam-2", "DevicePool factory").search(ready["message"])
    nodes, count, ready = status_of(two, "factory")
    assert (nodes, count) == (["cam-1", "cam-2", "gate"], 3)
    assert (ready["status"], ready["reason"]) == ("True", "NodesFound")


def test_a_message_names_three_nodes_of_an_owner_and_counts_the_others(two: World) -> None:
    for number in range(3, 8):
        two.node(f"cam-{number}", "camera")
    two.reconcile()
    message = status_of(two, "annex")[2]["message"]
    assert mentions(7, "cam-1, cam-2, cam-3 and 4 more").search(message)
    assert "cam-4" not in message


def test_pools_of_one_second_are_ordered_by_name(two: World) -> None:
    pool(two, "annex", EARLY, "camera", "lamp")
    two.reconcile()
    assert placed(two) == ["cam-1", "cam-2", "lamp-1"]
    assert placed(two, KEY) == ["gate"]
    assert mentions("DevicePool annex").search(status_of(two, "factory")[2]["message"])


def test_a_service_whose_entry_nodes_all_belong_to_an_older_pool_names_that_pool(two: World) -> None:
    pool(two, "annex", LATE, "camera")
    two.reconcile()
    planned = condition(two, "Planned")
    assert (planned["status"], planned["reason"]) == ("False", "NoEntryNodes")
    assert mentions('spec.devicePool: "annex"', "cam-1, cam-2", "DevicePool factory", "use factory").search(
        planned["message"]
    )
    assert placed(two) == []


def test_entry_nodes_of_an_older_pool_differ_from_labels_that_no_node_has(two: World) -> None:
    body = two.cluster.get(INFERENCE_SERVICES, *OTHER)
    for label, parts in (("camera", ("DevicePool factory", "cam-1, cam-2")), ("oven", ("lamp-1",))):
        selector = {"entryNodes": {"nodeSelector": {"class": label}}}
        two.cluster.put(body | {"spec": body["spec"] | selector})
        two.reconcile()
        assert condition(two, "Planned")["reason"] == "NoEntryNodes"
        assert mentions(*parts).search(condition(two, "Planned")["message"])


def test_a_service_that_loses_a_node_to_an_older_pool_keeps_its_other_entry_nodes(two: World) -> None:
    pool(two, "factory", EARLY, "gateway")
    two.reconcile()
    assert placed(two) == ["cam-1", "cam-2", "lamp-1"]
    pool(two, "factory", EARLY, "gateway", "camera")
    two.reconcile()
    assert placed(two) == ["lamp-1"]
    assert placed(two, KEY) == ["cam-1", "cam-2", "gate"]
    entries = two.cluster.get(INFERENCE_SERVICES, *OTHER)["status"]["entries"]
    assert [entry["node"] for entry in entries] == ["lamp-1"]


def test_a_service_that_loses_all_its_nodes_keeps_serving_by_its_previous_routes(two: World) -> None:
    pool(two, "factory", EARLY, "gateway")
    pool(two, "annex", LATE, "camera")
    two.reconcile()
    assert placed(two) == ["cam-1", "cam-2"]
    pool(two, "factory", EARLY, "gateway", "camera")
    two.reconcile()
    assert placed(two) == ["cam-1", "cam-2"], "as for a service whose pool has no node any more"
    assert condition(two, "Planned")["reason"] == "NoEntryNodes"


@pytest.mark.parametrize("how", ["deleted", "changed"])
def test_a_node_that_the_older_pool_lets_go_joins_the_younger_one(two: World, how: str) -> None:
    two.reconcile()
    if how == "deleted":
        two.cluster.delete(DEVICE_POOLS, None, "factory")
    else:
        pool(two, "factory", EARLY, "gateway")
    two.reconcile()
    assert placed(two) == ["cam-1", "cam-2", "lamp-1"]
    nodes, count, ready = status_of(two, "annex")
    assert (nodes, count, ready["reason"]) == (["cam-1", "cam-2", "lamp-1"], 3, "NodesFound")


def test_a_node_goes_to_the_next_oldest_of_three_pools(two: World) -> None:
    pool(two, "middle", MIDDLE, "camera")
    two.reconcile()
    assert mentions("DevicePool factory").search(status_of(two, "middle")[2]["message"])
    pool(two, "factory", EARLY, "gateway")
    two.reconcile()
    assert status_of(two, "middle")[0] == ["cam-1", "cam-2"]
    assert mentions("DevicePool middle").search(status_of(two, "annex")[2]["message"])
    assert placed(two) == ["lamp-1"]


def test_a_pool_that_cannot_be_read_keeps_its_nodes(two: World) -> None:
    """Its services keep serving by their previous routes, which no pool plans with."""
    two.reconcile()
    body = two.pool()
    body["spec"]["links"] = {"probeInterval": "soon"}
    two.cluster.put(body)
    two.reconcile()
    assert placed(two) == ["lamp-1"]
    assert mentions("DevicePool factory").search(status_of(two, "annex")[2]["message"])


def test_a_selector_without_nodes_is_named_before_nodes_of_older_pools(two: World) -> None:
    two.remove_node("lamp-1")
    two.reconcile()
    ready = status_of(two, "annex")[2]
    assert ready["reason"] == "NoNodes"
    assert mentions("class=lamp", "DevicePool factory").search(ready["message"])
    assert 'spec.nodes[0].nodeSelector: "class=camera"' not in ready["message"]


def test_a_class_is_not_measured_on_a_node_of_an_older_pool(two: World) -> None:
    two.node("lamp-2", "lamp")
    body = two.cluster.get(DEVICE_POOLS, None, "annex")
    either = {"key": "class", "operator": "In", "values": ["lamp", "camera"]}
    body["spec"]["nodes"] = [{"deviceClass": "lamp", "selector": {"matchExpressions": [either]}}]
    two.cluster.put(body)
    del two.store.profiles["lamp"]
    two.reconcile()
    assert [job["spec"]["template"]["spec"]["nodeSelector"] for job in two.jobs()] == [
        {"kubernetes.io/hostname": "lamp-1"}
    ]


def test_a_triton_server_is_shared_by_pools_that_name_it(two: World) -> None:
    two.reconcile()
    for service in (KEY, OTHER):
        tables = [
            body
            for body in two.cluster.find(PLACEMENTS, service.namespace)
            if body["spec"]["service"] == service.name
        ]
        stages = [stage for table in tables for route in table["spec"]["routes"] for stage in route["stages"]]
        assert any(stage["runtime"] == "Triton" for stage in stages)


def test_explain_says_which_pool_has_the_entry_nodes(two: World) -> None:
    two.reconcile()
    assert {entry.node for entry in two.explained(OTHER).entries} == {"lamp-1"}


def test_a_restart_with_overlapping_pools_writes_nothing(two: World) -> None:
    two.reconcile()
    two.reconcile()
    before, writes = list(two.log), two.cluster.status_writes
    two.restart()
    two.plan()
    assert [line for line in two.log[len(before) :] if line.startswith(("apply", "delete"))] == []
    assert two.cluster.status_writes == writes


def test_a_service_that_kept_its_routes_is_planned_once_its_pool_has_nodes_again_after_a_restart(
    world: World,
) -> None:
    pool(world, "factory", MIDDLE, "gateway", "camera")
    world.settle()
    pool(world, "older", EARLY, "gateway", "camera")
    world.reconcile()
    planned = condition(world, "Planned", KEY)
    assert (planned["status"], planned["reason"]) == ("False", "NoEntryNodes")
    world.restart()
    world.reconcile()
    world.cluster.delete(DEVICE_POOLS, None, "older")
    world.reconcile()
    planned = condition(world, "Planned", KEY)
    assert (planned["status"], planned["reason"]) == ("True", "Planned")
