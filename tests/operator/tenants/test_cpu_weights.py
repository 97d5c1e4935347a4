"""The processors of a node are divided between runtimes by the entitlements of their tenants."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from edge_operator.cluster import DEPLOYMENTS, PLACEMENTS, TENANTS, Object
from edge_operator.nodes.cpu_requests import weighted
from edge_operator.nodes.runtimes import Runtime
from edge_operator.pool.cpu_weights import runtime_weights
from messages import mentions

World = Any  # tests/operator/conftest.py
SHOP, LAB = Runtime("default", "cam-1"), Runtime("lab-1", "cam-1")
WEIGHT = "edge-intelligence.io/cpu-weight"
OWNERS = {"default": "shop", "lab-1": "lab", "lab-2": "lab"}.__getitem__


def cpu(world: World, node: str = "cam-1") -> str:
    """What the running pod of a node requests."""
    pod = world.cluster.objects["Pod", "default", f"edge-runtime-{node}-x"]
    return str(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"])


def started_with(world: World) -> set[str]:
    """What the pods of Deployments request when they start."""
    found = world.cluster.find(DEPLOYMENTS, "default")
    containers = [body["spec"]["template"]["spec"]["containers"][0] for body in found]
    return {str(each["resources"]["requests"]["cpu"]) for each in containers}


def noted(world: World) -> set[str | None]:
    """The weights in the Placements of the first namespace."""
    return {body["metadata"]["annotations"].get(WEIGHT) for body in world.placements().values()}


@pytest.fixture
def running(world: World) -> World:
    """Two namespaces at the same nodes, with running pods, before there are Tenants."""
    world.add_namespace()
    world.settle()
    world.start_pods()
    world.reconcile()
    return world


def weigh(world: World, weight: int = 3) -> None:
    """The first namespace becomes a tenant of some weight; the other one belongs to the default tenant."""
    world.label_namespace()
    world.put_tenant(fairSharing={"weight": weight})
    world.reconcile()


def weights(counts: Mapping[Runtime, float], nominal: Mapping[str, float]) -> dict[Runtime, float]:
    return runtime_weights(counts, nominal, OWNERS)


def idle(*runtimes: Runtime) -> dict[Runtime, float]:
    """Runtimes for which the plan counts nothing."""
    return dict.fromkeys(runtimes, 0.0)


def test_tenants_divide_a_node_by_their_entitlements_whatever_the_plan_counts_for_them() -> None:
    for counts in (idle(SHOP, LAB), {SHOP: 0.1, LAB: 0.7}):
        found = weights(counts, {"shop": 0.6, "lab": 0.2, "absent": 0.2})
        assert found == pytest.approx({SHOP: 1.5, LAB: 0.5})


def test_namespaces_of_a_tenant_share_its_part_however_many_runtimes_they_have() -> None:
    other, alone = Runtime("lab-2", "cam-1"), Runtime("lab-1", "cam-1", "digits")
    found = weights(idle(SHOP, LAB, other, alone), {"shop": 0.5, "lab": 0.5})
    assert found == pytest.approx({SHOP: 2.0, LAB: 0.5, other: 1.0, alone: 0.5})


def test_each_node_is_divided_between_those_that_are_there() -> None:
    elsewhere = Runtime("default", "cam-2")
    found = weights(idle(SHOP, LAB, elsewhere), {"shop": 0.6, "lab": 0.2})
    assert found[elsewhere] == pytest.approx(1.0)


def test_tenants_that_are_entitled_to_nothing_have_the_same_weight_among_themselves() -> None:
    assert weights(idle(SHOP, LAB), {}) == {SHOP: 1.0, LAB: 1.0}
    assert weights(idle(SHOP, LAB), {"lab": 0.8}) == pytest.approx({SHOP: 0.0, LAB: 2.0})


@pytest.mark.parametrize(
    ("resources", "weight", "expected"),
    [
        ({"requests": {"cpu": "50m"}}, 1.5, "75m"),
        ({"requests": {"cpu": 1}}, 0.333, "333m"),
        ({"requests": {"cpu": "50m"}}, 0.0, "1m"),
        ({"requests": {"cpu": "50m"}, "limits": {"cpu": "60m"}}, 1.5, "59m"),
        ({"requests": {"cpu": "50m"}, "limits": {"cpu": "50m"}}, 0.5, "50m"),
        ({"requests": {"memory": "1Gi"}}, 1.5, None),
        ({}, 1.5, None),
    ],
)
def test_a_request_is_multiplied_within_its_limit(
    resources: Object, weight: float, expected: str | None
) -> None:
    found = weighted(resources, weight)
    assert (found.get("requests") or {}).get("cpu") == expected
    assert found.get("limits") == resources.get("limits")


@pytest.mark.parametrize("parts", [(1, 2, 4), (1, 1, 1), (2, 3, 5), (1, 2, 6)])
def test_the_kernels_shares_are_within_three_percent_of_the_weights(parts: tuple[int, ...]) -> None:
    weights = [float(f"{len(parts) * part / sum(parts):.3g}") for part in parts]
    requests = [weighted({"requests": {"cpu": "50m"}}, weight)["requests"]["cpu"] for weight in weights]
    shares = [int(request.removesuffix("m")) * 1024 // 1000 for request in requests]

    for share, part in zip(shares, parts, strict=True):
        assert share / sum(shares) == pytest.approx(part / sum(parts), rel=0.03)


def test_without_tenants_and_rates_no_pod_is_resized(running: World) -> None:
    running.cluster.objects["Pod", "default", "edge-runtime-cam-1-x"]["spec"]["containers"][0]["resources"][
        "requests"
    ]["cpu"] = "10m"  # by another client
    running.reconcile()
    assert cpu(running) == "10m"
    assert noted(running) == {None}


def test_running_pods_request_by_the_weights_without_a_start(running: World) -> None:
    before = [line for line in running.log if line.startswith("apply Deployment")]
    weigh(running)
    assert noted(running) == {"1.5"}
    assert cpu(running) == "75m"
    assert [line for line in running.log if line.startswith("apply Deployment")] == before
    resized = [line for line in running.log if line.startswith("resize")]
    running.reconcile()
    assert [line for line in running.log if line.startswith("resize")] == resized


def test_a_restarted_operator_resizes_nothing(running: World) -> None:
    weigh(running)
    before = [line for line in running.log if line.startswith(("resize", "apply"))]
    running.restart()
    running.reconcile()
    assert [line for line in running.log if line.startswith(("resize", "apply"))] == before


def test_the_weights_follow_who_is_at_a_node(running: World) -> None:
    weigh(running)
    for body in running.cluster.find(PLACEMENTS, "lab-1"):
        if body["spec"]["node"] == "cam-1":
            running.add_namespace(entryNodes={"nodeSelector": {"kubernetes.io/hostname": "cam-2"}})
            running.cluster.delete(PLACEMENTS, "lab-1", body["metadata"]["name"])
    running.reconcile()
    assert cpu(running, "cam-1") == "50m"
    assert cpu(running, "cam-2") == "75m"


def test_pods_request_the_same_again_once_there_is_no_tenant(running: World) -> None:
    weigh(running)
    running.cluster.delete(TENANTS, None, "shop")
    running.reconcile()
    assert cpu(running) == "50m"
    assert noted(running) == {"1"}


def test_a_cluster_that_cannot_resize_pods_is_tried_once_and_starts_later_pods_by_the_weights(
    running: World,
) -> None:
    running.cluster.resizes = False
    weigh(running)
    assert running.reconcile_namespace() is None
    running.now += 10
    running.reconcile()
    assert cpu(running) == "50m"
    assert started_with(running) == {"50m"}
    assert running.cluster.tried == 3
    assert mentions("edge-runtime-cam-1-x", "75m", "roll-out", "2 other").search(
        running.condition("Placed")["message"]
    )
    running.settings = dataclasses.replace(running.settings, runtime_image="edge-runtime:new")
    for _ in range(9):
        running.now += 20
        running.reconcile()
        running.start_pods()
    assert started_with(running) == {"75m"}
    assert cpu(running) == "75m"
    assert "75m" not in running.condition("Placed")["message"]


def test_a_request_that_a_quota_refuses_is_reported_and_tried_again(running: World) -> None:
    running.cluster.refusal = "exceeded quota: cpu"
    weigh(running)
    assert running.reconcile_namespace() == 30.0
    running.now += 10
    running.reconcile()
    assert mentions("75m", "exceeded quota: cpu").search(running.condition("Placed")["message"])
    running.cluster.refusal = ""
    running.reconcile_namespace()
    assert cpu(running) == "75m"
    running.now += 10
    running.reconcile()
    assert "quota" not in running.condition("Placed")["message"]


def test_a_runtime_that_is_new_starts_by_its_weight(world: World) -> None:
    world.add_namespace()
    world.label_namespace()
    world.put_tenant(fairSharing={"weight": 3})
    world.settle()
    assert started_with(world) == {"75m"}


def test_a_pod_that_is_being_replaced_is_not_resized(running: World) -> None:
    for body in running.cluster.find(DEPLOYMENTS, "default"):
        status = body["status"] | {"replicas": 2, "updatedReplicas": 1}
        running.cluster.put(body | {"status": status})
    weigh(running)
    assert cpu(running) == "50m"
    running.start_pods()
    running.reconcile()
    assert cpu(running) == "75m"


def test_a_tenant_of_weight_zero_keeps_the_smallest_request(running: World) -> None:
    weigh(running, 0)
    assert cpu(running) == "1m"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Deferred", ("edge-runtime-cam-1-x", "no room")),
        ("Infeasible", ("edge-runtime-cam-1-x", "Infeasible", "capacity: 40")),
    ],
)
def test_a_request_that_a_kubelet_does_not_grant_is_reported_until_it_does(
    running: World, reason: str, told: tuple[str, ...]
) -> None:
    weigh(running)
    pod = running.cluster.objects["Pod", "default", "edge-runtime-cam-1-x"]
    kept = pod["status"]
    waits = {"type": "PodResizePending", "status": "True", "reason": reason, "message": "capacity: 40"}
    pod["status"] = kept | {"conditions": [waits]}
    assert running.reconcile_namespace() == 30.0
    running.now += 10
    running.reconcile()
    assert mentions(*told).search(running.condition("Placed")["message"])
    pod["status"] = kept
    assert running.reconcile_namespace() is None
    running.now += 10
    running.reconcile()
    assert told[0] not in running.condition("Placed")["message"]
