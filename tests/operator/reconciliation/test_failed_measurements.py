"""A failed measurement is retried with backoff, at other nodes if there are any; its cause is reported."""

import datetime
from typing import Any

import pytest

from edge_operator.cluster import JOBS
from edge_operator.pool import attempts
from messages import mentions

World = Any  # tests/operator/conftest.py
ATTEMPT = "edge-intelligence.io/attempt"


@pytest.fixture
def measuring(world: World) -> World:
    """The first attempt to measure the camera runs on cam-1; the other classes are measured."""
    world.measured = world.store.profiles.pop("camera")
    world.reconcile()
    assert where(world) == ("cam-1", "1")
    return world


def job(world: World) -> Any:
    (found,) = world.jobs()
    return found


def where(world: World) -> tuple[str, str]:
    """The node and the number of the attempt."""
    meta = job(world)["metadata"]
    return meta["labels"]["edge-intelligence.io/node"], meta["annotations"][ATTEMPT]


def pod(world: World, **status: Any) -> None:
    name = job(world)["metadata"]["name"]
    meta = {"name": f"{name}-x", "namespace": "edge-intelligence", "labels": {"job-name": name}}
    world.cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status})


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "profiler", "state": state}]}


def fail(world: World, **condition: str) -> None:
    """The attempt fails now."""
    now = world.clock().wall().isoformat()
    failed = {"type": "Failed", "status": "True", "lastTransitionTime": now} | condition
    world.cluster.put(job(world) | {"status": {"conditions": [failed]}})
    world.reconcile()


def test_a_failed_measurement_has_the_model_registered_again_which_the_store_may_have_lost(
    measuring: World,
) -> None:
    measuring.store.registered.clear()
    fail(measuring)
    assert {source.storage_uri for source in measuring.store.registered} == {"store://digits/digits.onnx"}
    measuring.store.registered.clear()
    measuring.reconcile()
    assert measuring.store.registered == []


def profiled(world: World) -> tuple[str, str, str]:
    found = world.condition("Profiled")
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("status", "condition", "said"),
    [
        (
            container(
                terminated={"exitCode": 1, "message": "starting\nUnreachable: model store http://store\n"}
            ),
            {},
            ["Unreachable: model store http://store"],
        ),
        (
            container(terminated={"exitCode": 137, "reason": "OOMKilled"}),
            {},
            ["OOMKilled", "512Mi", "runtime.resources.limits.memory"],
        ),
        (container(terminated={"exitCode": 3, "reason": "Error"}), {}, ["exit code 3"]),
        ({"reason": "Evicted", "message": "The node was low on memory."}, {}, ["Evicted", "low on memory"]),
        ({}, {"reason": "DeadlineExceeded", "message": "Job was active too long"}, ["DeadlineExceeded"]),
    ],
    ids=["error", "memory", "exit code", "evicted", "deadline"],
)
def test_the_condition_has_the_cause_the_attempt_and_the_time_of_the_next(
    measuring: World, status: Any, condition: dict[str, str], said: list[str]
) -> None:
    measuring.settings = measuring.settings_with(runtime_resources={"limits": {"memory": "512Mi"}})
    measuring.cluster.delete(JOBS, "edge-intelligence", job(measuring)["metadata"]["name"])
    measuring.reconcile()
    pod(measuring, **status)
    fail(measuring, **condition)
    state, reason, message = profiled(measuring)
    assert (state, reason) == ("False", "ProfilingFailed")
    due = attempts.retry_at(job(measuring))
    assert due is not None
    assert mentions("class camera on cam-1", "attempt 1", f"{due:%H:%M:%S} UTC", *said).search(message)


def test_attempts_follow_each_other_at_other_nodes_after_delays_that_grow_up_to_half_an_hour(
    measuring: World,
) -> None:
    delays, nodes = [], []
    for number in range(1, 12):
        nodes.append(where(measuring))
        fail(measuring)
        due = attempts.retry_at(job(measuring))
        assert due is not None
        delays.append((due - measuring.clock().wall()).total_seconds())
        measuring.now += delays[-1] - 1
        measuring.reconcile()
        assert where(measuring)[1] == str(number)
        measuring.now += 1
        measuring.reconcile()
    assert nodes[:4] == [("cam-1", "1"), ("cam-2", "2"), ("cam-1", "3"), ("cam-2", "4")]
    expected = [min(1800.0, 15.0 * 2**n) for n in range(11)]
    for delay, middle in zip(delays, expected, strict=True):
        assert 0.75 * middle - 1 <= delay <= 1.25 * middle + 1


def test_an_attempt_after_a_failure_keeps_its_reason_until_the_class_is_measured(measuring: World) -> None:
    pod(measuring, **container(terminated={"exitCode": 1, "message": "BadTensor: x"}))
    fail(measuring)
    measuring.now += 60
    measuring.reconcile()
    assert where(measuring) == ("cam-2", "2")
    state, reason, message = profiled(measuring)
    assert (state, reason) == ("False", "ProfilingFailed")
    assert mentions("cam-2", "attempt 2", "cam-1: BadTensor: x").search(message)
    measuring.store.profiles["camera"] = measuring.measured
    measuring.settle()
    assert measuring.condition("Profiled")["status"] == "True"


def test_a_restart_of_the_operator_continues_the_backoff(measuring: World) -> None:
    fail(measuring)
    measuring.restart()
    measuring.now += 5
    measuring.reconcile()
    assert where(measuring) == ("cam-1", "1")


def test_a_new_node_a_new_image_and_more_memory_retry_at_once(measuring: World) -> None:
    fail(measuring)
    measuring.node("cam-0", "camera")
    measuring.reconcile()
    assert where(measuring) == ("cam-2", "1")
    fail(measuring)
    measuring.settings = measuring.settings_with(runtime_image="edge-runtime:mended")
    measuring.reconcile()
    assert where(measuring) == ("cam-0", "1")
    fail(measuring)
    measuring.settings = measuring.settings_with(runtime_resources={"limits": {"memory": "1Gi"}})
    measuring.reconcile()
    assert where(measuring) == ("cam-1", "1")


def test_a_deleted_job_is_replaced_at_once(measuring: World) -> None:
    fail(measuring)
    assert measuring.planned().awaits_measurement
    measuring.cluster.delete(JOBS, "edge-intelligence", job(measuring)["metadata"]["name"])
    measuring.reconcile()
    assert where(measuring) == ("cam-1", "1")


def test_a_measurement_continues_at_another_node_when_its_own_is_away(measuring: World) -> None:
    measuring.node("cam-1", "camera", ready=False)
    measuring.reconcile()
    assert where(measuring) == ("cam-2", "2")
    assert "cam-1" in profiled(measuring)[2]
    measuring.node("cam-2", "camera", ready=False)
    measuring.reconcile()
    assert profiled(measuring)[:2] == ("False", "NoNodeToProfile")


def test_an_image_that_cannot_be_pulled_is_reported_while_the_kubelet_retries(measuring: World) -> None:
    pod(measuring, **container(waiting={"reason": "ErrImagePull", "message": "no such tag"}))
    measuring.reconcile()
    assert profiled(measuring)[:2] == ("False", "ProfilingFailed")
    assert mentions("ErrImagePull", "no such tag", "image").search(profiled(measuring)[2])


def test_a_job_whose_pods_are_refused_is_reported(measuring: World) -> None:
    body = job(measuring)
    created = measuring.clock().wall() - datetime.timedelta(seconds=31)
    body["metadata"]["creationTimestamp"] = created.isoformat()
    measuring.cluster.put(body)
    measuring.reconcile()
    assert profiled(measuring)[:2] == ("False", "ProfilingFailed")
    assert mentions("Job edge-intelligence/profile-camera-", "no pod", "quota").search(profiled(measuring)[2])
