"""A new version of the runtimes reaches one node after another, with requests under way at all of them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_api import reasons
from messages import mentions
from testbed.images import reference
from trials import Document, Load, Trial

pytestmark = pytest.mark.extended

NODES = ("edge-a", "edge-b", "edge-c")
FULL = "edge-b"
OPERATOR = ("deploy/edge-operator", "-n", "edge-intelligence")
IMAGE, RESOURCES = "EDGE_RUNTIME_IMAGE", "EDGE_RUNTIME_RESOURCES"
SPARE = 30  # thousandths of a processor left free on a full node: less than a runtime requests
ROLLED_OUT = 300.0  # seconds until a rollout to all nodes is given up
LATE = 1.2  # of the SLO: how long the late version waits before it computes a request
LATE_VERSION = r"""
import asyncio, pathlib

if b"\0run\0--namespace\0" in pathlib.Path("/proc/self/cmdline").read_bytes():
    from edge_runtime.dataplane import Dataplane

    respond = Dataplane._respond

    async def late(self, *arguments):
        await asyncio.sleep({seconds})
        return await respond(self, *arguments)

    Dataplane._respond, Dataplane.at_once = late, lambda self, request: None
"""
STARTED_WITH = "opt/app/lib/python3.11/site-packages/sitecustomize.py"
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff")


@pytest.fixture
def eased(trial: Trial) -> Iterator[Trial]:
    """All runtimes have the installed version, on nodes as fast as the machine."""
    with trial.unlimited():
        trial.wait("one pod at each node", lambda: all(map(complete, runtimes(trial).values())))
        yield trial


def runtimes(trial: Trial) -> dict[str, Document]:
    """The Deployments of the example's runtimes by node."""
    found = json.loads(trial.cluster.kubectl("get", "deployments", "-n", "default", "-o", "json"))["items"]
    return {body["metadata"]["labels"]["edge-intelligence.io/node"]: body for body in found}


def pods(trial: Trial) -> dict[str, list[Document]]:
    """The runtimes' pods by node, also those that are ending or have no place yet."""
    found: dict[str, list[Document]] = {node: [] for node in NODES}
    for pod in json.loads(trial.cluster.kubectl("get", "pods", "-n", "default", "-o", "json"))["items"]:
        if node := pod["metadata"].get("labels", {}).get("edge-intelligence.io/node"):
            found[node].append(pod)
    return found


def names(trial: Trial) -> dict[str, list[str]]:
    return {node: [pod["metadata"]["name"] for pod in found] for node, found in pods(trial).items()}


def complete(runtime: Document) -> bool:
    """Whether the Deployment has one pod, which is ready and of the newest version."""
    status = runtime["status"]
    counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas", "readyReplicas")]
    return status.get("observedGeneration") == runtime["metadata"]["generation"] and counts == [1, 1, 1]


def container(body: Document) -> Document:
    """The container of a Deployment's pods."""
    found: Document = body["spec"]["template"]["spec"]["containers"][0]
    return found


def variable(trial: Trial, name: str) -> str:
    """A variable of the operator."""
    variables = container(trial.get("deployment", "edge-operator", "edge-intelligence"))["env"]
    return next(str(each["value"]) for each in variables if each["name"] == name)


def set_variable(trial: Trial, name: str, value: str) -> None:
    """Restarts the operator with another value of a variable, by which the runtimes get another version."""
    trial.cluster.kubectl("set", "env", *OPERATOR, f"{name}={value}")
    trial.cluster.kubectl("rollout", "status", *OPERATOR, "--timeout=120s")


@contextmanager
def requests(trial: Trial) -> Iterator[None]:
    """Requests of clients at all nodes while the block runs, none of which may be lost."""
    with ExitStack() as stack:
        loads: list[Load] = [stack.enter_context(trial.load(node, rate=2, host="digits")) for node in NODES]
        yield
        for load in loads:
            load.wait_for("content", lambda answer: "error" not in answer)
    for load in loads:
        load.check_none_lost()


@dataclass
class Rollout:
    """A rollout of pods that request these resources, as it is seen from its start to its end."""

    resources: Document
    in_place: set[str] = field(default_factory=set)

    def ended(self, trial: Trial) -> bool:
        """Whether all nodes have the version. Fails if it replaces pods at two nodes at once."""
        found = runtimes(trial)
        reached = [n for n, body in found.items() if container(body)["resources"] == self.resources]
        under_way = [node for node in reached if not complete(found[node])]
        assert len(under_way) <= 1, f"two nodes at once: {under_way}\n{trial.state()}"
        self.in_place |= {
            node for node in reached if found[node]["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
        }
        return len(reached) == len(NODES) and not under_way


@contextmanager
def full_node(trial: Trial) -> Iterator[None]:
    """A node with less room than a second runtime needs."""
    room = processors(trial.get("node", FULL)["status"]["allocatable"]["cpu"])
    there = ("--field-selector", f"spec.nodeName={FULL}", "-o", "json")
    for pod in json.loads(trial.cluster.kubectl("get", "pods", "-A", *there))["items"]:
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            asked = [each.get("resources", {}).get("requests", {}) for each in pod["spec"]["containers"]]
            room -= sum(processors(each.get("cpu", "0")) for each in asked)
    pause = {
        "name": "pause",
        "image": reference("pause"),
        "imagePullPolicy": "Never",
        "resources": {"requests": {"cpu": f"{room - SPARE}m"}},
    }
    filler = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "filler", "namespace": "default"},
        "spec": {"nodeName": FULL, "terminationGracePeriodSeconds": 0, "containers": [pause]},
    }
    trial.cluster.kubectl("apply", "-f", "-", text=json.dumps(filler))
    try:
        trial.wait("the full node", lambda: trial.get("pod", "filler")["status"]["phase"] == "Running")
        yield
    finally:
        trial.cluster.kubectl("delete", "pod", "filler", "-n", "default", "--timeout=60s")


def processors(quantity: str) -> int:
    """Thousandths of a processor."""
    return int(quantity[:-1]) if quantity.endswith("m") else round(float(quantity) * 1000)


def waits_for_its_image(pod: Document) -> bool:
    """Whether the kubelet has failed to pull the pod's image."""
    states = [each.get("state", {}) for each in pod["status"].get("containerStatuses", [])]
    return any(state.get("waiting", {}).get("reason") in NO_IMAGE for state in states)


def test_a_version_that_does_not_start_stops_at_the_first_node_and_costs_no_request(eased: Trial) -> None:
    before, good, missing = names(eased), variable(eased, IMAGE), reference("missing")

    def stopped() -> bool:
        return any(waits_for_its_image(pod) for found in pods(eased).values() for pod in found)

    with requests(eased):
        try:
            set_variable(eased, IMAGE, missing)
            eased.wait("a pod without its image", stopped)
            # The operator plans more than once while the version does not start.
            with eased.with_fields(autonomy="1h0m0s"):
                pass
            reached = [n for n, body in runtimes(eased).items() if container(body)["image"] == missing]
            assert len(reached) == 1, eased.state()
        finally:
            set_variable(eased, IMAGE, good)
        eased.wait("the version before", lambda: mended(eased, good))
    assert names(eased) == before


def mended(trial: Trial, image: str) -> bool:
    """Whether all runtimes have this image, with one pod at each node."""
    found = runtimes(trial)
    return all(complete(body) and container(body)["image"] == image for body in found.values()) and all(
        len(each) == 1 for each in names(trial).values()
    )


def test_a_version_that_makes_requests_late_is_returned_from_at_the_first_node(
    eased: Trial, tmp_path: Path
) -> None:
    good, reached = variable(eased, IMAGE), set[str]()
    program = LATE_VERSION.format(seconds=LATE * eased.slo).encode()
    late = eased.bed.add_to_runtime({STARTED_WITH: program}, tmp_path, "late-runtime")

    def returned() -> bool:
        there = {node for node, body in runtimes(eased).items() if container(body)["image"] == late}
        reached.update(there)
        assert len(reached) <= 1, eased.state()
        found = eased.condition("digits", "RuntimesUpdated")
        return not there and found.get("status") == "False"

    with requests(eased):
        try:
            set_variable(eased, IMAGE, late)
            eased.wait("the return", returned, ROLLED_OUT)
            eased.wait("the version before", lambda: mended(eased, good))
            # The operator plans more than once, and does not try the version again.
            with eased.with_fields(autonomy="1h0m0s"):
                assert returned()
        finally:
            set_variable(eased, IMAGE, good)
        found = eased.condition("digits", "RuntimesUpdated")
        eased.wait("the condition True", lambda: updated(eased))
    assert len(reached) == 1
    assert found["reason"] == reasons.RUNTIMES_MISS_SLO, found
    assert mentions(*reached, "digits", "requests missed").search(found["message"]), found


def updated(trial: Trial) -> bool:
    """Whether no other version of the runtimes is wanted than the one that all have."""
    return bool(trial.condition("digits", "RuntimesUpdated")["status"] == "True")


def test_a_version_reaches_one_node_after_another_and_a_full_node_in_place(eased: Trial) -> None:
    before = json.loads(variable(eased, RESOURCES))
    more = before | {"requests": before["requests"] | {"cpu": "51m"}}
    there, back = Rollout(more), Rollout(before)
    with requests(eased):
        try:
            with full_node(eased):
                set_variable(eased, RESOURCES, json.dumps(more))
                eased.wait("the new version", lambda: there.ended(eased), ROLLED_OUT)
        finally:
            set_variable(eased, RESOURCES, json.dumps(before))
        eased.wait("the version before", lambda: back.ended(eased), ROLLED_OUT)
    assert (there.in_place, back.in_place) == ({FULL}, set())
