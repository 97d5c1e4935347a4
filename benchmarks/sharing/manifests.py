"""The manifests that the benchmark applies. Pure."""

from __future__ import annotations

from typing import Final

from benchmarks.pool.services import HOSTNAME, TRITON, Document
from demo.sharing import manifests

POOL: Final = "bench-sharing"
SERVICE: Final = "camera"
_API: Final = "edge-intelligence.io/v1alpha1"


def namespace_of(tenant: str) -> str:
    """Returns the namespace of a tenant."""
    return f"bench-{tenant}"


def namespace(tenant: str) -> Document:
    """Returns the namespace of a tenant's services."""
    return manifests.namespace(namespace_of(tenant))


def tenant(name: str, weight: float) -> Document:
    """Returns a Tenant of one namespace."""
    return manifests.tenant(name, namespace_of(name), weight)


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
    found = manifests.service(SERVICE, namespace_of(tenant), pool=POOL, file=file, latency=latency, rate=rate)
    if output:
        found["spec"]["model"]["exits"] = [{"name": "full", "output": output, "accuracy": 1.0}]
    return found
