"""New versions reach a few nodes at a time, and replace a pod in place where two do not fit."""

import dataclasses
import json
from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import DEPLOYMENTS, NODES, PLACEMENTS
from edge_operator.nodes.rollouts import IN_PLACE, SURGE, next_updates
from messages import mentions
from operator_objects import rolled_out

World = Any  # tests/operator/conftest.py
NODE_OF_4_GIB = {
    "allocatable": {"memory": "4194304Ki"},
    "conditions": [{"type": "Ready", "status": "True"}],
}


def ready(world: World, *names: str) -> None:
    """The Deployments have one ready pod, of their newest version."""
    for body in world.cluster.find(DEPLOYMENTS):
        if not names or body["metadata"]["name"] in names:
            world.cluster.put(rolled_out(body))


def surging(world: World, name: str, message: str) -> None:
    """The Deployment has its old pod, and a new one that cannot be scheduled."""
    body = deployment(world, name)
    status = {
        "observedGeneration": body["metadata"]["generation"],
        "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1,
    }  # fmt: skip
    world.cluster.put(body | {"status": status})
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    labels = {"edge-intelligence.io/runtime": name, "app.kubernetes.io/managed-by": "edge-intelligence"}
    pod = {"name": f"{name}-new", "namespace": "default", "labels": labels}
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": pod, "status": {"conditions": [condition]}}
    )


def deployment(world: World, name: str) -> Any:
    return world.cluster.get(DEPLOYMENTS, "default", name)


def images(world: World) -> dict[str, str]:
    return {
        body["metadata"]["name"]: body["spec"]["template"]["spec"]["containers"][0]["image"]
        for body in world.cluster.find(DEPLOYMENTS)
    }


def upgraded(world: World) -> None:
    world.settle()
    ready(world)
    world.settings = dataclasses.replace(world.settings, runtime_image="edge-runtime:new")
    world.reconcile()


def judged(world: World) -> None:
    """The window of a version passes in which few requests come."""
    world.reconcile()
    world.now += 60
    world.reconcile()


def reported(world: World, node: str, requests: int, met: int, failed: int = 0) -> None:
    """The runtime of a node reports what it has counted since the Placement exists."""
    body = next(b for b in world.cluster.find(PLACEMENTS) if b["spec"]["node"] == node)
    route = body["spec"]["routes"][0]
    status = {
        "observedGeneration": body["metadata"]["generation"], "loaded": True, "activeRoute": route["name"],
        "exit": route["exit"], "cut": route["cut"], "since": "2026-03-01T12:00:00Z",
        "requests": requests, "met": met, "failed": failed,
    }  # fmt: skip
    world.cluster.report_status(PLACEMENTS, "default", body["metadata"]["name"], status)


def at_the_first_node(world: World) -> None:
    """The new version serves at cam-1, after a time in which all requests of the former one met the SLO."""
    world.settle()
    ready(world)
    reported(world, "cam-1", 1000, 1000)
    world.settings = dataclasses.replace(world.settings, runtime_image="edge-runtime:new")
    world.reconcile()
    ready(world, "edge-runtime-cam-1")
    world.reconcile()


def test_a_version_with_which_a_service_misses_its_slo_is_returned_from_at_the_first_node(
    world: World,
) -> None:
    at_the_first_node(world)
    for window in (1, 2):
        assert images(world)["edge-runtime-cam-1"] == "edge-runtime:new"
        assert list(images(world).values()).count("edge-runtime:new") == 1
        reported(world, "cam-1", 1000 + 40 * window, 1000)
        world.now += 31
        world.reconcile()
    assert "edge-runtime:new" not in images(world).values()
    world.reconcile()
    found = world.condition(reasons.RUNTIMES_UPDATED)
    assert (found["status"], found["reason"]) == ("False", reasons.RUNTIMES_MISS_SLO)
    assert mentions("cam-1", "digits", "40 of 40 requests").search(found["message"])
    assert ("Warning", reasons.RUNTIMES_MISS_SLO) in {event[:2] for event in world.cluster.events}


def test_a_version_that_was_returned_from_is_not_tried_again_after_a_restart_but_another_one_is(
    world: World,
) -> None:
    at_the_first_node(world)
    reported(world, "cam-1", 1040, 1000, failed=40)
    world.reconcile()
    before = images(world)
    assert "edge-runtime:new" not in before.values()
    ready(world)
    world.reconcile()
    assert world.condition(reasons.RUNTIMES_UPDATED)["reason"] == reasons.RUNTIMES_FAIL
    world.restart()
    world.plan()
    assert world.condition(reasons.RUNTIMES_UPDATED)["reason"] == reasons.RUNTIMES_FAIL
    for _ in range(3):
        judged(world)
    assert images(world) == before
    world.settings = dataclasses.replace(world.settings, runtime_image="edge-runtime:newer")
    for name in sorted(before):
        world.reconcile()
        assert images(world)[name] == "edge-runtime:newer"
        ready(world, name)
        judged(world)
    world.reconcile()
    found = world.condition(reasons.RUNTIMES_UPDATED)
    assert (found["status"], found["reason"]) == ("True", reasons.RUNTIMES_CURRENT)


def test_nodes_that_had_the_version_before_are_returned_one_after_another(world: World) -> None:
    at_the_first_node(world)
    reported(world, "cam-1", 1100, 1100)
    judged(world)
    ready(world, "edge-runtime-cam-2")
    world.reconcile()
    reported(world, "cam-2", 100, 50, failed=50)
    world.reconcile()
    assert images(world)["edge-runtime-cam-2"] != "edge-runtime:new"  # at once
    ready(world, "edge-runtime-cam-2")
    world.reconcile()
    assert "edge-runtime:new" not in images(world).values()


def test_a_version_that_does_not_start_is_not_what_the_next_one_would_return_to(world: World) -> None:
    before = world.settings
    upgraded(world)
    surging(world, "edge-runtime-cam-1", "")
    world.settings = before
    world.reconcile()
    annotations = deployment(world, "edge-runtime-cam-1")["metadata"]["annotations"]
    assert json.loads(annotations["edge-intelligence.io/runtime-version"])["phase"] == "Kept"
    assert "edge-runtime:new" not in annotations["edge-intelligence.io/former-runtime-version"]
    world.settings = dataclasses.replace(before, runtime_image="edge-runtime:newer")
    ready(world)
    world.reconcile()
    annotations = deployment(world, "edge-runtime-cam-1")["metadata"]["annotations"]
    assert json.loads(annotations["edge-intelligence.io/runtime-version"])["phase"] == "Replacing"
    assert before.runtime_image in annotations["edge-intelligence.io/former-runtime-version"]


def test_the_condition_is_unknown_while_a_version_goes_from_node_to_node(world: World) -> None:
    at_the_first_node(world)
    world.reconcile()
    found = world.condition(reasons.RUNTIMES_UPDATED)
    assert (found["status"], found["reason"]) == ("Unknown", reasons.RUNTIMES_ROLLING_OUT)


def test_a_new_version_waits_for_the_pod_of_the_node_before(world: World) -> None:
    upgraded(world)
    done = []
    for name in sorted(images(world)):
        done.append(name)
        assert [each for each, image in images(world).items() if image == "edge-runtime:new"] == done
        world.reconcile()
        assert [each for each, image in images(world).items() if image == "edge-runtime:new"] == done
        ready(world, name)
        judged(world)
    assert done == sorted(images(world))


def test_a_version_that_does_not_start_stops_at_the_first_node(world: World) -> None:
    upgraded(world)
    surging(world, "edge-runtime-cam-1", "")
    for _ in range(3):
        assert world.reconcile_namespace() == 5.0
    assert list(images(world).values()).count("edge-runtime:new") == 1


def test_pods_without_requests_are_changed_at_once(world: World) -> None:
    world.settle()
    ready(world, "edge-runtime-cam-1")
    world.pods_are_ready(at="gate", ready=False)
    world.node("cam-2", "camera", ready=False)
    world.settings = dataclasses.replace(world.settings, runtime_image="edge-runtime:new")
    world.reconcile()
    assert set(images(world).values()) == {"edge-runtime:new"}


def test_a_tenth_of_many_nodes_is_changed_at_a_time() -> None:
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
    body = {"metadata": {"generation": 1}, "spec": {}, "status": status}
    names = [f"n{i:02}" for i in range(30)]
    deployments = dict.fromkeys(names, body)
    assert next_updates(names, deployments, frozenset(names)) == set(names[:3])
    updating = deployments | {names[0]: body | {"status": status | {"replicas": 2}}}
    assert next_updates(names[1:], updating, frozenset(names)) == set(names[1:3])


def test_a_full_node_takes_a_new_version_in_place_and_the_condition_reports_it(world: World) -> None:
    upgraded(world)
    name = "edge-runtime-cam-1"
    assert deployment(world, name)["spec"]["strategy"] == SURGE
    surging(world, name, "0/4 nodes are available: 1 Insufficient memory, 3 node(s) didn't match")
    template = deployment(world, name)["spec"]["template"]
    world.reconcile()
    world.now += 10
    world.reconcile()
    changed = deployment(world, name)
    assert (changed["spec"]["strategy"], changed["spec"]["template"]) == (IN_PLACE, template)
    assert "cam-1 has no room for two pods" in world.condition("Placed")["message"]
    # The old pod is gone, and the new one is not ready yet.
    del world.cluster.objects["Pod", "default", f"{name}-new"]
    gone = {"observedGeneration": changed["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1}
    world.cluster.put(changed | {"status": gone})
    world.reconcile()
    assert deployment(world, name)["spec"]["strategy"] == IN_PLACE
    ready(world, name)
    world.reconcile()
    world.now += 10
    world.reconcile()
    assert deployment(world, name)["spec"]["strategy"] == SURGE
    assert "no room" not in world.condition("Placed")["message"]


@pytest.mark.parametrize(("requested", "strategy"), [("3Gi", IN_PLACE), ("5Gi", SURGE)])
def test_a_pod_that_is_larger_than_its_node_is_not_given_the_place_of_the_one_that_serves(
    world: World, requested: str, strategy: Any
) -> None:
    upgraded(world)
    world.cluster.put(world.cluster.get(NODES, None, "cam-1") | {"status": NODE_OF_4_GIB})
    name = "edge-runtime-cam-1"
    surging(world, name, "0/4 nodes are available: 1 Insufficient memory")
    pod = world.cluster.objects["Pod", "default", f"{name}-new"]
    resources = {"requests": {"memory": requested}}
    world.cluster.put(pod | {"spec": {"containers": [{"name": "runtime", "resources": resources}]}})
    world.reconcile()
    assert deployment(world, name)["spec"]["strategy"] == strategy


def test_a_pod_that_waits_for_something_else_is_not_replaced_in_place(world: World) -> None:
    upgraded(world)
    surging(world, "edge-runtime-cam-1", "0/4 nodes are available: 4 node(s) had untolerated taint")
    world.reconcile()
    assert deployment(world, "edge-runtime-cam-1")["spec"]["strategy"] == SURGE
