"""Node groups with execution providers: their pods, their measurements, and a provider that is missing."""

from typing import Any

from messages import mentions

World = Any  # tests/operator/conftest.py

IMAGE = "registry.test/edge-runtime-openvino:1"
VARIABLE = {"name": "EDGE_EXECUTION_PROVIDERS", "value": "OpenVINO,CPU"}


def accelerate(world: World) -> None:
    pool = world.pool()
    pool["spec"]["nodes"][1] |= {"executionProviders": ["OpenVINO", "CPU"], "image": IMAGE}
    world.cluster.put(pool)


def containers(bodies: Any, node: str) -> list[Any]:
    key = "edge-intelligence.io/node"
    return [
        body["spec"]["template"]["spec"]["containers"][0]
        for body in bodies
        if body["metadata"]["labels"].get(key) == node
    ]


def test_a_class_is_measured_again_by_the_image_and_the_providers_of_its_group(world: World) -> None:
    world.settle()
    world.store.profiles.clear()
    accelerate(world)
    world.reconcile()
    (measuring,) = containers(world.jobs(), "cam-1")
    assert (measuring["image"], measuring["env"]) == (IMAGE, [VARIABLE])


def test_runtimes_of_a_group_have_its_image_and_providers_and_others_have_not(world: World) -> None:
    accelerate(world)
    world.settle()
    deployments = [b for (kind, *_), b in world.cluster.objects.items() if kind == "Deployment"]
    by_image = {
        body["metadata"]["name"]: body["spec"]["template"]["spec"]["containers"][0] for body in deployments
    }
    camera, gate = by_image["edge-runtime-cam-1"], by_image["edge-runtime-gate"]
    assert camera["image"] == IMAGE
    assert VARIABLE in camera["env"]
    assert gate["image"] != IMAGE
    assert "env" not in gate


def test_planned_says_which_class_runs_without_the_provider_that_it_prefers(world: World) -> None:
    accelerate(world)
    world.settle()
    message = world.condition("Planned")["message"]
    assert mentions("camera", "CPU", "OpenVINO").search(message)
    profile = world.store.profiles["camera"]
    world.store.profiles["camera"] = profile.model_copy(update={"execution_provider": "OpenVINO"})
    world.cluster.objects = {
        key: body for key, body in world.cluster.objects.items() if key[0] != "ModelProfile"
    }
    world.change(priority=1)
    world.settle()
    assert "OpenVINO" not in world.condition("Planned")["message"]
