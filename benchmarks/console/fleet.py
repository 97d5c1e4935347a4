"""Services on pools of cameras, gateways and Triton servers, with every state that the page shows."""

from __future__ import annotations

import math

from edge_operator.cluster import Object
from edge_operator.names import POOL_LABEL, SERVICE_LABEL

API = "edge-intelligence.io/v1alpha1"
NOW = 1_790_000_000
NAMESPACES = ("assembly", "packing", "yard", "quality")
POOLS = ("north-hall", "south-hall")
_MODELS = ("digits", "labels", "trucks", "faults", "helmets", "pallets", "seals", "gauges")
_STATES = ("Met",) * 12 + ("Missed", "Missed", "Idle", "Idle", "NotReady", "Degraded", "Waiting", "Met")


def fleet(count: int = 500) -> list[Object]:
    """Returns the objects of a cluster with so many services, each at three entry nodes."""
    bodies: list[Object] = [_namespace(name) for name in NAMESPACES]
    for pool in POOLS:
        bodies += [_pool(pool), *(_node(pool, index) for index in range(12))]
    bodies += [_tenant(name, index) for index, name in enumerate(NAMESPACES)]
    for number in range(count):
        service = _service(number)
        bodies += [service, *(_placement(service, number, index) for index in range(3))]
    return bodies


def _metadata(name: str, namespace: str = "", **more: dict[str, str]) -> Object:
    place = {"namespace": namespace} if namespace else {}
    return (
        {"name": name, "uid": f"uid-{namespace}-{name}", "generation": 1, "resourceVersion": "1"}
        | place
        | more
    )


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _metadata(name, labels={"team": name})}


def node_name(pool: str, index: int) -> str:
    """Returns the name of a pool's node: two gateways, then cameras."""
    return f"{pool.split('-')[0]}-{'gate' if index < 2 else 'cam'}-{index if index < 2 else index - 1}"


def _node(pool: str, index: int) -> Object:
    condition = {"type": "Ready", "status": "False" if index == 11 else "True"}
    labels = {"hall": pool, "class": "gateway" if index < 2 else "camera"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _metadata(node_name(pool, index), labels=labels),
        "status": {"conditions": [condition]},
    }


def _pool(name: str) -> Object:
    group = {"nodeSelector": {"hall": name}}
    nodes = [
        {"tier": "Edge", "deviceClass": "gateway", "nodeSelector": {"hall": name, "class": "gateway"}},
        {"tier": "Device", "deviceClass": "camera", **group},
    ]
    listed = [
        {"name": node_name(name, index), "deviceClass": "gateway" if index < 2 else "camera"}
        for index in range(12)
    ]
    servers = [{"name": "cloud", "httpAddress": "triton.cloud:8000", "deviceClass": "gpu"}]
    return {
        "apiVersion": API,
        "kind": "DevicePool",
        "metadata": _metadata(name),
        "spec": {"nodes": nodes, "tritonServers": servers},
        "status": {
            "nodeCount": len(listed),
            "nodes": listed,
            "conditions": [{"type": "Ready", "status": "True", "reason": "NodesFound", "message": ""}],
        },
    }


def _tenant(name: str, index: int) -> Object:
    resources = [
        {"kind": "cpu", "nominal": "6", "used": f"{2 + 2 * index}", "borrowed": f"{max(2 * index - 4, 0)}",
         "lent": f"{max(4 - 2 * index, 0)}"},
        {"kind": "uplink", "nominal": "30M", "used": f"{8 + 4 * index}M", "borrowed": "0", "lent": "4M"},
    ]  # fmt: skip
    pool = {
        "name": POOLS[0], "resources": resources, "share": f"{12 + 5 * index}%", "services": 40,
        "steppedDown": index,
        "shortages": ["3 services at a lower exit: uplink of north-cam-4"] * (index > 1),
    }  # fmt: skip
    return {
        "apiVersion": API,
        "kind": "Tenant",
        "metadata": _metadata(name),
        "spec": {
            "namespaceSelector": {"matchLabels": {"team": name}},
            "fairSharing": {"weight": str(index + 1)},
        },
        "status": {"namespaces": 1, "share": pool["share"], "borrowed": "0%", "pools": [pool]},
    }


def _service(number: int) -> Object:
    state = _STATES[number % len(_STATES)]
    namespace, model = NAMESPACES[number % len(NAMESPACES)], _MODELS[number // 4 % len(_MODELS)]
    met = {"Missed": 0.83, "NotReady": 0.4, "Degraded": 0.97}.get(state, 0.99) - number % 7 / 1000
    ready = {"NotReady": "False", "Waiting": "Unknown"}.get(state, "True")
    conditions = [
        {"type": "Ready", "status": ready, "reason": "Serving" if ready == "True" else "EntriesDown",
         "message": "" if ready == "True" else "1 of 3 entry nodes answer: north-cam-1, north-cam-2 do not"},
        {"type": "SLOMet", "status": {"Missed": "False", "Idle": "Unknown"}.get(state, "True"),
         "reason": "Attained" if state != "Missed" else "Missed",
         "message": f"{met:.2f} of the requests of 5 minutes met 100ms; the objective is 0.95"},
        {"type": "Degraded", "status": "True" if state == "Degraded" else "False", "reason": "EntriesBehind",
         "message": "1 of 3 entry nodes answers by an earlier plan"},
    ]  # fmt: skip
    slo = {} if state == "Waiting" else _slo(number, met, idle=state == "Idle")
    return {
        "apiVersion": API,
        "kind": "InferenceService",
        "metadata": _metadata(f"{model}-{number}", namespace),
        "spec": {
            "model": {"storageUri": f"store://{model}/{model}.onnx"},
            "slo": {"latency": "100ms", "percentile": 95, "objective": 0.95},
            "devicePool": POOLS[number % 2],
        },
        "status": {
            "observedGeneration": 1,
            "conditions": conditions,
            "entryCounts": {"total": 3, "ready": 1 if state == "NotReady" else 3},
            "exit": "final",
            "cut": ("local", "pool2", "pool1")[number % 3],
            "eiLevel": (3, 1, 2)[number % 3],
            **slo,
        },
    }


def _slo(number: int, met: float, *, idle: bool) -> Object:
    points, requests, good = [], 1000, 1000
    for step in range(13):
        points.append(f"{NOW - (12 - step) * 300},{requests},{good}")
        more = 0 if idle and step > 8 else 240 + number % 50
        requests += more
        good += round(more * min(1.0, met + 0.02 * math.sin(step + number)))
    burn = (1 - met) / 0.05
    windows = [
        {"window": span, "requests": 300 * size, "attainment": f"{met:.2f}", "burnRate": f"{burn:.2f}"}
        for size, span in enumerate(("5m", "1h", "6h", "28d"), 1)
    ]
    latest = {} if idle else {"attainment": f"{met:.2f}", "p95": f"{60 + number % 60}ms"}
    left = max(0.0, 1 - burn / 2)
    return {
        "slo": {
            **latest,
            "errorBudgetRemaining": f"{left:.2f}",
            "windows": windows,
            "history": ";".join(points),
            "reportedAt": "2026-09-21T14:13:20Z",
        }
    }


def _placement(service: Object, number: int, index: int) -> Object:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    pool = service["spec"]["devicePool"]
    node = node_name(pool, 2 + (number // 2 + 3 * index) % 10)
    gate, cut = node_name(pool, number % 2), service["status"]["cut"]
    routes = [
        _route("final", cut, "12M", 0.98, [(node, "Edge"), ("cloud", "Triton")]),
        _route("final", "pool1", "4M", 0.98, [(node, "Edge"), (gate, "Edge")]),
        _route("exit1", "local", "0", 0.86, [(node, "Edge")]),
    ]
    status = {
        "observedGeneration": 1,
        "loaded": True,
        "activeRoute": routes[number % 3]["name"],
        "attainment": "0.98",
        "sloMet": service["status"]["conditions"][1]["status"] == "True",
        "requests": 1000 * number,
        "latency": {"p50": f"{40 + number % 20}ms", "p95": f"{70 + number % 40}ms"},
        "link": {
            "state": "Down" if number % 41 == 3 else "Up",
            "bandwidth": f"{2 + number % 30}M",
            "bandwidthLow": f"{1 + number % 30}M",
            "roundTrip": f"{2 + number % 9}ms",
            "measuredAt": f"2026-09-21T14:13:{number % 60:02d}Z",
        },
        "localLinks": [{"peer": gate, "state": "Up", "bandwidth": "240M", "roundTrip": "1ms"}],
    }
    return {
        "apiVersion": API,
        "kind": "Placement",
        "metadata": _metadata(
            f"{name}.{node}.{index}", namespace, labels={SERVICE_LABEL: name, POOL_LABEL: pool}
        ),
        "spec": {
            "service": name,
            "node": node,
            "routes": routes,
            "link": {"peer": "cloud", "roundTrip": "4ms"},
            "localLinks": [{"peer": gate, "bandwidth": "1G", "roundTrip": "1ms"}],
        },
        "status": status,
    }


def _route(exit_: str, cut: str, bandwidth: str, accuracy: float, places: list[tuple[str, str]]) -> Object:
    where = "" if len(places) == 1 else f"+{places[-1][0]}"
    return {
        "name": f"{exit_}@{cut}{where}",
        "exit": exit_,
        "cut": cut,
        "accuracy": accuracy,
        "minBandwidth": bandwidth,
        "predictedLatency": "78ms",
        "stages": [
            {"place": place, "runtime": runtime, "predictedCompute": "20ms", "slice": {"size": 4096}}
            for place, runtime in places
        ],
    }
