"""A model is measured for each device class of each pool; measurements are those of the pool's own nodes."""

from typing import Any

import pytest

from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, MODEL_PROFILES
from edge_operator.keys import ServiceKey
from edge_operator.store_answers import DeviceProfile

World = Any  # tests/operator/conftest.py
KEY = ServiceKey("default", "digits")
OTHER = ServiceKey("default", "other")
SCALES = {"camera": 1.0, "gateway": 0.5, "cloud": 0.05}


@pytest.fixture
def two(world: World) -> World:
    """Two pools with classes of the same names, a service on each; none is measured."""
    world.measured = dict(world.store.profiles)
    world.store.profiles.clear()
    for name in SCALES:
        world.node(f"shop-{name}", f"shop-{name}")
    pool = world.pool()
    pool["metadata"] = {"name": "shop"}
    for part in (*pool["spec"]["nodes"], *pool["spec"]["tritonServers"]):
        part["nodeSelector"] = {"class": f"shop-{part['deviceClass']}"}
    world.cluster.put(pool)
    service = world.service()
    service["metadata"] = {"name": OTHER.name, "namespace": OTHER.namespace}
    service["spec"]["devicePool"] = "shop"
    service.pop("status", None)
    world.cluster.put(service)
    return world


def reconcile(world: World) -> None:
    """Both services."""
    world.reconcile()


def finish(world: World, slower: float) -> None:
    """The Jobs store what they were made for; nodes of the shop are `slower` times as slow."""
    for job in world.jobs():
        arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
        given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
        name, node = given["--device-class"], given["--node"]
        profile: DeviceProfile = world.measured[name].model_copy(update={"node": node})
        if node.startswith("shop"):
            segments = [
                s.model_copy(update={"mean_seconds": s.mean_seconds * slower}) for s in profile.segments
            ]
            profile = profile.model_copy(update={"segments": tuple(segments)})
        world.store.profiles[f"{given['--selection']}/{name}"] = profile
        done = {"type": "Complete", "status": "True", "lastTransitionTime": world.clock().wall().isoformat()}
        world.cluster.put(job | {"status": {"conditions": [done]}})


def nodes(world: World, service: ServiceKey) -> dict[str, str]:
    """The node on which each class in a service's ModelProfile was measured."""
    profile = world.cluster.get(MODEL_PROFILES, *service)
    return {costs["name"]: costs["node"] for costs in profile["spec"]["deviceClasses"]}


def test_classes_of_two_pools_with_one_name_are_measured_each_on_its_own_nodes(two: World) -> None:
    reconcile(two)
    assert len(two.jobs()) == 6
    finish(two, slower=3.0)
    reconcile(two)
    assert nodes(two, KEY) == {
        "camera": "cam-1",
        "gateway": "gate",
        "cloud": "big",
    }
    assert nodes(two, OTHER) == {name: f"shop-{name}" for name in SCALES}
    profile = two.cluster.get(MODEL_PROFILES, *OTHER)
    camera = next(c for c in profile["spec"]["deviceClasses"] if c["name"] == "camera")
    assert camera["segments"][0]["mean"] == "60ms"
    assert camera["selection"].startswith("shop-")


def test_a_second_service_on_the_pool_uses_the_measurements_of_the_first(two: World) -> None:
    reconcile(two)
    finish(two, slower=1.0)
    other = two.cluster.get(INFERENCE_SERVICES, *OTHER)
    two.cluster.put(other | {"spec": other["spec"] | {"devicePool": "factory"}})
    reconcile(two)
    assert nodes(two, OTHER) == {"camera": "cam-1", "gateway": "gate", "cloud": "big"}
    assert len(two.jobs()) == 6


def test_a_service_that_moves_to_another_pool_does_not_take_its_measurements_along(two: World) -> None:
    reconcile(two)
    finish(two, slower=1.0)
    reconcile(two)
    two.change(devicePool="shop")
    reconcile(two)
    assert nodes(two, KEY) == {name: f"shop-{name}" for name in SCALES}


def test_a_pool_that_is_created_again_with_other_nodes_measures_them(world: World) -> None:
    world.settle()
    for name in ("new-1", "new-2"):
        world.node(name, "newer")
    pool = world.pool()
    pool["spec"]["nodes"][1]["nodeSelector"] = {"class": "newer"}
    world.cluster.delete(DEVICE_POOLS, None, "factory")
    world.cluster.put(pool)
    world.store.profiles.pop("camera")
    before = world.placements()
    world.reconcile()
    (job,) = world.jobs()
    assert job["metadata"]["labels"]["edge-intelligence.io/node"] == "new-1"
    assert world.condition("Profiled")["reason"] == "Profiling"
    assert world.placements().keys() == before.keys()


def test_a_pool_that_is_created_again_with_the_same_nodes_measures_nothing(world: World) -> None:
    world.settle()
    pool = world.pool()
    world.cluster.delete(DEVICE_POOLS, None, "factory")
    world.cluster.put(pool)
    world.store.profiles.clear()
    world.reconcile()
    assert world.jobs() == []


def test_measurements_of_an_earlier_version_are_taken_again_once_while_the_routes_keep_serving(
    world: World,
) -> None:
    world.settle()
    before = {node: body["spec"] for node, body in world.placements().items()}
    profile = world.cluster.get(MODEL_PROFILES, "default", "digits")
    for costs in profile["spec"]["deviceClasses"]:
        del costs["selection"]
    world.cluster.put(profile)
    measured = dict(world.store.profiles)
    world.store.profiles.clear()
    world.restart()
    world.reconcile()
    assert len(world.jobs()) == 3
    assert world.condition("Profiled")["reason"] == "Profiling"
    assert world.condition("Ready")["status"] == "True"
    assert {node: body["spec"] for node, body in world.placements().items()} == before
    world.store.profiles.update(measured)
    world.reconcile()
    world.restart()
    world.store.profiles.clear()
    world.reconcile()
    assert world.condition("Profiled")["status"] == "True"
    assert {node: body["spec"] for node, body in world.placements().items()} == before
