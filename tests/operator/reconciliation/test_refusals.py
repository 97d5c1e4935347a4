"""Each kind of error has a reason of its own, and a message with its fix."""

from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import DEVICE_POOLS
from edge_operator.pool import manifests
from edge_operator.pool.remedies import explained
from edge_planning.errors import (
    BadModelError,
    BadPlacesError,
    BadProfileError,
    BadValueError,
    PlanningError,
)

World = Any  # tests/operator/conftest.py


def reconcile_the_pool(world: World) -> dict[str, Any]:
    world.report_pool()
    ready: dict[str, Any] = world.pool()["status"]["conditions"][0]
    return ready


@pytest.mark.parametrize(
    ("error", "reason", "what"),
    [
        (BadModelError, reasons.BAD_EXITS, "spec.model.exits"),
        (BadProfileError, reasons.BAD_PROFILE, "ModelProfile digits"),
        (BadPlacesError, reasons.NAME_TAKEN, "DevicePool factory"),
        (BadValueError, reasons.CANNOT_PLAN, ""),
        (PlanningError, reasons.CANNOT_PLAN, ""),
    ],
)
def test_each_kind_of_planning_error_has_its_reason_and_its_remedy(
    error: type[PlanningError], reason: str, what: str
) -> None:
    found, message = explained(error("x is y"), "digits", "factory")
    assert found == reason
    assert message.startswith("x is y: ")
    assert what in message
    assert ("ModelProfile" in message) is (error is BadProfileError)


def test_a_triton_server_named_like_an_entry_node_is_reported_at_service_and_pool(world: World) -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["name"] = "cam-1"
    world.cluster.put(pool)
    world.reconcile()
    for condition in (world.condition("Planned"), world.condition("Ready"), reconcile_the_pool(world)):
        assert (condition["status"], condition["reason"]) == ("False", reasons.NAME_TAKEN)
        assert 'spec.tritonServers[0].name: "cam-1"' in condition["message"]
        assert "ModelProfile" not in condition["message"]
    pool["spec"]["tritonServers"][0]["name"] = "cloud"
    world.cluster.put(pool)
    world.settle()
    assert world.condition("Planned")["status"] == "True"
    assert reconcile_the_pool(world)["reason"] == "NodesFound"


def test_a_bad_profile_alone_is_a_bad_profile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = world.store.profiles["camera"]
    world.store.profiles["camera"] = camera.model_copy(update={"segments": camera.segments[1:]})
    # Profiles are validated when they arrive; this tests planning errors of a valid one.
    monkeypatch.setattr(manifests, "of_exits", lambda profile, card: profile)
    world.reconcile()
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", reasons.BAD_PROFILE)
    assert all(part in planned["message"] for part in ("camera", "image", "pool1", "ModelProfile digits"))
    assert world.placements() == {}


def test_exits_out_of_order_are_reported_before_anything_is_measured(world: World) -> None:
    first, final = world.store.card.exits
    deep = final.model_copy(update={"name": "deep", "outputs": ("deep_logits",)})
    world.store.card = world.store.card.model_copy(update={"exits": (deep, first, final)})
    world.store.profiles.clear()
    world.reconcile()
    found = world.condition("ModelReady")
    assert (found["status"], found["reason"]) == ("False", "BadExits")
    assert "spec.model.exits" in found["message"]
    assert world.jobs() == []


def test_a_pool_that_cannot_be_read_is_reported_at_service_and_pool(world: World) -> None:
    world.settle()
    before = world.placements()
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["httpAddress"] = "[::1::2]:8000"
    world.cluster.put(pool)
    world.reconcile()
    assert world.condition("Planned")["reason"] == "BadDevicePool"
    assert "spec.tritonServers[0].httpAddress" in world.condition("Planned")["message"]
    assert '"::1::2"' in reconcile_the_pool(world)["message"]
    assert reconcile_the_pool(world)["reason"] == "Unreadable"
    assert world.placements().keys() == before.keys()


def test_a_service_that_cannot_be_read_is_reported_in_its_status_once(world: World) -> None:
    world.settle()
    before = {name: body["spec"] for name, body in world.placements().items()}
    world.change(slo={"latency": "9999999h"})
    for _ in range(3):
        world.reconcile()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Unreadable")
    assert 'spec.slo.latency: "9999999h"' in ready["message"]
    assert sum(reason == "Unreadable" for _, reason, _ in world.cluster.events) == 1
    assert {name: body["spec"] for name, body in world.placements().items()} == before


def test_a_pool_is_found_by_whatever_name_kubernetes_lets_it_have(world: World) -> None:
    pool = world.pool()
    pool["metadata"] = {"name": "factory.west"}
    world.cluster.delete(DEVICE_POOLS, None, "factory")
    world.cluster.put(pool)
    world.change(devicePool="factory.west")
    world.settle()
    assert world.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("node", ["n" + "1.long" * 40, "a" * 253])
def test_a_node_whose_name_is_as_long_as_kubernetes_allows_is_served(world: World, node: str) -> None:
    world.node(node, "camera")
    world.settle()
    assert node in world.placements()
    assert max(map(len, world.deployments())) <= 242


def test_an_overwritten_round_trip_is_planned_again(world: World) -> None:
    world.settle()
    for body in world.placements().values():
        planned_before_the_field(body, "quick")
        world.cluster.put(body)
    world.now += 100
    world.reconcile()
    assert world.condition("Planned")["status"] == "True"


def test_the_round_trip_that_an_earlier_version_planned_with_is_kept(world: World) -> None:
    world.settle()
    for body in world.placements().values():
        planned_before_the_field(body, "80ms")
        world.cluster.put(body)
    world.now += 100
    world.reconcile()
    assert {body["spec"]["link"]["roundTrip"] for body in world.placements().values()} == {"80ms"}


def planned_before_the_field(body: dict[str, Any], round_trip: str) -> None:
    """Writes the planned round trip as earlier versions did."""
    del body["spec"]["link"]["roundTrip"]
    annotation = {"edge-intelligence.io/planned-round-trip": round_trip}
    body["metadata"]["annotations"] = body["metadata"].get("annotations", {}) | annotation
