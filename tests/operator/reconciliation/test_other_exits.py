"""Services with different exits of one model share measurements; missing ones are measured."""

import json
from typing import Any

import pytest

from edge_operator.store_answers import DeviceProfile, ModelCard

World = Any  # tests/operator/conftest.py
EXITS, ATTEMPT = "edge-intelligence.io/exits", "edge-intelligence.io/attempt"
ASKED = json.dumps(["exit2_logits", "logits"])


def with_another_exit(card: ModelCard, name: str = "exit2") -> ModelCard:
    """Metadata for a service with an exit that no other service has named."""
    final = card.exits[-1]
    other = final.model_copy(
        update={"name": name, "outputs": ("exit2_logits",), "accuracy": 0.9, "cuts": final.cuts[:2]}
    )
    return card.model_copy(update={"exits": (other, final)})


def measured(profile: DeviceProfile, *exits: tuple[str, str, float]) -> DeviceProfile:
    """A profile as the Job of a second service stores it: with all services' exits."""
    document = profile.model_dump(by_alias=True)
    document["segments"] = [
        *document["segments"],
        {"from": "pool1", "to": "exit2_logits", "meanSeconds": 0.02, "p95Seconds": 0.02, "runs": 9},
    ]
    outputs = {"exit1": "exit1_logits", "final": "logits"}
    document["exits"] = [
        *({**e, "output": outputs[e["exit"]]} for e in document["exits"]),
        *({"exit": n, "output": o, "meanSeconds": s, "p95Seconds": s, "runs": 9} for n, o, s in exits),
    ]
    return DeviceProfile.model_validate(document)


@pytest.fixture
def second(world: World) -> World:
    """The world's service names another exit of the model than the measured ones."""
    world.store.card = with_another_exit(world.store.card)
    return world


def finish(world: World, *exits: tuple[str, str, float]) -> None:
    for name, profile in list(world.store.profiles.items()):
        world.store.profiles[name] = measured(profile, *exits)
    for job in world.jobs():
        end(world, job, "Complete")


def end(world: World, job: dict[str, Any], outcome: str) -> None:
    """A Job ends now."""
    now = world.clock().wall().isoformat()
    condition = {"type": outcome, "status": "True", "lastTransitionTime": now}
    world.cluster.put(job | {"status": {"conditions": [condition]}})


def fail(world: World) -> None:
    for job in world.jobs():
        if not job.get("status"):
            end(world, job, "Failed")


def test_exits_that_were_not_measured_are_measured_and_the_service_is_served(second: World) -> None:
    second.reconcile()
    assert second.condition("Profiled")["reason"] == "Profiling"
    assert len(second.jobs()) == 3
    finish(second, ("exit2", "exit2_logits", 0.04))
    second.settle()
    assert second.condition("Profiled")["status"] == "True"
    assert second.condition("Planned")["status"] == "True"
    assert {r["exit"] for p in second.placements().values() for r in p["spec"]["routes"]} <= {
        "exit2",
        "final",
    }


def test_a_job_that_ended_for_another_service_is_run_again_for_this_one(second: World) -> None:
    second.reconcile()
    for job in second.jobs():
        job["metadata"]["annotations"] = {"edge-intelligence.io/exits": "of another service"}
        end(second, job, "Complete")
    second.reconcile()
    assert all(job["metadata"]["annotations"][EXITS] == ASKED for job in second.jobs())
    assert len(second.jobs()) == 3
    finish(second, ("exit2", "exit2_logits", 0.04))
    second.settle()
    assert second.condition("Planned")["status"] == "True"


def test_a_job_that_leaves_out_what_it_was_made_for_is_not_run_forever(second: World) -> None:
    second.reconcile()
    for job in second.jobs():
        end(second, job, "Complete")
    second.reconcile()
    profiled = second.condition("Profiled")
    assert (profiled["status"], profiled["reason"]) == ("False", "ProfileIncomplete")
    assert "delete Job edge-intelligence/profile-camera-" in profiled["message"]
    assert {job["metadata"]["annotations"][ATTEMPT] for job in second.jobs()} == {"1"}
    second.now += 10
    second.reconcile()
    assert {job["metadata"]["annotations"][ATTEMPT] for job in second.jobs()} == {"1"}


def test_services_with_different_exits_do_not_repeat_each_others_failed_measurements(world: World) -> None:
    """Each of them names an exit that the other does not: a Job measures the exits of both."""
    world.store.profiles.clear()
    cards = (world.store.card, with_another_exit(world.store.card))
    for turn in range(6):
        world.store.card = cards[turn % 2]
        world.change(model={"storageUri": f"store://digits/{turn}.onnx"})
        world.reconcile()
        fail(world)
    attempts = {job["metadata"]["annotations"][ATTEMPT] for job in world.jobs()}
    exits = [json.loads(job["metadata"]["annotations"][EXITS]) for job in world.jobs()]
    assert attempts == {"1"}
    assert exits == [["exit1_logits", "exit2_logits", "logits"]] * 3
    assert sum(line.startswith("apply Job") for line in world.log) == 6


def test_the_active_routes_keep_serving_while_added_exits_are_measured(world: World) -> None:
    world.settle()
    before = world.placements()
    world.store.card = with_another_exit(world.store.card)
    world.change(
        model={
            "storageUri": "store://digits/digits.onnx",
            "exits": [{"name": "final", "output": "logits", "accuracy": 0.98}],
        }
    )
    world.reconcile()
    assert world.condition("Profiled")["reason"] == "Profiling"
    assert {n: p["spec"] for n, p in world.placements().items()} == {n: p["spec"] for n, p in before.items()}


def test_exits_of_one_name_at_different_outputs_are_distinguished(world: World) -> None:
    """Another service uses a different name for `final`: an exit is identified by its output."""
    slow = ("final", "exit2_logits", 9.0)
    for name, profile in list(world.store.profiles.items()):
        found = measured(profile, slow)
        world.store.profiles[name] = found.model_copy(update={"exits": found.exits[::-1]})
    world.settle()
    profile = next(b for (kind, *_), b in world.cluster.objects.items() if kind == "ModelProfile")
    camera = next(c for c in profile["spec"]["deviceClasses"] if c["name"] == "camera")
    assert [(e["exit"], e["mean"]) for e in camera["exits"]] == [("exit1", "30ms"), ("final", "120ms")]


def test_a_profile_with_invalid_times_is_measured_again(world: World) -> None:
    camera = world.store.profiles["camera"]
    broken = camera.segments[0].model_copy(update={"mean_seconds": float("nan")})
    world.store.profiles["camera"] = camera.model_copy(update={"segments": (broken, *camera.segments[1:])})
    world.reconcile()
    assert [j["metadata"]["labels"]["edge-intelligence.io/device-class"] for j in world.jobs()] == ["camera"]
