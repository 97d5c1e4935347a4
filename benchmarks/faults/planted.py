"""The faults by name. Each is planted when its context is entered, and over when it is left."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from benchmarks.faults.ground import OPERATOR, TRITON
from benchmarks.faults.runs import During, Plant

_FLAPS: Final = 5
_LOSS: Final = 0.01
_AWAY_SECONDS: Final = 60.0
_OPERATOR: Final = "app.kubernetes.io/name=edge-operator"
_TRITON: Final = "app.kubernetes.io/name=triton"
_NODE: Final = "edge-b"


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
    node = during.ground.bed.node(_NODE)
    during.is_off(_NODE)
    node.kill()
    try:
        during.wait("the node NotReady", lambda: not _node_ready(during))
        during.flow(without=_NODE)
        yield
    finally:
        node.reboot()


@contextmanager
def node_rebooted(during: During) -> Iterator[None]:
    """An entry node is power-cycled."""
    during.is_off(_NODE)
    during.ground.bed.node(_NODE).reboot()
    yield


@contextmanager
def triton_killed(during: During) -> Iterator[None]:
    """Triton's process is killed; the kubelet starts it again, without models."""
    killed = _signalled(during.ground.pids(TRITON, _TRITON, "tritonserver"), signal.SIGKILL)
    _require(killed, "Triton")
    during.flow()
    yield


@contextmanager
def triton_hung(during: During) -> Iterator[None]:
    """Triton accepts connections without responding."""
    with _stopped(during.ground.pids(TRITON, _TRITON, "tritonserver"), "Triton"):
        during.flow()
        yield


@contextmanager
def store_gone(during: During) -> Iterator[None]:
    """The Service of the model store has no endpoints. Its pod stays, as does what it holds."""
    ground = during.ground
    patch = ("patch", "service", "model-store", "-n", OPERATOR, "--type=merge", "-p")
    selector = ground.get("service", "model-store", "-n", OPERATOR)["spec"]["selector"]
    ground.kubectl(*patch, json.dumps({"spec": {"selector": selector | {"planted": "fault"}}}))
    try:
        during.flow()
        yield
    finally:
        ground.kubectl(*patch, json.dumps({"spec": {"selector": selector | {"planted": None}}}))


@contextmanager
def api_server_away(during: During) -> Iterator[None]:
    """The API server hangs for longer than a Lease holds."""
    with _stopped(during.ground.daemons("kube-apiserver"), "the API server"):
        until = time.monotonic() + _AWAY_SECONDS
        while time.monotonic() < until:
            during.take(1.0)
        yield


@contextmanager
def etcd_restarted(during: During) -> Iterator[None]:
    """The process of etcd is killed and started again."""
    killed = _signalled(during.ground.daemons("etcd"), signal.SIGKILL)
    _require(killed, "etcd")
    during.flow()
    yield


@contextmanager
def operator_killed(during: During) -> Iterator[None]:
    """The operator's processes are killed while it carries out a change of the service's spec."""
    ground = during.ground
    change = '{"spec": {"autonomy": "%s"}}'
    patch = ("patch", "inferenceservice", ground.service, "-n", ground.namespace, "--type=merge", "-p")
    ground.kubectl(*patch, change % "90m")
    try:
        _require(_signalled(ground.pids(OPERATOR, _OPERATOR), signal.SIGKILL), "the operator")
        during.wait("the change carried out", lambda: _autonomy(during) == {"1h30m0s"})
    finally:
        ground.kubectl(*patch, '{"spec": {"autonomy": null}}')
    yield


FAULTS: Final[dict[str, Plant]] = {
    "link cut": link_cut,
    "link flapping": link_flapping,
    "link at 1 % loss": link_lossy,
    "edge node killed": node_killed,
    "edge node rebooted": node_rebooted,
    "Triton killed": triton_killed,
    "Triton hung": triton_hung,
    "model store gone": store_gone,
    "API server away": api_server_away,
    "etcd restarted": etcd_restarted,
    "operator killed": operator_killed,
}
FIXED: Final = ("link cut", "Triton killed", "model store gone", "etcd restarted", "operator killed")
"""The faults that `make test` plants, once each."""


def _node_ready(during: During) -> bool:
    conditions = during.ground.get("node", _NODE)["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _autonomy(during: During) -> set[str]:
    """What the Placements say that have been carried out; empty unless all have."""
    ground = during.ground
    items = ground.get("placements", "-n", ground.namespace)["items"]
    current = [
        each for each in items
        if each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]
    ]  # fmt: skip
    return {str(each["spec"].get("autonomy")) for each in current} if len(current) == len(items) else set()


def _signalled(pids: Sequence[int], number: signal.Signals) -> int:
    """Returns how many processes got the signal."""
    sent = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            sent += 1
    return sent


def _require(count: int, what: str) -> None:
    if not count:
        raise RuntimeError(f"no process of {what} was found")


@contextmanager
def _stopped(pids: Sequence[int], what: str) -> Iterator[None]:
    _require(_signalled(pids, signal.SIGSTOP), what)
    try:
        yield
    finally:
        _signalled(pids, signal.SIGCONT)
