"""What the API server refuses becomes a condition with object, cause and fix until it is accepted."""

from collections.abc import Callable
from typing import Any

import pytest

from edge_api import reasons
from edge_api.names import runtime_service_name
from edge_operator.cluster import DEPLOYMENTS, DEVICE_POOLS, INFERENCE_SERVICES, Kind, Object
from edge_operator.errors import ObjectRefusedError
from messages import mentions
from operator_objects import KEY

World = Any  # tests/operator/conftest.py
QUOTA = "exceeded quota: tight, requested: count/x=1: raise the ResourceQuota that it names"


@pytest.fixture
def refuse(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Returns a function that makes the API server refuse a kind of object; an empty one is none."""
    refused: list[str] = [""]
    apply = world.cluster.apply

    def guarded(wanted: Object, seen: Object | None) -> Object:
        if wanted["kind"] == refused[0]:
            raise ObjectRefusedError(
                f"applying {wanted['kind']} {wanted['metadata']['name']} failed: {QUOTA}"
            )
        return dict(apply(wanted, seen))

    monkeypatch.setattr(world.cluster, "apply", guarded)
    return lambda kind: refused.__setitem__(0, kind)


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("ModelProfile", "Profiled"),
        ("Deployment", "Placed"),
        ("Service", "Placed"),
        ("ServiceAccount", "Placed"),
        ("Placement", "Placed"),
    ],
)
def test_a_refused_object_blocks_its_step_until_it_is_accepted(
    world: World, refuse: Callable[[str], None], kind: str, step: str
) -> None:
    refuse(kind)
    world.reconcile()
    world.now += 10
    world.reconcile()  # the namespace's report wakes the service
    for name in (step, "Ready"):
        found = world.condition(name)
        assert (found["status"], found["reason"]) == ("False", reasons.OBJECT_REFUSED)
        assert mentions(kind, "exceeded quota: tight", "raise the ResourceQuota").search(found["message"])
    assert world.planned().blocked.reason == reasons.OBJECT_REFUSED
    refuse("")
    world.settle()
    assert world.condition(step)["status"] == "True"
    assert world.condition("Ready")["status"] == "True"
    assert world.planned().blocked is None


def test_a_refused_profiling_job_is_reported_and_started_once_it_is_accepted(
    world: World, refuse: Callable[[str], None]
) -> None:
    world.store.profiles.clear()
    refuse("Job")
    world.reconcile()
    found = world.condition("Profiled")
    assert (found["status"], found["reason"]) == ("False", reasons.OBJECT_REFUSED)
    assert mentions("Job profile-camera-", "exceeded quota").search(found["message"])
    refuse("")
    world.reconcile()
    assert len(world.jobs()) == 3


def test_routes_keep_serving_while_a_new_table_is_refused(
    world: World, refuse: Callable[[str], None]
) -> None:
    world.settle()
    before = {node: body["spec"] for node, body in world.placements().items()}
    refuse("Placement")
    world.change(slo={"latency": "40ms", "percentile": 95, "objective": 0.95})
    world.reconcile()
    assert world.condition("Placed")["reason"] == reasons.OBJECT_REFUSED
    assert "the previous routes keep serving" in world.condition("Ready")["message"]
    assert {node: body["spec"] for node, body in world.placements().items()} == before


def test_a_refused_finalizer_is_reported_before_anything_is_created(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(kind: Kind, current: Object, finalizers: list[str]) -> Object:
        raise ObjectRefusedError("setting the finalizers failed: admission webhook denied the request")

    monkeypatch.setattr(world.cluster, "set_finalizers", refused)
    world.reconcile()
    found = world.condition("ModelReady")
    assert (found["status"], found["reason"]) == ("False", reasons.OBJECT_REFUSED)
    assert "webhook" in found["message"]
    assert world.placements() == {}


@pytest.mark.parametrize("kind", [INFERENCE_SERVICES, DEVICE_POOLS], ids=lambda kind: kind.kind)
def test_a_refused_status_is_recorded_as_an_event_and_retried(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    def refused(refused_kind: Kind, seen: Object, status: Object) -> Object:
        name = seen["metadata"]["name"]
        raise ObjectRefusedError(f"writing the status of {name} failed: request is too large")

    monkeypatch.setattr(world.cluster, "apply_status", refused)

    name = {INFERENCE_SERVICES: "digits", DEVICE_POOLS: "factory"}[kind]
    for _ in range(2):
        world.reconcile()
    events = [event for event in world.cluster.events if event[1] == reasons.OBJECT_REFUSED]
    assert [message for *_, message in events if name in message] == [
        f"writing the status of {name} failed: request is too large"
    ]
    monkeypatch.undo()
    world.reconcile()
    assert world.cluster.get(kind, KEY.namespace if kind.namespaced else None, name)["status"]


def test_pods_that_a_quota_refuses_are_reported_for_their_entry_node(world: World) -> None:
    world.reconcile()
    for body in world.cluster.find(DEPLOYMENTS, "default"):
        if body["metadata"]["labels"]["edge-intelligence.io/node"] != "cam-1":
            continue
        said = 'pods "digits-cam-1-5d4f-x7k2p" is forbidden: exceeded quota: tight, requested: pods=1'
        failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}
        world.cluster.put(body | {"status": {"conditions": [failed]}})
    world.now += 10
    world.reconcile()
    ready = world.condition("Ready")
    assert ready["status"] == "False"
    assert mentions("cam-1", "Deployment default/", "exceeded quota: tight", "raise").search(ready["message"])
    assert "x7k2p" not in ready["message"]


def test_a_model_profile_that_cannot_be_planned_with_is_rebuilt(world: World) -> None:
    """It was edited, or another version wrote it; the model store has what it lacks."""
    world.settle()
    profile = next(b for (kind, *_), b in world.cluster.objects.items() if kind == "ModelProfile")
    camera = profile["spec"]["deviceClasses"][0]
    camera["segments"] = camera["segments"][1:]
    world.cluster.put(profile)
    world.restart()
    world.reconcile()
    assert world.condition("Planned")["status"] == "True"
    mended = next(b for (kind, *_), b in world.cluster.objects.items() if kind == "ModelProfile")
    assert mended["spec"]["deviceClasses"][0]["segments"][0]["from"] == "image"


def test_a_refused_deletion_holds_up_no_other_and_hides_no_refusal(
    world: World, refuse: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    delete = world.cluster.delete
    left = runtime_service_name("cam-1")

    def guarded(kind: Kind, namespace: str | None, name: str, seen: Object | None = None) -> None:
        if kind == DEPLOYMENTS and name == left:
            raise ObjectRefusedError(f"deleting Deployment {name} failed: denied the request")
        delete(kind, namespace, name, seen)

    monkeypatch.setattr(world.cluster, "delete", guarded)
    world.remove_node("cam-1")
    world.remove_node("cam-2")
    world.node("cam-3", "camera")
    refuse("Deployment")
    world.reconcile()
    world.now += 10
    world.reconcile()
    assert sorted(world.deployments()) == sorted([left, runtime_service_name("gate")])
    assert world.condition("Placed")["reason"] == reasons.OBJECT_REFUSED
    refuse("")
    monkeypatch.setattr(world.cluster, "delete", delete)
    world.settle()
    assert left not in world.deployments()
