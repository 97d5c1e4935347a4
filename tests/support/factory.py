"""A factory as the operator plans it: two teams' services on cameras and a gateway, an hour of requests."""

import datetime
from typing import Any, Final

from edge_api.quantities import parse_quantity
from edge_operator.cluster import DEPLOYMENTS, DEVICE_POOLS, PLACEMENTS, Object
from edge_operator.keys import ServiceKey
from operator_objects import node_body, service_body
from operator_worlds import module, new_world

TEAMS: Final = {"default": "shop", "lab": "lab"}
SERVICES: Final[dict[ServiceKey, dict[str, Any]]] = {
    ServiceKey("default", "digits"): {},
    ServiceKey("default", "labels"): {"slo": {"latency": "150ms", "percentile": 95, "minAccuracy": 0.9}},
    ServiceKey("default", "seals"): {"mode": "LocalOnly", "slo": {"latency": "200ms"}},
    ServiceKey("lab", "faults"): {"slo": {"latency": "60ms", "objective": 0.99}},
    ServiceKey("lab", "gauges"): {"slo": {"latency": "120ms", "minAccuracy": 0.9}, "load": {"rate": 2}},
}
IN_TIME: Final = {"digits": 0.996, "labels": 0.97, "seals": 0.91, "faults": 0.955, "gauges": 1.0}
"""Shares of requests that meet the SLO."""
BANDWIDTHS: Final = {"cam-1": 3_920_000, "cam-2": 18_400_000, "cam-3": 820_000, "gate": 240_000_000}
STEP, STEPS = 600.0, 7


def factory() -> Any:
    """A World that has settled, with reports of links and an hour of requests."""
    world = new_world()
    world.cluster.put(node_body("cam-3", "camera"))
    pool = world.cluster.get(DEVICE_POOLS, None, "factory")
    tiers = {"gateway": "Edge", "camera": "Device"}
    groups = [group | {"tier": tiers[group["deviceClass"]]} for group in pool["spec"]["nodes"]]
    world.cluster.put(pool | {"spec": pool["spec"] | {"nodes": groups}})
    for namespace, team in TEAMS.items():
        world.label_namespace(team, namespace)
    world.put_tenant("shop", fairSharing={"weight": 2})
    world.put_tenant("lab")
    for key, spec in SERVICES.items():
        body = service_body(**spec)
        world.cluster.put(body | {"metadata": {"name": key.name, "namespace": key.namespace}})
    for _ in range(3):
        settle(world)
    for step in range(STEPS):
        world.now += STEP
        report(world, 250 + 40 * (step % 3), slow=step in (2, 3))
        world.plan()
    settle(world)
    world.report_pool()
    world.report_tenants()
    return world


def settle(world: Any) -> None:
    """The operator plans, runtimes start and load their tables, and report that."""
    world.collect()
    world.plan()
    operator = module()
    for namespace in TEAMS:
        memory = operator.NamespaceMemory()
        operator.reconcile_namespace(namespace, world.cluster, world.settings, memory, world.clock())
    for deployment in world.cluster.find(DEPLOYMENTS):
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), 1)
        generation = deployment["metadata"]["generation"]
        world.cluster.put(deployment | {"status": {"observedGeneration": generation, **counts}})
    report(world, 0)
    world.now += 10
    world.plan()


def report(world: Any, requests: int, *, slow: bool = False) -> None:
    """Every runtime reports its links, and so many more requests. slow: some services missed more of them."""
    at = world.clock().wall()
    for body in world.cluster.find(PLACEMENTS):
        metadata = body["metadata"]
        status = _report(body, requests, at, slow=slow)
        world.cluster.report_status(PLACEMENTS, metadata["namespace"], metadata["name"], status)


def _report(body: Object, requests: int, at: datetime.datetime, *, slow: bool) -> Object:
    spec, before = body["spec"], body.get("status") or {}
    bandwidth = BANDWIDTHS[spec["node"]]
    fitting = [route for route in spec["routes"] if parse_quantity(route["minBandwidth"]) <= bandwidth]
    share = IN_TIME[spec["service"]] - 0.06 * (slow and spec["service"] in ("labels", "seals"))
    limit = float(spec["slo"]["latency"].removesuffix("ms")) * (1.2 if share < 0.95 else 0.8)
    measured = {"state": "Up", "roundTrip": "3ms", "measuredAt": at.isoformat()}
    links: Object = {}
    if "link" in spec:
        low = {"bandwidth": str(bandwidth), "bandwidthLow": str(bandwidth * 4 // 5)}
        links["link"] = measured | low
    if "localLinks" in spec:
        links["localLinks"] = [
            measured | {"peer": each["peer"], "bandwidth": "410M"} for each in spec["localLinks"]
        ]
    return links | {
        "observedGeneration": body["metadata"]["generation"],
        "loaded": True,
        "activeRoute": fitting[0]["name"],
        "exit": fitting[0]["exit"],
        "cut": fitting[0]["cut"],
        "since": "2026-03-01T12:00:00Z",
        "requests": before.get("requests", 0) + requests,
        "met": before.get("met", 0) + round(requests * share),
        "attainment": f"{share:.3f}",
        "sloMet": share >= 0.95,
        "latency": {"p50": f"{limit * 0.6:.0f}ms", "p95": f"{limit:.0f}ms"},
        "lastUpdated": at.isoformat(),
    }


def bodies(world: Any) -> list[Object]:
    """The objects of the cluster."""
    return list(world.cluster.objects.values())
