"""Faults of links and of whole entry nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.faults.ground import OPERATOR, POOL, Ground
from benchmarks.faults.runs import During, Fault, Site, fast_nodes
from demo.clusters import Entrance

NODE: Final = "edge-b"
"""The entry node that faults of one node are about."""
_CLASS: Final = "camera"
_FLAPS: Final = 5
_LOSS: Final = 0.01
_PORTS: Final = (30080, 30081)
_KUBELET: Final = "EDGE_KUBELET_DIR"
_FOLDER: Final = "/run/node/kubelet"
"""That of the testbed's nodes."""
_BACK: Final = 300.0
_SERVED: Final = 20


@contextmanager
def link_cut(during: During) -> Iterator[None]:
    """All entry nodes lose their links to the cloud."""
    during.ground.cluster.set_links(0.0)
    try:
        during.flow()
        yield
    finally:
        during.ground.cluster.set_links(None)


@contextmanager
def link_flapping(during: During) -> Iterator[None]:
    """The links go down and come back, several times."""
    try:
        for _ in range(_FLAPS):
            during.ground.cluster.set_links(0.0)
            during.flow(3)
            during.ground.cluster.set_links(None)
            during.flow(3)
        yield
    finally:
        during.ground.cluster.set_links(None)


@contextmanager
def link_lossy(during: During) -> Iterator[None]:
    """Every link loses one packet in a hundred, in both directions."""
    bed = during.ground.bed
    try:
        for node in during.ground.nodes:
            bed.link(node).set_loss(_LOSS)
        during.flow()
        yield
    finally:
        for node in during.ground.nodes:
            bed.link(node).set_loss(None)


@contextmanager
def node_killed(during: During) -> Iterator[None]:
    """An entry node loses its power, until Kubernetes has noticed it."""
    node = during.ground.bed.node(NODE)
    during.is_off(NODE)
    node.kill()
    try:
        during.wait("the node NotReady", lambda: not _node_ready(during.ground))
        during.flow(without=NODE)
        yield
    finally:
        node.reboot()


@contextmanager
def node_rebooted(during: During) -> Iterator[None]:
    """An entry node is power-cycled."""
    during.is_off(NODE)
    during.ground.bed.node(NODE).reboot()
    yield


@contextmanager
def node_rebooted_offline(during: During) -> Iterator[None]:
    """A node with `survivesReboot` is power-cycled while its link is cut, and serves from its disk."""
    during.is_off(NODE)
    during.ground.bed.node(NODE).reboot(offline=True)
    started = time.monotonic()
    try:
        during.wait("a response from the disk", lambda: during.serves(NODE, started), _BACK)
        during.is_back(NODE, started)
        during.flow(_SERVED)
        yield
    finally:
        during.ground.bed.link(NODE).restore()


@contextmanager
def surviving(ground: Ground) -> Iterator[Site]:
    """The cameras have the unit, and the client of one uses the node's own address, at the declared port."""
    group = next(
        number
        for number, each in enumerate(ground.get("devicepool", POOL)["spec"]["nodes"])
        if each["deviceClass"] == _CLASS
    )

    def survive(*, value: bool) -> None:
        path = f"/spec/nodes/{group}/survivesReboot"
        ground.patch(f"devicepool/{POOL}", [{"op": "add", "path": path, "value": value}], "json")

    operator = ("deploy/edge-operator", "-n", OPERATOR)
    http, grpc = _PORTS
    with ground.unlimited():
        before = _variable(ground, _KUBELET)
        ground.kubectl("set", "env", *operator, f"{_KUBELET}={_FOLDER}")
        ground.kubectl("rollout", "status", *operator, "--timeout=180s")
        try:
            exposure = {"type": "NodePort", "httpPort": http, "grpcPort": grpc}
            ground.change(exposure=exposure, autonomy="1h0m0s")
            survive(value=True)
            ground.wait("the units", lambda: _installed(ground))
            ports = {"http": http, "grpc": grpc}
            # Only nodes that survive reboots have them: the unit listens there in place of the pod.
            ground.wait("the ports", lambda: ground.carried_out(NODE, hostPorts=ports, autonomy="1h0m0s"))
            address = ground.bed.topology.address(NODE)
            at = Entrance(ground.bed.in_node(NODE), address, http, grpc)
            yield Site(ground, entrances={NODE: at}, settled={"the unit has ended": lambda: _ended(ground)})
        finally:
            ground.bed.link(NODE).restore()
            survive(value=False)
            ground.change(exposure=None, autonomy=None)
            ground.wait("no unit on the nodes", lambda: not ground.units(), _BACK)
            ground.kubectl("set", "env", *operator, f"{_KUBELET}={before}")
            ground.kubectl("rollout", "status", *operator, "--timeout=180s")


def _variable(ground: Ground, name: str) -> str:
    """A variable of the operator."""
    template = ground.get("deployment", "edge-operator", "-n", OPERATOR)["spec"]["template"]
    return next(
        str(each["value"]) for each in template["spec"]["containers"][0]["env"] if each["name"] == name
    )


def _installed(ground: Ground) -> bool:
    conditions = ground.get("devicepool", POOL).get("status", {}).get("conditions", [])
    return any(c["type"] == "SurvivesReboot" and c["status"] == "True" for c in conditions)


def _ended(ground: Ground) -> bool:
    """Whether the unit's program does not run at the node: before the reboot, and after the hand-over."""
    return not ground.bed.status()["daemons"].get(f"edge-runtime-{NODE}", {}).get("running", False)


def _node_ready(ground: Ground) -> bool:
    conditions = ground.get("node", NODE)["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


FAULTS: Final[dict[str, Fault]] = {
    "link cut": Fault(link_cut),
    "link flapping": Fault(link_flapping),
    "link at 1 % loss": Fault(link_lossy),
    "edge node killed": Fault(node_killed, fast_nodes),
    "edge node rebooted": Fault(node_rebooted, fast_nodes),
    "edge node rebooted offline": Fault(node_rebooted_offline, surviving),
}
