"""Faults of Triton servers and of the model store."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.faults import disks
from benchmarks.faults.ground import OPERATOR, OUTSIDE, POOL, SECOND, TRITON, Ground
from benchmarks.faults.models import variant
from benchmarks.faults.processes import require, signalled, stopped
from benchmarks.faults.runs import During, Fault, Site
from demo import installation
from demo.errors import StepFailed

_TRITON: Final = "app.kubernetes.io/name=triton"
_STORE: Final = "app.kubernetes.io/name=model-store"
_DATA: Final = "/data"
_UPLOADED: Final = "faults/uploaded.onnx"
_FULL: Final = "DiskFull"


@contextmanager
def triton_killed(during: During) -> Iterator[None]:
    """Triton's process is killed; the kubelet starts it again, without models."""
    require(signalled(during.ground.pids(TRITON, _TRITON, "tritonserver"), signal.SIGKILL), "Triton")
    during.flow()
    yield


@contextmanager
def triton_hung(during: During) -> Iterator[None]:
    """Triton accepts connections without responding."""
    with stopped(during.ground.pids(TRITON, _TRITON, "tritonserver"), "Triton"):
        during.flow()
        yield


@contextmanager
def triton_lost(during: During) -> Iterator[None]:
    """The one of two Triton servers that is in use is lost with its models; routes go to the other."""
    ground = during.ground
    used = min(_servers(ground))
    lost = OUTSIDE if used == SECOND else TRITON
    deployment = (f"deployment/{lost}", "-n", TRITON)
    ground.kubectl("scale", "--replicas=0", *deployment)
    try:
        label = f"app.kubernetes.io/name={lost}"
        ground.kubectl("delete", "pod", "-n", TRITON, "-l", label, "--force", "--grace-period=0")
        during.wait("routes to the other server", lambda: _without(ground, used))
        during.flow()
        yield
    finally:
        ground.kubectl("scale", "--replicas=1", *deployment)
        ground.kubectl("rollout", "status", *deployment, "--timeout=180s")


def _servers(ground: Ground) -> set[str]:
    """The Triton servers to which routes lead."""
    return {tail.partition("/")[0] for tail in ground.used_tails()}


def _without(ground: Ground, server: str) -> bool:
    """Whether routes lead to Triton servers, and none to this one."""
    found = _servers(ground)
    return bool(found) and server not in found


@contextmanager
def two_tritons(ground: Ground) -> Iterator[Site]:
    """A second Triton server of the first one's class, in the pool."""
    servers = ground.get("devicepool", POOL)["spec"]["tritonServers"]
    address = ground.bed.start_outside_triton(ground.say)
    second = {name: value for name, value in servers[0].items() if name != "grpcAddress"}
    second |= {"name": SECOND, "httpAddress": address}
    try:
        ground.patch(f"devicepool/{POOL}", {"spec": {"tritonServers": [*servers, second]}})
        ground.wait("the example on both servers", lambda: not ground.unsettled(ground.conditions()))
        yield Site(ground)
    finally:
        ground.patch(f"devicepool/{POOL}", {"spec": {"tritonServers": servers}})
        ground.wait("routes to the first server", lambda: _servers(ground) == {servers[0]["name"]})
        ground.wait("no former server", lambda: not _former(ground))
        ground.bed.stop_outside_triton()


def _former(ground: Ground) -> list[object]:
    found: list[object] = ground.get("devicepool", POOL)["status"].get("formerTritonServers", [])
    return found


@contextmanager
def store_gone(during: During) -> Iterator[None]:
    """The Service of the model store has no endpoints. Its pod stays, as does what it holds."""
    ground = during.ground
    selector = ground.get("service", "model-store", "-n", OPERATOR)["spec"]["selector"]

    def select(planted: str | None) -> None:
        change = {"spec": {"selector": selector | {"planted": planted}}}
        ground.patch("service/model-store", change, namespace=OPERATOR)

    select("fault")
    try:
        during.flow()
        yield
    finally:
        select(None)


@contextmanager
def store_full(during: During) -> Iterator[None]:
    """The disk of the model store has no room: an upload is refused with both numbers, and works later."""
    ground = during.ground
    file = variant(ground, "uploaded")
    (process, *_) = ground.pids(OPERATOR, _STORE, "edge-runtime")
    with disks.filled(process, _DATA):
        try:
            installation.upload(ground.cluster, file, _UPLOADED)
        except StepFailed as refusal:
            if "bytes are needed" not in str(refusal):
                during.broke(f"an upload to a full disk is refused as {_FULL}: {refusal}")
        else:
            during.broke("an upload to a full disk was accepted")
        ground.change(mode="CloudOnly")
        try:
            during.flow()
        finally:
            ground.change(mode="Auto")
        yield
    incoming = disks.listed(process, f"{_DATA}/incoming")
    if incoming:
        during.broke(f"left in the store's folder of incoming files: {', '.join(incoming)}")
    digest = installation.upload(ground.cluster, file, _UPLOADED)
    if not digest.startswith("sha256:"):
        during.broke(f"an upload after the fault: {digest}")


FAULTS: Final[dict[str, Fault]] = {
    "Triton killed": Fault(triton_killed),
    "Triton hung": Fault(triton_hung),
    "one of two Tritons lost": Fault(triton_lost, two_tritons),
    "model store gone": Fault(store_gone),
    "model store disk full": Fault(store_full),
}
