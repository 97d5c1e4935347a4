"""The objects of the benchmark: nodes, pools, namespaces, and services that share them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

Document = dict[str, Any]
GROUP: Final = "edge-intelligence.io"
API: Final = f"{GROUP}/v1alpha1"
OPERATOR_NAMESPACE: Final = "edge-intelligence"
KWOK_ANNOTATION: Final = "kwok.x-k8s.io/node"
_POOL, _PAIR, _CLOUD = "bench/pool", "bench/pair", "bench/cloud"
EDGE_CLASS, CLOUD_CLASS = "camera", "cloud"
LATENCY_MS: Final = 200
"""Deadline of each service before the first change. A change adds 1 ms."""
_ROOM: Final = {"cpu": "64", "memory": "256Gi", "pods": "1000"}


@dataclass(frozen=True, slots=True)
class Scale:
    """How many objects there are. Each service has two entry nodes: one of the pairs of its pool."""

    services: int
    nodes: int = 1000
    pools: int = 20
    namespaces: int = 50
    models: int = 100

    @property
    def pairs(self) -> int:
        """Pairs of nodes of a pool."""
        return self.nodes // self.pools // 2


def small(services: int) -> Scale:
    """Returns a scale with which the benchmark is checked, with as many services on each node."""
    return Scale(services, nodes=40, pools=4, namespaces=5, models=10)


def nodes(scale: Scale) -> Iterator[Document]:
    """Yields the nodes, and one of the class of the Triton servers, which no pool has as an entry node."""
    for number in range(scale.nodes):
        within = number // scale.pools
        yield _node(
            f"node-{number}", {_POOL: f"pool-{number % scale.pools}", _PAIR: f"{within % scale.pairs}"}
        )
    yield _node("cloud", {_CLOUD: "true"})


def pools(scale: Scale, port: int) -> Iterator[Document]:
    """Yields the DevicePools, each with a Triton server of its own. port: of all of them."""
    for number in range(scale.pools):
        spec = {
            "nodes": [{"tier": "Edge", "deviceClass": EDGE_CLASS, "nodeSelector": {_POOL: f"pool-{number}"}}],
            "tritonServers": [
                {
                    "name": "cloud",
                    "httpAddress": f"127.0.1.{number + 1}:{port}",
                    "deviceClass": CLOUD_CLASS,
                    "backend": "onnxruntime",
                    "nodeSelector": {_CLOUD: "true"},
                }
            ],
        }
        yield {
            "apiVersion": API,
            "kind": "DevicePool",
            "metadata": {"name": f"pool-{number}"},
            "spec": spec,
        }


def namespaces(scale: Scale) -> Iterator[Document]:
    """Yields the namespaces of the services, and the operator's."""
    for name in (OPERATOR_NAMESPACE, *(f"team-{number}" for number in range(scale.namespaces))):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def services(scale: Scale) -> Iterator[Document]:
    """Yields the InferenceServices.

    Those of a namespace are in two pools, in turn, and go round the pairs of nodes there.
    """
    for number in range(scale.services):
        team, index = number % scale.namespaces, number // scale.namespaces
        pool = (team + 7 * (index % 2)) % scale.pools
        pair = (team // scale.pools + index // 2) % scale.pairs
        yield {
            "apiVersion": API,
            "kind": "InferenceService",
            "metadata": {"name": f"service-{number}", "namespace": f"team-{team}"},
            "spec": {
                "model": {"storageUri": f"store://{model_file(number % scale.models)}"},
                "slo": {"latency": latency(0), "percentile": 95},
                "devicePool": f"pool-{pool}",
                "entryNodes": {"nodeSelector": {_POOL: f"pool-{pool}", _PAIR: f"{pair}"}},
            },
        }


def latency(change: int) -> str:
    """Returns the deadline of a service after so many changes."""
    return f"{LATENCY_MS + change}ms"


def changes_of(latency_text: str) -> int:
    """Returns after how many changes a service has this deadline."""
    unit = 1 if latency_text.endswith("ms") else 1000
    return round(float(latency_text.removesuffix("ms").removesuffix("s")) * unit) - LATENCY_MS


def model_file(number: int) -> str:
    """Returns the name of a model's file in the store."""
    return f"model-{number}/model.onnx"


def digest(content: str) -> str:
    """Returns the digest of a file with this content."""
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def _node(name: str, labels: dict[str, str]) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels | {"kubernetes.io/hostname": name},
            "annotations": {KWOK_ANNOTATION: "fake"},
        },
        "status": {"allocatable": _ROOM, "capacity": _ROOM},
    }
