"""The manifests of tenants, their namespaces and services. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Document = dict[str, Any]
_API: Final = "edge-intelligence.io/v1alpha1"
_NAME: Final = "kubernetes.io/metadata.name"


def namespace(name: str) -> Document:
    """Returns a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def tenant(name: str, namespace: str, weight: float, stop_policy: str = "None") -> Document:
    """Returns a Tenant of one namespace."""
    spec = {
        "namespaceSelector": {"matchLabels": {_NAME: namespace}},
        "fairSharing": {"weight": f"{weight:g}"},
        "stopPolicy": stop_policy,
    }
    return {"apiVersion": _API, "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def service(
    name: str,
    namespace: str,
    *,
    pool: str,
    file: str,
    latency: float,
    rate: float,
    entries: Mapping[str, str] | None = None,
) -> Document:
    """Returns a service that can exit early and runs on its entry nodes alone.

    file: in the model store. latency: of the SLO, in seconds. rate: requests per second at each entry node.
    entries: labels of the entry nodes; None for all nodes of the pool.
    """
    spec: Document = {
        "model": {"storageUri": f"store://{file}"},
        "slo": {"latency": f"{round(latency * 1e3, 3):.12g}ms", "percentile": 95},
        "devicePool": pool,
        "mode": "RightSizingOnly",
        "load": {"rate": round(rate, 3)},
    }
    if entries is not None:
        spec["entryNodes"] = {"nodeSelector": dict(entries)}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": _API, "kind": "InferenceService", "metadata": metadata, "spec": spec}
