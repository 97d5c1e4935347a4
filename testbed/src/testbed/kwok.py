"""Simulated nodes: kwok makes them Ready and their pods Running, and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testbed.layout import Layout
from testbed.processes import DaemonSpec
from testbed.topology import LABELS

STAGES = Path(__file__).with_name("manifests") / "kwok.yaml"
NODE_LABEL = f"{LABELS}/simulated"
_ANNOTATION = "kwok.x-k8s.io/node"
# Not among the addresses of real pods.
_PODS = "10.250.0.0/16"
_ROOM = {"cpu": "1000", "memory": "4Ti", "pods": "100000"}


def object_list(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns a list object, which kubectl applies as a whole."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def node(number: int) -> dict[str, Any]:
    """Returns the Node object of a simulated node. It has no device class, so that only pools that name the
    label of simulated nodes select it.
    """
    name = f"simulated-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {NODE_LABEL: "true", "kubernetes.io/hostname": name},
            "annotations": {_ANNOTATION: "fake"},
        },
        "status": {"allocatable": _ROOM, "capacity": _ROOM},
    }


def daemons(layout: Layout, address: str, binary: Path) -> list[DaemonSpec]:
    """Returns kwok's daemon. address: of the machine in whose network it runs."""
    argv = [
        str(binary),
        f"--kubeconfig={layout.kubeconfig}",
        f"--config={STAGES}",
        f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake",
        "--node-lease-duration-seconds=40",
        f"--node-ip={address}",
        f"--cidr={_PODS}",
    ]
    return [DaemonSpec("kwok", argv, env={"GOMAXPROCS": "2"})]
