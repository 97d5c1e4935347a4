"""Each device class is measured once, on one node, by one Job."""

from typing import Any

import pytest

from messages import mentions

World = Any  # tests/operator/conftest.py


@pytest.fixture
def unmeasured(world: World) -> World:
    world.measured = dict(world.store.profiles)
    world.store.profiles.clear()
    return world


def test_a_class_without_a_profile_is_measured_by_one_job_on_one_of_its_nodes(unmeasured: World) -> None:
    for _ in range(3):
        unmeasured.reconcile()
    jobs = {job["metadata"]["labels"]["edge-intelligence.io/device-class"]: job for job in unmeasured.jobs()}
    assert sorted(jobs) == ["camera", "cloud", "gateway"]
    assert len(unmeasured.jobs()) == 3
    pod = jobs["camera"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "cam-1"}
    assert pod["containers"][0]["args"][:3] == ["profile-device", "--model", unmeasured.store.card.digest]
    assert unmeasured.condition("Profiled")["reason"] == "Profiling"
    assert unmeasured.placements() == {}


def test_measurements_are_kept_in_the_model_profile_and_the_service_continues_from_them(
    unmeasured: World,
) -> None:
    unmeasured.reconcile()
    unmeasured.store.profiles.update(unmeasured.measured)
    unmeasured.settle()
    profile = next(b for (kind, *_), b in unmeasured.cluster.objects.items() if kind == "ModelProfile")
    assert [c["name"] for c in profile["spec"]["deviceClasses"]] == ["camera", "cloud", "gateway"]
    camera = profile["spec"]["deviceClasses"][0]
    assert camera["segments"][0] == {
        "from": "image",
        "to": "pool1",
        "mean": "20ms",
        "p95": "20ms",
        "runs": 50,
    }
    assert unmeasured.condition("Profiled")["status"] == "True"
    assert len(unmeasured.placements()) == 3


def test_a_class_whose_nodes_are_all_away_is_said(unmeasured: World) -> None:
    unmeasured.node("gate", "gateway", ready=False)
    unmeasured.reconcile()
    profiled = unmeasured.condition("Profiled")
    assert (profiled["status"], profiled["reason"]) == ("False", "NoNodeToProfile")
    assert "class gateway" in profiled["message"]


def test_two_measurements_never_share_a_node(unmeasured: World) -> None:
    unmeasured.reconcile()
    first = next(j for j in unmeasured.jobs() if "gateway" in j["metadata"]["name"])
    unmeasured.store.card = unmeasured.store.card.model_copy(update={"digest": "sha256:" + "cd" * 32})
    unmeasured.change(model={"storageUri": "store://digits/second.onnx"})
    unmeasured.reconcile()
    nodes = [
        job["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/hostname"] for job in unmeasured.jobs()
    ]
    assert len(nodes) == len(set(nodes))
    assert "gate" in nodes
    assert mentions("waits", "gate").search(unmeasured.condition("Profiled")["message"])
    unmeasured.cluster.put(first | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    unmeasured.reconcile()
    assert sum("gateway" in job["metadata"]["name"] for job in unmeasured.jobs()) == 2
