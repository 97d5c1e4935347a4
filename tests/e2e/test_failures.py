"""Processes are killed; the entry nodes keep serving, and everything recovers by itself."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from testbed import KubectlFailed
from testbed.audit import Request, account, count_requests, lines_of
from trials import Trial

OPERATOR = ("-n", "edge-intelligence", "deploy/edge-operator")
ACCOUNT = account("edge-intelligence", "edge-operator")


def test_the_entry_nodes_keep_serving_while_the_operator_is_down(trial: Trial) -> None:
    kubectl = trial.cluster.kubectl
    with trial.load("edge-a", rate=2) as load:
        kubectl("scale", "--replicas=0", *OPERATOR)
        try:
            kubectl("wait", "--for=delete", "pod", "-n", "edge-intelligence", "-l",
                    "app.kubernetes.io/name=edge-operator", "--timeout=180s")  # fmt: skip
            trial.cluster.set_links(0.0)
            load.wait_for_local()
            trial.cluster.set_links(None)
            load.wait_for_cut()
        finally:
            kubectl("scale", "--replicas=1", *OPERATOR)
            kubectl("rollout", "status", *OPERATOR, "--timeout=180s")
    load.check_none_lost()


def test_when_the_operator_that_writes_is_killed_another_takes_over(trial: Trial) -> None:
    kubectl = trial.cluster.kubectl

    def holder() -> str:
        lease = json.loads(kubectl("get", "lease", "edge-operator", "-n", "edge-intelligence", "-o", "json"))
        return str(lease["spec"]["holderIdentity"]).partition("_")[0]

    with trial.load("edge-a", rate=2) as load:
        kubectl("scale", "--replicas=2", *OPERATOR)
        try:
            kubectl("rollout", "status", *OPERATOR, "--timeout=180s")
            first = holder()
            kubectl("delete", "pod", first, "-n", "edge-intelligence", "--force", "--grace-period=0")
            # Only a replica that writes brings the field to the nodes.
            with trial.with_fields(autonomy="1h0m0s"):
                assert holder() != first
        finally:
            kubectl("scale", "--replicas=1", *OPERATOR)
            kubectl("rollout", "status", *OPERATOR, "--timeout=180s")
        load.wait_for_cut()
    load.check_none_lost()


def test_a_restart_of_the_operator_changes_no_object_and_loses_no_request(trial: Trial) -> None:
    """It writes only what runtimes report of requests, and calls the model store only for new tables."""
    kubectl = trial.cluster.kubectl

    def reconciles() -> float:
        selector = ("-l", "app.kubernetes.io/name=edge-operator", "-n", "edge-intelligence", "-o", "json")
        pods = json.loads(kubectl("get", "pods", *selector))["items"]
        found = 0.0
        for pod in (pod for pod in pods if "deletionTimestamp" not in pod["metadata"]):
            path = f"/api/v1/namespaces/edge-intelligence/pods/http:{pod['metadata']['name']}:9090/proxy"
            text = kubectl("get", "--raw", f"{path}/metrics")
            found += sum(
                float(line.split()[-1])
                for line in text.splitlines()
                if line.startswith('edge_operator_reconciles_total{kind="service"')
            )
        return found

    def objects() -> dict[str, Any]:
        """Generations of the specs that the operator writes, else resource versions, by object."""
        kinds = "inferenceservices,modelprofiles,deployments"
        found = json.loads(kubectl("get", kinds, "-o", "json"))["items"]
        versions = {f"{o['kind']} {o['metadata']['name']}": o["metadata"]["generation"] for o in found}
        others = json.loads(kubectl("get", "services,rolebindings,serviceaccounts", "-o", "json"))["items"]
        return versions | {
            f"{o['kind']} {o['metadata']['name']}": o["metadata"]["resourceVersion"] for o in others
        }

    def tables() -> dict[str, Any]:
        """The specs of the Placements, and the measurements that they were planned with."""
        found = json.loads(kubectl("get", "placements", "-o", "json"))["items"]
        return {o["metadata"]["name"]: (_measured(o), o["spec"]) for o in found}

    before, published, models = objects(), tables(), set(trial.triton_models())
    with trial.load("edge-a", rate=2) as load:
        asked, start = trial.store_requests(), datetime.now(UTC)
        kubectl("rollout", "restart", *OPERATOR)
        kubectl("rollout", "status", *OPERATOR, "--timeout=180s")
        trial.wait("the new operator's first reconciles", lambda: _told(reconciles) >= 2)
        load.wait_for_cut()
        requests = count_requests(lines_of(trial.bed.layout.audit), start, datetime.now(UTC))
        asked = trial.store_requests() - asked
    load.check_none_lost()
    written = {each for each in requests.requests if each.user == ACCOUNT and each.writes}
    kinds = ("inferenceservices.edge-intelligence.io/status", "placements.edge-intelligence.io")
    assert written <= {Request(ACCOUNT, "patch", kind) for kind in kinds}
    assert objects() == before
    if asked:  # compute times that were measured under load lead to other slices
        trial.wait("a table that follows measurements", lambda: tables() != published)
    now = tables()
    assert now.keys() == published.keys()
    # Under load, compute times and links are measured on: a table may follow them, and nothing else.
    for name, (measured, spec) in now.items():
        if measured == published[name][0]:
            assert spec == published[name][1]
    assert models <= set(trial.triton_models())
    assert trial.condition("digits", "ModelReady")["status"] == "True"


def _measured(placement: dict[str, Any]) -> tuple[Any, ...]:
    """Returns the margins and the round trip that a Placement was planned with."""
    notes = placement["metadata"].get("annotations") or {}
    own = (notes.get(f"edge-intelligence.io/planned-{what}") for what in ("margins", "round-trip"))
    return (*own, (placement["spec"].get("link") or {}).get("roundTrip"))


def _told(count: Callable[[], float]) -> float:
    """The count, or 0 while the pod does not answer."""
    try:
        return count()
    except KubectlFailed:
        return 0.0


def test_triton_restarts_and_gets_its_tails_back(trial: Trial) -> None:
    with trial.load("edge-a", rate=2) as load:
        # Not until the pod is gone: the new one may have all tails by then.
        trial.cluster.kubectl(
            "delete", "pod", "-n", "triton", "-l", "app.kubernetes.io/name=triton", "--wait=false"
        )
        load.wait_for_local()
        load.wait_for_cut(seconds=180)
    load.check_none_lost()


def test_a_runtime_that_dies_is_started_again_with_its_slices_on_the_disk(trial: Trial) -> None:
    def restarts() -> int:
        pods = json.loads(
            trial.cluster.kubectl(
                "get", "pods", "-l", "edge-intelligence.io/runtime=edge-runtime-edge-b",
                "-o", "json",
            )
        )["items"]  # fmt: skip
        return sum(s["restartCount"] for pod in pods for s in pod["status"].get("containerStatuses", []))

    before = restarts()
    # By SIGTERM: the runtime is process 1 of its container, which SIGKILL from inside does not reach.
    with contextlib.suppress(KubectlFailed):  # it may end before kubectl has its response
        trial.cluster.kubectl(
            "exec", "deploy/edge-runtime-edge-b", "--", "python3", "-c", "import os; os.kill(1, 15)"
        )
    trial.wait("the container's restart", lambda: restarts() == before + 1)
    # Not by the Deployment: it counts as rolled out until the kubelet has reported the end of the container.
    trial.wait("a response of the new runtime", lambda: _answers(trial, "edge-b"))


def test_a_node_that_reboots_serves_again(trial: Trial) -> None:
    trial.bed.node("edge-c").reboot()
    trial.wait("a response of the rebooted node", lambda: _answers(trial, "edge-c"), 300)


def _answers(trial: Trial, node: str) -> bool:
    try:
        return trial.ask(node).ready
    except AssertionError:
        return False
