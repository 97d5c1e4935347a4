"""Faults of what nodes hold: their disks, their memory and their slices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.faults import disks
from benchmarks.faults.ground import OPERATOR, Ground
from benchmarks.faults.links import NODE
from benchmarks.faults.models import hungry, variant
from benchmarks.faults.runs import During, Fault, Site, fast_nodes
from demo import installation
from demo.services import not_carried_out

_CACHE: Final = "/var/cache/edge"
_DATA: Final = "/data"
_STORE: Final = "app.kubernetes.io/name=model-store"
_RUNTIME: Final = "edge-runtime"
_HUNGRY: Final = "hungry"
_HUNGRY_FILE: Final = f"faults/{_HUNGRY}.onnx"
_ROOM: Final = 160 << 20
"""Bytes that a runtime can use beside what it uses: more than a trial's process takes, less than its load."""
_MEASURED: Final = 600.0
_LIMITS: Final = ("memory.limit_in_bytes", "memory.max")
_USED: Final = {"memory.limit_in_bytes": "memory.usage_in_bytes", "memory.max": "memory.current"}


@contextmanager
def node_disk_full(during: During) -> Iterator[None]:
    """The disk of a node has no room for slices and Placements; changes are carried out all the same."""
    ground = during.ground
    with disks.filled(_process(ground), _CACHE):
        with during.changed():
            during.flow()
        yield


@contextmanager
def out_of_memory(during: During) -> Iterator[None]:
    """A model takes more memory at its load than its node has left; the node keeps serving the others."""
    ground = during.ground
    with _limited(_process(ground), _ROOM):
        ground.kubectl("apply", "-f", "-", text=json.dumps(_hungry(ground)))
        during.wait("a failed load", lambda: _failed(ground), _MEASURED)
        during.flow()
        yield
    ground.kubectl("delete", "inferenceservice", _HUNGRY, "-n", ground.namespace, "--timeout=120s")


def _failed(ground: Ground) -> bool:
    """Whether the node reports that it cannot load the model."""
    placements = ground.get("placements", "-n", ground.namespace)["items"]
    reported = [each.get("status", {}) for each in placements if each["spec"].get("service") == _HUNGRY]
    return any(not each.get("loaded") and each.get("reason") for each in reported)


def _hungry(ground: Ground) -> dict[str, Any]:
    body = ground.get("inferenceservice", ground.service, "-n", ground.namespace)
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": {"name": _HUNGRY, "namespace": ground.namespace},
        "spec": {
            "model": {"storageUri": f"store://{_HUNGRY_FILE}"},
            "slo": {"latency": "30s"},
            "devicePool": body["spec"]["devicePool"],
            "mode": "LocalOnly",
            "entryNodes": {"nodeSelector": {"kubernetes.io/hostname": NODE}},
        },
    }


@contextmanager
def with_hungry(ground: Ground) -> Iterator[Site]:
    """The model in the store, and nodes that measure it soon."""
    with ground.unlimited():
        installation.upload(ground.cluster, variant(ground, _HUNGRY, hungry), _HUNGRY_FILE)
        try:
            yield Site(ground)
        finally:
            gone = ("--ignore-not-found", "--timeout=120s")
            ground.kubectl("delete", "inferenceservice", _HUNGRY, "-n", ground.namespace, *gone)


@contextmanager
def _limited(process: int, room: int) -> Iterator[None]:
    """A container can use only so many bytes more than now. The kernel ends what exceeds it."""
    folder = _memory_group(process)
    (name,) = [name for name in _LIMITS if (folder / name).exists()]
    before = (folder / name).read_text().strip()
    used = int((folder / _USED[name]).read_text())
    (folder / name).write_text(str(used + room))
    try:
        yield
    finally:
        (folder / name).write_text("-1" if before.isdigit() and int(before) > 1 << 60 else before)


def _memory_group(process: int) -> Path:
    """The folder of the control group, v1 or v2, that accounts for the memory of a process."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{process}/cgroup").read_text().splitlines()]
    groups = {controllers: path.lstrip("/") for _, controllers, path in lines}
    for controllers, path in groups.items():
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path
    return Path("/sys/fs/cgroup") / groups[""]


@contextmanager
def slices_corrupted(during: During) -> Iterator[None]:
    """A byte of each slice of the example is changed, on the disk of a node and in the model store."""
    ground = during.ground
    slices = _slices(ground)
    ground.change(mode="LocalOnly")
    try:
        during.wait("local routes alone", lambda: _in_mode(ground, "LocalOnly"))
        (store, *_) = ground.pids(OPERATOR, _STORE, _RUNTIME)
        at_node = disks.damaged(_process(ground), _CACHE, slices)
        at_store = disks.damaged(store, f"{_DATA}/blobs", slices)
        if not at_node or not at_store:
            during.broke(f"no slice was found to damage: {len(at_node)} at {NODE}, {len(at_store)} stored")
        # A new pod has an empty disk and takes what it needs from the store; the old one serves until then.
        runtime = installation.runtime_service(ground.cluster, NODE, ground.namespace)
        ground.kubectl("rollout", "restart", f"deployment/{runtime}", "-n", ground.namespace)
        during.flow(3)
    finally:
        ground.change(mode="Auto")
    yield


def _process(ground: Ground) -> int:
    """The runtime of the node."""
    runtime = installation.runtime_service(ground.cluster, NODE, ground.namespace)
    (process, *_) = ground.pids(ground.namespace, f"edge-intelligence.io/runtime={runtime}", _RUNTIME)
    return process


def _in_mode(ground: Ground, mode: str) -> bool:
    return not not_carried_out(installation.placements(ground.cluster), mode)


def _slices(ground: Ground) -> frozenset[str]:
    """Digests of the slices in the tables of the example, without the whole model, as files are named."""
    service = ground.get("inferenceservice", ground.service, "-n", ground.namespace)
    model = service["status"]["model"]["digest"]
    items = ground.get("placements", "-n", ground.namespace)["items"]
    stages = [stage for each in items for route in each["spec"]["routes"] for stage in route["stages"]]
    digests = {stage["slice"]["digest"] for stage in stages} - {model}
    return frozenset(digest.removeprefix("sha256:") for digest in digests)


FAULTS: Final[dict[str, Fault]] = {
    "node disk full": Fault(node_disk_full),
    "out of memory on load": Fault(out_of_memory, with_hungry),
    "slices corrupted": Fault(slices_corrupted, fast_nodes),
}
