"""Pools of the operator's tests as values: services of one model on cameras, gateways and Triton servers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge_api import DevicePool, InferenceService, Placement
from edge_operator.pool_services import LinkKey, Pool, PooledService
from edge_operator.pools import PoolMember, entries, group_members, node_of
from edge_operator.runs import ServiceKey
from edge_operator.server_links import Link
from edge_operator.store import CodecAccuracies, ModelCard
from operator_objects import CARD, device_profile, node_body, pool_body, service_body

PROFILES = {
    "camera": device_profile("camera"),
    "gateway": device_profile("gateway", 0.5),
    "cloud": device_profile("cloud", 0.1),
    "far": device_profile("far", 0.05),
}


def members(cameras: int, gateways: int = 1, *, tier: str = "Edge", **node: Any) -> tuple[PoolMember, ...]:
    """Cameras and gateways. tier: of the cameras. node: what their Node objects have of cpu and memory."""
    bodies = [node_body(f"cam-{n}", "camera") for n in range(cameras)]
    bodies += [node_body(f"gate-{n}", "gateway") for n in range(gateways)]
    found = group_members(pool_spec(tier=tier), map(node_of, bodies))
    return tuple(replace(member, node=replace(member.node, **node)) for member in found)


def pool_spec(servers: Sequence[str] = ("cloud",), *, tier: str = "Edge", **server: Any) -> Any:
    """A DevicePool. servers: their names, which are those of their device classes."""
    body = pool_body()
    (known,) = body["spec"]["tritonServers"]
    body["spec"]["nodes"][1]["tier"] = tier
    body["spec"]["tritonServers"] = [
        known | {"name": name, "httpAddress": f"{name}.test:8000", "deviceClass": name} | server
        for name in servers
    ]
    return DevicePool.model_validate(body).spec


def service(
    name: str,
    nodes: Sequence[PoolMember],
    *,
    namespace: str = "default",
    bandwidth: Mapping[str, float] | float | None = None,
    servers: Sequence[str] = ("cloud",),
    placements: Mapping[str, Placement] | None = None,
    card: ModelCard = CARD,
    accuracies: CodecAccuracies | None = None,
    **spec: Any,
) -> PooledService:
    """A service at these nodes. bandwidth: in bit/s to every server, or to each by name."""
    read = InferenceService.model_validate(service_body(**spec)).spec
    by_server = bandwidth if isinstance(bandwidth, Mapping) else dict.fromkeys(servers, bandwidth)
    at = entries(read, tuple(nodes))
    return PooledService(
        ServiceKey(namespace, name),
        read,
        card,
        PROFILES,
        at,
        placements=placements or {},
        accuracies=accuracies,
        links={
            LinkKey(member.node.name, server): Link(0.004, rate)
            for member in at
            for server, rate in by_server.items()
        },
    )


def pool(
    nodes: Sequence[PoolMember], *services: PooledService, spec: Any = None, runtime_memory: float = 0.0
) -> Pool:
    return Pool(spec or pool_spec(), tuple(nodes), services, runtime_memory=runtime_memory)
