"""Pools of the operator's tests as values: services of one model on cameras, gateways and Triton servers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge_api import DevicePool, InferenceService, Placement
from edge_api.tensors import Slice
from edge_operator.keys import ServiceKey, SliceKey
from edge_operator.names import SERVERS_ANNOTATION
from edge_operator.pool import rendering
from edge_operator.pool.pooled import LinkKey, PlannedEntry, Pool, PooledService
from edge_operator.pool.server_links import Link
from edge_operator.pool_nodes import PoolMember, entries, group_members, node_of
from edge_operator.store_answers import CodecAccuracies, ModelCard
from edge_planning import Plan
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


def placement(
    node: str = "edge-a",
    requests: int = 0,
    met: int | None = None,
    *,
    peer: str | None = None,
    link: Mapping[str, str] | None = None,
    left: str | None = None,
    annotations: Mapping[str, str] | None = None,
    uid: str = "uid-1",
) -> Placement:
    """A Placement whose one route takes 50 ms, with what its runtime counted.

    met: how many requests were in time; None for all. peer: the Triton server. link: as reported. left: the
    server that was lost before.
    """
    tensor = {"datatype": "FP32", "shape": [-1, 10]}
    ends = {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]}
    slice_ = {"digest": CARD.digest, "size": 1, **ends}
    stage = {"place": node, "runtime": "Edge", "slice": slice_, "predictedCompute": "50ms"}
    route = {"name": "full@local", "exit": "full", "cut": "local", "accuracy": 0.9, "minBandwidth": "0"}
    spec = {
        "service": "digits",
        "node": node,
        "model": {"digest": CARD.digest, "inputs": ends["inputs"], "outputs": ends["outputs"]},
        "slo": {"latency": "100ms"},
        "routes": [route | {"predictedLatency": "50ms", "stages": [stage]}],
    }
    if peer is not None:
        spec["link"] = {"peer": peer, "probe": "http://store/probe", "roundTrip": "4ms"}
    notes = dict(annotations or {})
    if left is not None:
        notes[SERVERS_ANNOTATION] = json.dumps({"left": left})
    counted: dict[str, Any] = {"requests": requests, "met": requests if met is None else met}
    counted |= {"since": "2026-03-01T12:00:00Z"}
    if link is not None:
        counted |= {"link": {"state": "Up", **link}}
    metadata = {"name": f"digits-{node}", "namespace": "default", "uid": uid, "annotations": notes}
    return Placement.model_validate({"metadata": metadata, "spec": spec, "status": counted})


def published(one: PooledService, entry: PlannedEntry, spec: Any = None) -> Placement:
    """The Placement that the operator renders for an entry with a table."""
    assert isinstance(entry.plan, Plan)
    body = service_body()
    body["metadata"] = {"name": one.key.name, "namespace": one.key.namespace, "uid": "uid-1"}
    return rendering.placement(
        body,
        one.spec,
        entry.member,
        spec or pool_spec(),
        card=one.metadata,
        table=entry.plan.table,
        slices={key: _slice(key) for key in rendering.needed_slices(one.metadata, [entry.plan.table])},
        server=entry.server,
        rtt=entry.problem.rtt,
        margins=entry.problem.entry.margins,
        notes=entry.notes,
    )


def _slice(key: SliceKey) -> Slice:
    digest = hashlib.sha256(repr(key).encode()).hexdigest()
    ends = {
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in key.inputs],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in key.outputs],
    }
    return Slice.model_validate({"digest": f"sha256:{digest}", "size": 1, **ends})


def noted(entry: PlannedEntry, **fields: Any) -> Placement:
    """The Placement of an entry, as it is published."""
    peer = entry.server.name if entry.server is not None else None
    return placement(entry.member.node.name, peer=peer, annotations=entry.notes, **fields)
