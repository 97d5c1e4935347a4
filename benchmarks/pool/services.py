"""The manifests that the benchmark applies. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Document = dict[str, Any]
NAMESPACE: Final = "bench-pool"
HOSTNAME: Final = "kubernetes.io/hostname"
_GROUP: Final = "edge-intelligence.io"
_CLASS: Final = f"{_GROUP}/device-class"
_API: Final = f"{_GROUP}/v1alpha1"
LATENCY_SECONDS: Final = 0.5
TRITON: Final = {
    "name": "cloud",
    "httpAddress": "triton.triton.svc.cluster.local:8000",
    "controlSecret": "triton-control",
    "deviceClass": "cloud",
    "backend": "python",
    "nodeSelector": {_CLASS: "cloud"},
}


def namespace() -> Document:
    """Returns the namespace of all services of the benchmark."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def pool(name: str, groups: Sequence[tuple[str, Mapping[str, str]]]) -> Document:
    """Returns a DevicePool of (device class, node selector), with the testbed's Triton server."""
    nodes = [{"deviceClass": device, "nodeSelector": dict(selector)} for device, selector in groups]
    return {
        "apiVersion": _API,
        "kind": "DevicePool",
        "metadata": {"name": name},
        "spec": {"nodes": nodes, "tritonServers": [TRITON]},
    }


def edge_pool() -> Document:
    """Returns the pool of the testbed's edge nodes."""
    return pool("bench", [(each, {_CLASS: each}) for each in ("gateway", "camera")])


def service(
    name: str,
    *,
    pool: str,
    file: str,
    mode: str = "Auto",
    entries: Mapping[str, str] | None = None,
    output: str = "",
) -> Document:
    """Returns an InferenceService of a model in the store.

    entries: labels of its entry nodes. output: of the model, if its file names no exits.
    """
    exits = {"exits": [{"name": "final", "output": output, "accuracy": 1.0}]} if output else {}
    spec: Document = {
        "model": {"storageUri": f"store://{file}", **exits},
        "slo": {"latency": f"{LATENCY_SECONDS * 1e3:g}ms", "percentile": 95},
        "devicePool": pool,
        "mode": mode,
    }
    if entries:
        spec["entryNodes"] = {"nodeSelector": dict(entries)}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": _API, "kind": "InferenceService", "metadata": metadata, "spec": spec}
