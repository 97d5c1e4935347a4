"""The manifests that the benchmark applies. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.pool.services import HOSTNAME, TRITON, Document
from edge_api.quantities import format_duration

POOL: Final = "bench-sharing"
SERVICE: Final = "camera"
_API: Final = "edge-intelligence.io/v1alpha1"
_NAME: Final = "kubernetes.io/metadata.name"


def namespace_of(tenant: str) -> str:
    """Returns the namespace of a tenant."""
    return f"bench-{tenant}"


def namespace(tenant: str) -> Document:
    """Returns the namespace of a tenant's services."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace_of(tenant)}}


def tenant(name: str, weight: float) -> Document:
    """Returns a Tenant of one namespace."""
    spec = {
        "namespaceSelector": {"matchLabels": {_NAME: namespace_of(name)}},
        "fairSharing": {"weight": f"{weight:g}"},
    }
    return {"apiVersion": _API, "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def pool(node: str, device_class: str) -> Document:
    """Returns a pool of one node."""
    group = {"deviceClass": device_class, "nodeSelector": {HOSTNAME: node}}
    spec = {"nodes": [group], "tritonServers": [TRITON]}
    return {"apiVersion": _API, "kind": "DevicePool", "metadata": {"name": POOL}, "spec": spec}


def service(tenant: str, *, file: str, latency: float, rate: float, output: str = "") -> Document:
    """Returns a tenant's service, which never sends a request on.

    latency: of the SLO, in seconds. rate: requests per second at the node. output: of the model, if it is to
    be the only exit; all that the file names otherwise.
    """
    exits = {"exits": [{"name": "full", "output": output, "accuracy": 1.0}]} if output else {}
    spec: Mapping[str, Any] = {
        "model": {"storageUri": f"store://{file}", **exits},
        "slo": {"latency": format_duration(latency), "percentile": 95},
        "devicePool": POOL,
        "mode": "RightSizingOnly",
        "load": {"rate": rate},
    }
    metadata = {"name": SERVICE, "namespace": namespace_of(tenant)}
    return {"apiVersion": _API, "kind": "InferenceService", "metadata": metadata, "spec": dict(spec)}
