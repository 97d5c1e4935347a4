"""A Tenant says what its services use of the pool, and stops them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from demo import installation
from edge_api import reasons
from edge_api.names import placement_name
from edge_api.quantities import parse_duration
from edge_operator.pool_nodes import number_of
from messages import mentions
from trials import GATEWAY, Document, Trial, another_service

NAME, POOL, OTHER = "trial", "factory", "neighbor"
ROUNDING = 0.003  # cores: requests are whole thousandths, and weights have three digits
RESERVED = 0.5
"""Part of the node's time that the rate of the other namespace's service needs."""
TENANT = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": NAME},
    "spec": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "fairSharing": {"weight": 2},
    },
}


@contextmanager
def created(trial: Trial) -> Iterator[None]:
    """The example's namespace as a tenant; without any Tenant at the end."""
    try:
        trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(TENANT))
        trial.wait("a status of the Tenant", lambda: bool(uses(trial)))
        yield
    finally:
        installation.delete_tenant(trial.cluster.kubectl, NAME)
        trial.wait("the example Ready", lambda: ready(trial).get("status") == "True")


@pytest.fixture
def neighbors(trial: Trial) -> Iterator[Trial]:
    """A service of another namespace at a node of the example."""
    kubectl, body = trial.cluster.kubectl, another_service(OTHER)
    body["metadata"]["namespace"] = OTHER
    body["spec"]["entryNodes"] = {"nodeSelector": {"kubernetes.io/hostname": GATEWAY}}
    kubectl("create", "namespace", OTHER)
    try:
        installation.upload(trial.cluster, trial.trained.onnx, namespace=OTHER)
        kubectl("apply", "-f", "-", text=yaml.safe_dump(body))
        trial.wait("the neighbor", lambda: trial.condition(OTHER, "Ready", OTHER).get("status") == "True")
        yield trial
    finally:
        kubectl("delete", "inferenceservice", OTHER, "-n", OTHER, "--ignore-not-found", "--timeout=120s")
        kubectl("delete", "namespace", OTHER, "--wait", "--timeout=120s")


def pod(trial: Trial, namespace: str) -> Document:
    """The pod of a namespace's runtime at the node that both share."""
    label = f"edge-intelligence.io/runtime={installation.runtime_service(trial.cluster, GATEWAY, namespace)}"
    listed = trial.cluster.kubectl("get", "pods", "-n", namespace, "-l", label, "-o", "json")
    (found,) = [each for each in json.loads(listed)["items"] if "deletionTimestamp" not in each["metadata"]]
    return dict(found)


def requested(pod: Document) -> float:
    """The processor time that the pod requests, in cores."""
    cores = number_of(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    assert cores is not None
    return cores


def restarts(pod: Document) -> int:
    return sum(int(each["restartCount"]) for each in pod["status"]["containerStatuses"])


def change_neighbor(trial: Trial, **spec: Any) -> None:
    change = json.dumps({"spec": spec})
    trial.cluster.kubectl("patch", "inferenceservice", OTHER, "-n", OTHER, "--type", "merge", "-p", change)


def neighbor_routes(trial: Trial) -> list[Document]:
    """The table of the other namespace's service at the node that both share."""
    found: list[Document] = trial.get("placement", placement_name(OTHER, GATEWAY), OTHER)["spec"]["routes"]
    return found


def status(trial: Trial) -> Document:
    found: Document = trial.get("tenant", NAME).get("status", {})
    return found


def uses(trial: Trial) -> dict[str, Document]:
    """What the Tenant has of the example's pool, by kind of resource; empty before it was planned."""
    pools = {each["name"]: each for each in status(trial).get("pools", [])}
    return {each["kind"]: each for each in pools.get(POOL, {}).get("resources", [])}


def reason(trial: Trial, kind: str) -> str:
    conditions = status(trial).get("conditions", [])
    return next((str(each["reason"]) for each in conditions if each["type"] == kind), "")


def ready(trial: Trial) -> Document:
    return trial.condition("digits", reasons.READY)


def stop(trial: Trial, policy: str) -> None:
    change = json.dumps({"spec": {"stopPolicy": policy}})
    trial.cluster.kubectl("patch", "tenant", NAME, "--type", "merge", "-p", change)


def is_refused(trial: Trial) -> bool:
    """Whether the response to a request names the Tenant and what stops it."""
    try:
        trial.ask(GATEWAY)
    except AssertionError as error:
        return mentions(f"[503] Tenant {NAME}", "HoldAndDrain").search(str(error)) is not None
    return False


def test_a_tenant_reports_its_part_of_the_pool_and_its_creation_loses_no_request(trial: Trial) -> None:
    with trial.load("edge-b", rate=2) as load, created(trial):
        assert float(uses(trial)["cpu"]["nominal"]) > 0
        assert reason(trial, reasons.READY) == reasons.NAMESPACES_FOUND
        assert reason(trial, reasons.ACTIVE) == reasons.PLACING
        (listed,) = [each for each in status(trial)["pools"] if each["name"] == POOL]
        assert listed["services"] >= 1
        row = trial.cluster.kubectl("get", "tenant", NAME, "--no-headers").split()
        assert row[:2] == [NAME, "2"]
        assert row[2].endswith("%")
    load.check_none_lost()


@pytest.mark.extended
def test_the_runtimes_of_a_node_request_processor_time_by_entitlement(neighbors: Trial) -> None:
    before = {namespace: pod(neighbors, namespace) for namespace in ("default", OTHER)}
    assert requested(before["default"]) == requested(before[OTHER])

    total = sum(map(requested, before.values()))

    def divided() -> bool:
        own, other = (requested(pod(neighbors, namespace)) for namespace in ("default", OTHER))
        return abs(own - 2 * other) <= ROUNDING and abs(own + other - total) <= ROUNDING

    with created(neighbors):
        neighbors.wait("requests by entitlement", divided)
        for namespace, earlier in before.items():
            now = pod(neighbors, namespace)
            assert now["metadata"]["uid"] == earlier["metadata"]["uid"]
            assert restarts(now) == restarts(earlier)
    neighbors.wait(
        "equal requests without a Tenant",
        lambda: requested(pod(neighbors, "default")) == requested(pod(neighbors, OTHER)),
    )


@pytest.mark.extended
def test_namespaces_without_tenants_request_processor_time_by_what_the_plan_reserves(
    neighbors: Trial,
) -> None:
    change_neighbor(neighbors, mode="LocalOnly", slo={"latency": "5s"})
    neighbors.wait(
        "a local table", lambda: all(each["cut"] == "local" for each in neighbor_routes(neighbors))
    )
    before = {namespace: pod(neighbors, namespace) for namespace in ("default", OTHER)}
    total = sum(map(requested, before.values()))

    def divided() -> bool:
        own, other = (requested(pod(neighbors, namespace)) for namespace in ("default", OTHER))
        return other > 1.25 * own and abs(own + other - total) <= ROUNDING

    (stage,) = neighbor_routes(neighbors)[0]["stages"]
    rate = RESERVED / parse_duration(stage["predictedCompute"])
    change_neighbor(neighbors, load={"rate": round(rate, 2)})
    neighbors.wait("requests by the plan", divided)
    for namespace, earlier in before.items():
        now = pod(neighbors, namespace)
        assert now["metadata"]["uid"] == earlier["metadata"]["uid"]
        assert restarts(now) == restarts(earlier)
    change_neighbor(neighbors, load=None)
    neighbors.wait(
        "equal requests without a declared rate",
        lambda: requested(pod(neighbors, "default")) == requested(pod(neighbors, OTHER)),
    )


def test_a_drained_tenant_refuses_requests_with_the_reason_and_serves_again(trial: Trial) -> None:
    with created(trial):
        stop(trial, "HoldAndDrain")
        trial.wait("the drained service", lambda: ready(trial).get("reason") == reasons.TENANT_DRAINED)
        trial.wait("the condition of the Tenant", lambda: reason(trial, reasons.ACTIVE) == reasons.DRAINED)
        trial.wait("a refusal with the reason", lambda: is_refused(trial))
        stop(trial, "None")
        trial.wait("the example Ready", lambda: ready(trial).get("status") == "True")
        assert trial.ask(GATEWAY).parameters["exit"] in trial.exits()
