"""Two replicas of the operator: one leads, the other takes over, and late writes of the first do nothing."""

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_operator.leadership import RETRY
from testbed import KubectlFailed
from testbed.audit import account, lines_of
from trials import Trial

pytestmark = pytest.mark.extended

NAMESPACE = "edge-intelligence"
OPERATOR = ("-n", NAMESPACE, "deploy/edge-operator")
ACCOUNT = account(NAMESPACE, "edge-operator")
POD_OF = "authentication.kubernetes.io/pod-name"
AFTER_A_KILL, AFTER_A_DRAIN = 15.0, 2.0
"""Seconds in which another replica leads."""
LIBRARIES = "/opt/app/lib/python3.11/site-packages"
"""PYTHONPATH of the operator's image; see the Dockerfile."""
STOP_POINTS = Path(__file__).parents[1] / "support" / "stop_points.py"
WRITES = {"create", "update", "patch", "delete"}


class Replicas:
    """The pods of the operator, as the test sees and stops them."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.kubectl = trial, trial.cluster.kubectl

    def lease(self) -> dict[str, Any]:
        """The spec of the Lease."""
        found: dict[str, Any] = self.trial.get("lease", "edge-operator", NAMESPACE)["spec"]
        return found

    def leader(self) -> str:
        """The pod that holds the Lease."""
        return str(self.lease()["holderIdentity"]).partition("_")[0]

    def pods(self) -> list[str]:
        selector = ("-l", "app.kubernetes.io/name=edge-operator", "-n", NAMESPACE, "-o", "json")
        found = json.loads(self.kubectl("get", "pods", *selector))["items"]
        return [p["metadata"]["name"] for p in found if "deletionTimestamp" not in p["metadata"]]

    def probe(self, pod: str) -> dict[str, Any]:
        """What a replica answers the kubelet."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/http:{pod}:8080/proxy/readyz"
        found: dict[str, Any] = json.loads(self.kubectl("get", "--raw", path))
        return found

    def settled(self) -> str:
        """Waits until two replicas are ready and one leads; returns the one that leads."""

        def both() -> bool:
            try:
                found = [self.probe(pod) for pod in self.pods()]
            except KubectlFailed:
                return False
            leads = [each["lease"]["leads"] for each in found]
            return sorted(leads) == [False, True] and all(each["ready"] for each in found)

        self.trial.wait("two ready replicas, one of which leads", both)
        return self.leader()

    def processes(self, pod: str) -> list[int]:
        """The processes of the operator's container, by their ids on this machine."""
        (status,) = self.trial.get("pod", pod, NAMESPACE)["status"]["containerStatuses"]
        container = status["containerID"].rsplit("/", 1)[1]
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    group = (folder / "cgroup").read_text()
                except OSError:
                    continue
                if container in group:
                    found.append(int(folder.name))
        assert found, f"{pod}: no process has {container} in its control group"
        return found

    def signal(self, pod: str, number: int) -> datetime:
        """Sends a signal to a replica; returns when."""
        processes = self.processes(pod)
        sent = datetime.now(UTC)
        for process in processes:
            os.kill(process, number)
        return sent

    def run(self, pod: str, program: str) -> str:
        """Runs Python beside the operator in its container."""
        return self.kubectl("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", program)

    def followed(self, holder: str) -> dict[str, Any]:
        """Waits until another process holds the Lease; returns its spec."""

        def other() -> bool:
            return self.lease()["holderIdentity"] not in ("", holder)

        self.trial.wait(f"another leader than {holder}", other)
        return self.lease()

    def slowness(self) -> float:
        """Seconds by which this machine is late: the longest of a few reads of the Lease."""
        took = []
        for _ in range(5):
            began = time.monotonic()
            self.lease()
            took.append(time.monotonic() - began)
        return max(took)

    def requests(self, pod: str, since: datetime) -> list[dict[str, Any]]:
        """The requests of a replica that the API server completed since, except those for the Lease."""
        found = []
        for line in lines_of(self.trial.bed.layout.audit):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            user = event.get("user") or {}
            reference = event.get("objectRef") or {}
            if (
                user.get("username") == ACCOUNT
                and (user.get("extra") or {}).get(POD_OF) == [pod]
                and event["stage"] == "ResponseComplete"
                and reference.get("resource") != "leases"
                and datetime.fromisoformat(event["requestReceivedTimestamp"]) >= since
            ):
                found.append(event)
        return found

    def writes(self, pod: str, since: datetime) -> list[tuple[str, str, int]]:
        """The writes of a replica since: verb, object and status of the response."""
        return [
            (
                event["verb"],
                f"{event['objectRef'].get('resource')}/{event['objectRef'].get('name')}",
                event["responseStatus"]["code"],
            )
            for event in self.requests(pod, since)
            if event["verb"] in WRITES
        ]


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def replicas(installed: Trial) -> Iterator[Replicas]:
    """Two replicas that can be stopped between the fence of a write and its request."""
    kubectl, found = installed.cluster.kubectl, Replicas(installed)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "stop-points", "namespace": NAMESPACE},
        "data": {"sitecustomize.py": STOP_POINTS.read_text()},
    }
    container = {
        "name": "operator",
        "env": [{"name": "PYTHONPATH", "value": f"/stop-points:{LIBRARIES}"}],
        "volumeMounts": [{"name": "stop-points", "mountPath": "/stop-points"}],
        "livenessProbe": {"failureThreshold": 60},  # the test stops it for longer than the kubelet waits
    }
    volume = {"name": "stop-points", "configMap": {"name": "stop-points"}}
    template = {"spec": {"containers": [container], "volumes": [volume]}}
    kubectl("apply", "-f", "-", text=json.dumps(config))
    try:
        kubectl("patch", *OPERATOR, "-p", json.dumps({"spec": {"replicas": 2, "template": template}}))
        kubectl("rollout", "status", *OPERATOR, "--timeout=240s")
        yield found
    finally:
        kubectl("rollout", "undo", *OPERATOR)
        kubectl("scale", "--replicas=1", *OPERATOR)
        kubectl("rollout", "status", *OPERATOR, "--timeout=240s")
        kubectl("delete", "configmap", "stop-points", "-n", NAMESPACE)


def test_a_standby_is_ready_has_everything_in_memory_and_writes_nothing(
    trial: Trial, replicas: Replicas
) -> None:
    leader = replicas.settled()
    (standby,) = [pod for pod in replicas.pods() if pod != leader]
    since = datetime.now(UTC)
    with trial.with_fields(autonomy="3h0m0s"):
        body = replicas.probe(standby)
    assert body["mirror"]["synced"] is True
    assert body["lease"]["holder"] == replicas.lease()["holderIdentity"]
    assert body["problems"] == []
    assert replicas.writes(standby, since) == []
    assert replicas.writes(leader, since) != []


def test_when_the_leader_is_killed_the_standby_leads_without_listing_anything(
    trial: Trial, replicas: Replicas
) -> None:
    leader = replicas.settled()
    holder, term = replicas.lease()["holderIdentity"], replicas.lease()["leaseTransitions"]
    slowness = replicas.slowness()
    with trial.load("edge-a", rate=2) as load:
        killed = replicas.signal(leader, signal.SIGKILL)
        lease = replicas.followed(holder)
        took = time_of(lease["acquireTime"]) - killed
        with trial.with_fields(autonomy="1h0m0s"):
            led = replicas.lease()
        load.wait_for_cut()
    load.check_none_lost()
    assert took <= timedelta(seconds=AFTER_A_KILL + slowness), (took, slowness)
    assert lease["leaseTransitions"] == term + 1
    successor = str(led["holderIdentity"]).partition("_")[0]
    assert successor != leader, "the process that starts again in the same pod waits like any other"
    listed = [e["objectRef"]["resource"] for e in replicas.requests(successor, killed) if e["verb"] == "list"]
    assert not {"inferenceservices", "devicepools", "nodes", "modelprofiles"} & set(listed)


def test_when_the_leader_is_drained_the_standby_leads_within_2_s(trial: Trial, replicas: Replicas) -> None:
    """The signal is that of the kubelet to a pod that is evicted."""
    leader = replicas.settled()
    holder, slowness = replicas.lease()["holderIdentity"], replicas.slowness()
    with trial.load("edge-a", rate=2) as load:
        drained = replicas.signal(leader, signal.SIGTERM)
        lease = replicas.followed(holder)
        took = time_of(lease["acquireTime"]) - drained
        with trial.with_fields(autonomy="2h0m0s"):
            pass
        load.wait_for_cut()
    load.check_none_lost()
    assert took <= timedelta(seconds=AFTER_A_DRAIN + slowness), (took, slowness)
    assert took < timedelta(seconds=RETRY + 10), "it did not wait for the Lease to end"


def test_what_a_leader_that_was_stopped_between_decision_and_write_sends_late_changes_nothing(
    trial: Trial, replicas: Replicas
) -> None:
    leader = replicas.settled()
    holder = replicas.lease()["holderIdentity"]
    stop = "import pathlib; p = pathlib.Path('/tmp/stop'); "

    def stopped() -> str:
        look = "import pathlib; p = pathlib.Path('/tmp/stopped'); print(p.read_text() if p.exists() else '')"
        return replicas.run(leader, look).strip()

    with trial.load("edge-a", rate=2) as load:
        replicas.run(leader, stop + "p.touch()")
        try:
            trial.patch({"autonomy": "4h0m0s"})
            trial.wait("a write that waits", lambda: bool(stopped()))
            late = stopped()
            replicas.signal(leader, signal.SIGSTOP)
            try:
                replicas.followed(holder)
                trial.wait("the change", lambda: trial.carries_out({"autonomy": "4h0m0s"}))
                trial.patch({"autonomy": "5h0m0s"})
                trial.wait("the next change", lambda: trial.carries_out({"autonomy": "5h0m0s"}))
                replicas.run(leader, stop + "p.unlink()")
            finally:
                continued = replicas.signal(leader, signal.SIGCONT)

            def sent() -> bool:
                return any(verb == "patch" for verb, _, _ in replicas.writes(leader, continued))

            trial.wait(f"the late {late}", sent)
            replicas.settled()
            written = {node: p["spec"].get("autonomy") for node, p in trial.placements().items()}
        finally:
            trial.patch({"autonomy": None})
        load.wait_for_cut()
    load.check_none_lost()
    statuses = {code for _, _, code in replicas.writes(leader, continued)}
    assert statuses == {409}, replicas.writes(leader, continued)
    assert set(written.values()) == {"5h0m0s"}, written
