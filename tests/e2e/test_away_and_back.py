"""A node that boots without the control plane serves from its disk until Kubernetes is back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.clusters import Entrance
from trials import Document, Load, Trial

pytestmark = pytest.mark.extended

NODE = "edge-b"
HTTP, GRPC = 30080, 30081
OPERATOR = ("deploy/edge-operator", "-n", "edge-intelligence")
GROUP = "/spec/nodes/1/survivesReboot"  # of the cameras
UNIT = "edge-runtime.service"
SERVED = 20  # responses from the disk, and from the pod after the hand-over
BACK = 300.0  # seconds until the node's pod is expected back


@contextmanager
def surviving(trial: Trial, autonomy: str) -> Iterator[None]:
    """The cameras have the unit, and the example declares ports of nodes; without both at the end."""
    kubectl = trial.cluster.kubectl
    kubectl("set", "env", *OPERATOR, "EDGE_KUBELET_DIR=/run/node/kubelet")
    kubectl("rollout", "status", *OPERATOR, "--timeout=180s")
    exposure = {"type": "NodePort", "httpPort": HTTP, "grpcPort": GRPC}
    try:
        with trial.with_fields(autonomy=autonomy):
            trial.patch({"exposure": exposure})
            survive(trial, value=True)
            trial.wait("the units", lambda: installed(trial)["status"] == "True")
            ports = {"hostPorts": {"http": HTTP, "grpc": GRPC}}
            trial.wait("the ports in the Placement", lambda: carries_out(trial, ports))
            yield
    finally:
        trial.bed.link(NODE).restore()
        survive(trial, value=False)
        trial.patch({"exposure": None})
        trial.wait("no unit on the node", lambda: not unit_files(trial) and not jobs(trial), BACK)


def survive(trial: Trial, *, value: bool) -> None:
    change = json.dumps([{"op": "add", "path": GROUP, "value": value}])
    trial.cluster.kubectl("patch", "devicepool", "factory", "--type", "json", "-p", change)


def installed(trial: Trial) -> Document:
    """The pool's condition about the units; one without a status while there is none."""
    conditions = trial.get("devicepool", "factory").get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == "SurvivesReboot"), {"status": ""})


def jobs(trial: Trial) -> list[str]:
    labels = "app.kubernetes.io/component=host-unit"
    found = trial.cluster.kubectl("get", "jobs", "-n", "edge-intelligence", "-l", labels, "-o", "json")
    return [each["metadata"]["name"] for each in json.loads(found)["items"]]


def unit_files(trial: Trial) -> list[Path]:
    """What the unit has on the node's disk."""
    folder = trial.bed.layout.state / "nodes" / NODE
    units = list((folder / "units").rglob("*.service"))
    return [*units, *(folder / "edge-runtime").glob("*")]


def carries_out(trial: Trial, fields: Document) -> bool:
    placement = trial.placements()[NODE]
    status = placement.get("status", {})
    return (
        all(placement["spec"].get(name) == value for name, value in fields.items())
        and bool(status.get("loaded"))
        and status.get("observedGeneration") == placement["metadata"]["generation"]
    )


def unit(trial: Trial) -> Document:
    """How the node's machine reports the unit's program: running, starts, exit."""
    found: Document = trial.bed.status()["daemons"].get(f"edge-runtime-{NODE}", {})
    return found


def own_address(trial: Trial) -> Entrance:
    """The node's own address at the declared ports, for a client on the node."""
    return Entrance(trial.bed.in_node(NODE), trial.bed.topology.address(NODE), HTTP, GRPC)


def lost(load: Load) -> list[Document]:
    """The requests without a response of those sent after the first response."""
    first = next(answer for answer in load.answers if "error" not in answer)
    return [each for each in load.answers if "error" in each and each["sent"] > first["sent"]]


def wait_for_content(load: Load, what: str, seconds: float = BACK) -> Document:
    return load.wait_for(what, lambda answer: "error" not in answer, seconds)


def test_a_node_that_boots_offline_serves_from_its_disk_and_hands_over_without_a_lost_request(
    trial: Trial,
) -> None:
    at = own_address(trial)
    with trial.unlimited(), surviving(trial, "1h0m0s"):
        with trial.load(NODE, entrance=at) as before:
            wait_for_content(before, "content of the pod")
        trial.bed.node(NODE).reboot(offline=True)
        # Clients of the node start with it, and try until they are served.
        with (
            trial.load(NODE, rate=5, entrance=at) as http,
            trial.load(NODE, rate=5, protocol="grpc", entrance=at) as grpc,
        ):
            for load in (http, grpc):
                for _ in range(SERVED):
                    assert wait_for_content(load, "content from the disk")["cut"] == "local"
            assert unit(trial)["running"]
            trial.bed.link(NODE).restore()
            ended = {"running": False, "starts": 1, "exit": 0}
            trial.wait("the hand-over", lambda: unit(trial) == ended, BACK)
            for load in (http, grpc):
                for _ in range(SERVED):
                    wait_for_content(load, "content of the pod")
        log = (trial.bed.layout.logs / f"edge-runtime-{NODE}.log").read_text()
        assert [lost(load) for load in (http, grpc)] == [[], []], f"{log}\n{trial.state()}"
        for phase in ("StandingIn", "HandingOver", "Draining", "Done"):
            assert f"default: {phase} " in log, log


def test_a_node_that_boots_offline_after_its_autonomy_refuses_until_it_hears_from_the_api_server(
    trial: Trial,
) -> None:
    with trial.unlimited(), surviving(trial, "20s"):
        trial.bed.node(NODE).reboot(offline=True)
        with trial.load(NODE, rate=2, entrance=own_address(trial)) as load:
            refused = load.wait_for("a refusal", lambda a: "autonomy" in a.get("error", ""))
            assert "longer than the autonomy of 20s" in refused["error"]
            trial.bed.link(NODE).restore()
            wait_for_content(load, "content of the pod")
