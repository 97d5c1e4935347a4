"""A pool selects nodes by expressions and tolerates their taint; nodes join and leave with their labels."""

import json
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest
import yaml

from demo import installation
from messages import mentions
from testbed import KubectlFailed
from trials import Document, Trial

NAME = "halls"  # of the namespace, the pool and the service
HALL, RETIRED, RESERVED = "example.com/hall", "example.com/retired", "example.com/reserved"
TAINTED, OTHER = "edge-c", "edge-b"

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}
GROUP = {
    "deviceClass": "camera",
    "selector": {
        "matchLabels": {"edge-intelligence.io/device-class": "camera"},
        "matchExpressions": [
            {"key": HALL, "operator": "In", "values": ["north", "south"]},
            {"key": RETIRED, "operator": "DoesNotExist"},
        ],
    },
    "tolerations": [{"key": RESERVED, "operator": "Exists", "effect": "NoSchedule"}],
}
POOL = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "DevicePool",
    "metadata": {"name": NAME},
    "spec": {"nodes": [GROUP]},
}
SERVICE = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": NAME, "namespace": NAME},
    "spec": {
        "model": {"storageUri": f"store://{installation.STORED_AT}"},
        "slo": {"latency": "1s"},
        "devicePool": NAME,
    },
}


@pytest.fixture(scope="module")
def halls(installed: Trial) -> Iterator[Trial]:
    """A service on a pool that selects the tainted node alone: Ready."""
    trial, kubectl = installed, installed.cluster.kubectl
    trial.cluster.set_links(None)
    # The node rejoins the example's pool without its taint: the pool is deleted last.
    with trial.unlimited(), trial.older_pool(POOL):
        try:
            kubectl("label", "node", TAINTED, f"{HALL}=north")
            kubectl("taint", "node", TAINTED, f"{RESERVED}=cameras:NoSchedule")
            kubectl("apply", "-f", "-", text=yaml.safe_dump(NAMESPACE))
            installation.upload(trial.cluster, trial.trained.onnx, namespace=NAME)
            kubectl("apply", "-f", "-", text=yaml.safe_dump(SERVICE))
            ready = lambda: trial.condition(NAME, "Ready", NAME).get("status") == "True"  # noqa: E731
            trial.wait("Ready", ready, 300)
            yield trial
        finally:
            for node in (TAINTED, OTHER):
                kubectl("label", "node", node, f"{HALL}-", f"{RETIRED}-")
            if any(taint["key"] == RESERVED for taint in taints(trial)):
                kubectl("taint", "node", TAINTED, f"{RESERVED}-")
            gone = ("--ignore-not-found", "--timeout=120s")
            kubectl("delete", "inferenceservice", NAME, "-n", NAME, *gone)
            kubectl("delete", "namespace", NAME, *gone)


def taints(trial: Trial) -> list[Document]:
    """The taints of the node that the test taints."""
    found: list[Document] = trial.get("node", TAINTED)["spec"].get("taints", [])
    return found


def runtimes(trial: Trial) -> set[str]:
    """The nodes with a pod of the namespace, also of one that is ending."""
    found = json.loads(trial.cluster.kubectl("get", "pods", "-n", NAME, "-o", "json"))["items"]
    return {pod["spec"].get("nodeName", "none") for pod in found}


def serves(trial: Trial, node: str) -> bool:
    """Whether the node has a ready runtime that has loaded the service's table."""
    try:
        status = trial.get("placement", f"{NAME}.{node}", NAME).get("status", {})
        runtime = trial.get("deployment", f"edge-runtime-{node}", NAME)["status"]
    except KubectlFailed:
        return False
    return bool(status.get("loaded")) and runtime.get("readyReplicas", 0) > 0


def served(trial: Trial, node: str) -> float:
    """How many requests the node's runtime of the namespace has served."""
    prefix = "edge_request_duration_seconds_count{"
    lines = (line for line in trial.metrics(node, NAME) if line.startswith(prefix))
    return sum(float(line.split()[-1]) for line in lines)


def test_the_runtime_tolerates_the_taint_of_its_node_and_serves_there(halls: Trial) -> None:
    assert taints(halls)[0]["effect"] == "NoSchedule"
    assert runtimes(halls) == {TAINTED}
    measured = halls.get("modelprofile", NAME, NAME)["spec"]["deviceClasses"]
    assert [(each["name"], each["node"]) for each in measured] == [("camera", TAINTED)]
    answer = halls.ask(TAINTED, service=NAME, host=NAME, namespace=NAME)
    assert (answer.model, answer.parameters["cut"]) == (NAME, "local")
    # A runtime without the toleration would not be scheduled: the example's pool has none.
    pool = halls.get("devicepool", "factory")["spec"]["nodes"]
    assert not any("tolerations" in group for group in pool)


def test_the_node_is_not_in_the_examples_pool_which_is_younger(halls: Trial) -> None:
    def ready() -> Document:
        conditions = halls.get("devicepool", "factory").get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == "Ready"), {})

    halls.wait("the condition", lambda: ready().get("reason") == "Overlapping")
    assert mentions(f"{TAINTED} to DevicePool {NAME}").search(ready()["message"])
    assert TAINTED not in pool_nodes(halls, "factory")
    halls.wait("the example's other nodes", lambda: TAINTED not in halls.placements())


def test_nodes_join_and_leave_with_their_labels_without_a_lost_request(halls: Trial) -> None:
    kubectl = halls.cluster.kubectl
    load = partial(halls.load, rate=4, service=NAME, host=NAME, namespace=NAME)

    def served_here() -> bool:
        """Whether a new connection of a client at the node that joined reaches its runtime."""
        try:
            before = served(halls, OTHER)
        except subprocess.SubprocessError:
            return False  # the node's kube-proxy does not know its address yet
        halls.ask(OTHER, service=NAME, host=NAME, namespace=NAME)
        return served(halls, OTHER) > before

    with load(TAINTED) as first, load(OTHER) as second:
        kubectl("label", "node", OTHER, f"{HALL}=south")
        halls.wait("a runtime at the node that joined", lambda: serves(halls, OTHER))
        halls.wait("a request there", served_here)
        kubectl("label", "node", TAINTED, f"{RETIRED}=true")
        halls.wait("an end of the pod at the node that left", lambda: runtimes(halls) == {OTHER})
        for each in (first, second):
            each.wait_for("content", lambda answer: "error" not in answer)
    first.check_none_lost()
    second.check_none_lost()
    halls.wait("the status of the service", lambda: entry_nodes(halls) == [OTHER])
    halls.wait("the status of the pool", lambda: pool_nodes(halls) == [OTHER], 20)


def entry_nodes(trial: Trial) -> list[str]:
    status = trial.get("inferenceservice", NAME, NAME)["status"]
    return [entry["node"] for entry in status["entries"]]


def pool_nodes(trial: Trial, pool: str = NAME) -> list[str]:
    return [node["name"] for node in trial.get("devicepool", pool)["status"]["nodes"]]
