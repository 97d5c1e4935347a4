"""Pods of earlier versions, one for each service and node, give way while clients are served."""

from typing import Any

import pytest

from edge_operator.cluster import (
    DEPLOYMENTS,
    KINDS,
    MODEL_PROFILES,
    PLACEMENTS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from edge_operator.errors import StoreError
from edge_operator.names import MANAGED_BY
from operator_objects import rolled_out

World = Any  # tests/operator/conftest.py
NODES = ("cam-1", "cam-2", "gate")
EARLIER = {"edge-intelligence.io/service": "digits", **MANAGED_BY}


def put_earlier(world: World, *, nodes: tuple[str, ...] = NODES) -> None:
    """The objects of the version before, serving."""
    world.settle()
    tables = world.placements()
    keep = ("InferenceService", "ModelProfile", "DevicePool", "Node", "Namespace")
    world.cluster.objects = {k: v for k, v in world.cluster.objects.items() if k[0] in keep}
    put(world, "Service", "digits", EARLIER, {"selector": EARLIER, "internalTrafficPolicy": "Local"})
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        put(world, kind, "digits-runtime", EARLIER)
    for node in nodes:
        labels = EARLIER | {"edge-intelligence.io/node": node}
        put(world, "Deployment", f"digits-{node}", labels, {"selector": {"matchLabels": labels}})
        deployment = world.cluster.get(DEPLOYMENTS, "default", f"digits-{node}")
        world.cluster.put(deployment | {"status": {"readyReplicas": 1}})
        put(world, "Service", f"digits-{node}", labels, {"selector": labels})
        meta = {"name": f"digits-{node}", "namespace": "default", "labels": labels}
        spec = {key: value for key, value in tables[node]["spec"].items() if key != "isolation"}
        old = world.cluster.put(tables[node] | {"metadata": meta, "spec": spec, "status": {}})
        report(world, old)
    world.restart()
    del world.log[:]


def put(world: World, kind: str, name: str, labels: Any, spec: Any = None) -> None:
    body = {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", "labels": dict(labels)},
    }
    world.cluster.put(body | ({"spec": spec} if spec is not None else {}))


def report(world: World, placement: Any) -> None:
    """The runtime has loaded the table."""
    status = {
        "observedGeneration": placement["metadata"]["generation"],
        "loaded": True,
        "activeRoute": placement["spec"]["routes"][0]["name"],
        "lastUpdated": world.clock().wall().isoformat(),
    }
    world.cluster.report_status(PLACEMENTS, "default", placement["metadata"]["name"], status)


def serve(world: World, *nodes: str) -> None:
    """The new runtimes at the nodes are ready and have loaded their tables."""
    for node in nodes:
        report(world, world.cluster.get(PLACEMENTS, "default", f"digits.{node}"))
        body = world.cluster.get(DEPLOYMENTS, "default", f"edge-runtime-{node}")
        world.cluster.put(rolled_out(body))


def pass_time(world: World) -> None:
    """Long enough for a move, and for what follows it; runtimes that have loaded their table report."""
    for _ in range(7):
        world.now += 6
        for body in world.cluster.find(PLACEMENTS, "default"):
            if body.get("status"):
                report(world, body)
        world.reconcile()


def selector(world: World) -> Any:
    return world.cluster.get(SERVICES, "default", "digits")["spec"]["selector"]


def earlier(world: World) -> set[tuple[str, str]]:
    """The objects of the version before that are left."""
    kinds = (DEPLOYMENTS, SERVICES, PLACEMENTS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS)
    names = {f"digits-{node}" for node in NODES} | {"digits-runtime"}
    return {
        (kind.kind, body["metadata"]["name"])
        for kind in kinds
        for body in world.cluster.find(kind, "default")
        if body["metadata"]["name"] in names
    }


def test_clients_stay_with_the_earlier_pods_until_the_new_ones_serve_everywhere(world: World) -> None:
    put_earlier(world)
    before = earlier(world)
    world.reconcile()
    assert {f"edge-runtime-{node}" for node in NODES} < set(world.deployments())
    assert world.condition("Ready")["status"] == "True"
    serve(world, "cam-1", "cam-2")
    pass_time(world)
    assert earlier(world) == before
    assert selector(world) == EARLIER
    assert world.condition("Ready")["status"] == "True"


def test_earlier_objects_go_after_clients_have_moved(world: World) -> None:
    put_earlier(world)
    world.reconcile()
    serve(world, *NODES)
    world.reconcile()
    world.now += 11
    world.reconcile()
    assert selector(world) == {"edge-intelligence.io/isolation": "Shared"}
    assert ("Deployment", "digits-cam-1") in earlier(world)
    pass_time(world)
    assert earlier(world) == set()
    assert world.deployments() == [f"edge-runtime-{node}" for node in NODES]
    moved, first = world.log.index("apply Service digits"), world.log.index("delete Deployment digits-cam-1")
    assert moved < first < world.log.index("delete ServiceAccount digits-runtime")
    assert world.condition("Ready")["status"] == "True"


def test_a_node_that_is_offline_keeps_its_earlier_pod_until_it_returns(world: World) -> None:
    put_earlier(world)
    world.node("cam-2", "camera", ready=False)
    world.reconcile()
    serve(world, "cam-1", "gate")
    pass_time(world)
    left = {("Deployment", "digits-cam-2"), ("Service", "digits-cam-2"), ("Placement", "digits-cam-2")}
    access = {(kind, "digits-runtime") for kind in ("ServiceAccount", "Role", "RoleBinding")}
    assert earlier(world) == left | access
    world.node("cam-2", "camera")
    world.reconcile()
    serve(world, "cam-2")
    pass_time(world)
    assert earlier(world) == set()


def test_a_node_without_room_for_both_gives_its_earlier_pod_up_first(world: World) -> None:
    put_earlier(world)
    world.reconcile()
    serve(world, "cam-1", "gate")
    full = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/4 nodes are available: 1 Insufficient cpu",
    }
    put(world, "Pod", "edge-runtime-cam-2-x", {"edge-intelligence.io/runtime": "edge-runtime-cam-2"})
    pod = world.cluster.objects["Pod", "default", "edge-runtime-cam-2-x"]
    world.cluster.put(pod | {"status": {"conditions": [full]}})
    pass_time(world)
    assert earlier(world) == set()


def test_a_service_that_cannot_be_planned_keeps_its_earlier_pods(world: World) -> None:
    put_earlier(world)
    before = earlier(world)
    world.change(devicePool="none")
    world.reconcile()
    pass_time(world)
    assert earlier(world) == before


def test_an_entry_node_that_was_left_loses_its_earlier_pod(world: World) -> None:
    put_earlier(world)
    world.change(entryNodes={"nodeSelector": {"class": "camera"}})
    world.reconcile()
    assert ("Placement", "digits-gate") not in earlier(world)
    serve(world, "cam-1", "cam-2")
    pass_time(world)
    assert earlier(world) == set()


def test_the_measured_round_trip_of_an_earlier_table_is_planned_with(world: World) -> None:
    put_earlier(world)
    for body in world.cluster.find(PLACEMENTS, "default"):
        status = body["status"] | {"link": {"state": "Up", "bandwidth": "5M", "roundTrip": "31ms"}}
        world.cluster.report_status(PLACEMENTS, "default", body["metadata"]["name"], status)
    world.reconcile()
    made = world.cluster.get(PLACEMENTS, "default", "digits.cam-1")
    assert made["spec"]["link"]["roundTrip"] == "31ms"


def forget_resolution(world: World, *, reason: str = "Fetched") -> str:
    """The status as versions without status.model wrote it. Returns the digest of the tables."""
    body = world.service()
    status = {key: value for key, value in body["status"].items() if key not in ("model", "rollout")}
    for each in status["conditions"]:
        if each["type"] == "ModelReady":
            each |= {"status": "True" if reason == "Fetched" else "False", "reason": reason}
    world.cluster.put(body | {"status": status})
    (gone,) = world.cluster.find(MODEL_PROFILES, "default")  # it was written in another form
    world.cluster.delete(MODEL_PROFILES, "default", gone["metadata"]["name"])
    world.restart()
    world.store.registered.clear()
    (digest,) = {each["spec"]["model"]["digest"] for each in world.cluster.find(PLACEMENTS, "default")}
    return str(digest)


@pytest.mark.parametrize("reason", ["Fetched", "Unreachable"])
def test_the_request_to_the_store_has_the_digest_of_the_earlier_tables(world: World, reason: str) -> None:
    put_earlier(world)
    digest = forget_resolution(world, reason=reason)
    world.reconcile()
    assert world.store.registered[-1].digest == digest
    assert world.service()["status"]["model"]["digest"] == digest


def test_the_digest_of_the_earlier_tables_is_kept_while_the_store_does_not_answer(world: World) -> None:
    put_earlier(world)
    digest = forget_resolution(world)
    world.store.failure = StoreError("Unreachable", "no response")
    world.reconcile()
    assert world.condition("ModelReady")["reason"] == "Unreachable"
    model = world.service()["status"]["model"]
    assert (model["storageUri"], model["digest"]) == ("store://digits/digits.onnx", digest)


def test_an_address_that_the_earlier_version_did_not_resolve_is_resolved_again(world: World) -> None:
    put_earlier(world)
    forget_resolution(world)
    world.change(model={"storageUri": "store://digits/other.onnx"})
    world.reconcile()
    assert world.store.registered[-1].digest is None


@pytest.mark.parametrize("restarted", [False, True])
def test_a_migration_writes_nothing_more_once_it_is_done(world: World, restarted: bool) -> None:
    put_earlier(world)
    world.reconcile()
    serve(world, *NODES)
    pass_time(world)
    if restarted:
        world.restart()
    del world.log[:]
    pass_time(world)
    assert world.log == []
