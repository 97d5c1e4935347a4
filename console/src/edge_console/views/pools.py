"""Pools, and the map of one: nodes, links, and where each stage runs. Pure.

A viewer who may list pools and nodes sees all nodes of a pool; others see the nodes that their services use.
"""

from collections.abc import Iterable

from edge_api import reasons
from edge_console.fields import Json, condition, conditions, seconds, status
from edge_console.seen import Seen
from edge_console.views.service import link, local_links
from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, NODES, PLACEMENTS, Object
from edge_operator.names import POOL_LABEL, label_value


def pools(seen: Seen) -> list[Json]:
    """Returns the pools by name: those of the cluster, or those that the viewer's services use."""
    services: dict[str, int] = {}
    for body in seen.find(INFERENCE_SERVICES):
        services[body["spec"]["devicePool"]] = services.get(body["spec"]["devicePool"], 0) + 1
    bodies = {body["metadata"]["name"]: body for body in seen.find(DEVICE_POOLS)}
    return [_summary(name, bodies.get(name), services.get(name, 0)) for name in sorted(bodies | services)]


def _summary(name: str, body: Object | None, services: int) -> Json:
    if body is None:
        return {
            "name": name, "services": services, "nodes": None, "servers": [], "ready": None, "message": "",
        }  # fmt: skip
    ready = condition(body, reasons.READY)
    return {
        "name": name,
        "services": services,
        "nodes": status(body).get("nodeCount", 0),
        "servers": [each["name"] for each in body["spec"].get("tritonServers") or ()],
        "ready": ready.get("status"),
        "message": ready.get("message") or "",
    }


def pool(seen: Seen, name: str) -> Json | None:
    """Returns the map of a pool; None if it does not exist or the viewer sees nothing of it."""
    body = seen.get(DEVICE_POOLS, None, name)
    placements = [
        each for each in seen.find(PLACEMENTS, None, f"{POOL_LABEL}={label_value(name)}") if _placed(each)
    ]
    named = [each for each in seen.find(INFERENCE_SERVICES) if each["spec"]["devicePool"] == name]
    if body is None and not named:
        return None
    routes = [_active(each) for each in placements]
    links = _links(placements)
    return {
        "name": name,
        "complete": body is not None,
        "conditions": conditions(body) if body is not None else [],
        "nodes": _nodes(seen, body, routes),
        "servers": _servers(body, routes, links),
        "links": links,
        "routes": routes,
        "services": len(named),
    }


def _placed(placement: Object) -> bool:
    return bool(placement["spec"].get("routes"))


def _active(placement: Object) -> Json:
    """Returns the route that is used, and the places of its stages."""
    spec, now = placement["spec"], status(placement)
    chosen = next((each for each in spec["routes"] if each["name"] == now.get("activeRoute")), None)
    namespace = placement["metadata"]["namespace"]
    return {
        "service": f"{namespace}/{spec['service']}",
        "entry": spec["node"],
        "route": now.get("activeRoute"),
        "refused": bool(spec.get("refusal")),
        "sloMet": now.get("sloMet"),
        "exit": None if chosen is None else chosen["exit"],
        "cut": None if chosen is None else chosen["cut"],
        "stages": [
            {
                "place": stage["place"],
                "runtime": stage["runtime"],
                "seconds": seconds(stage.get("predictedCompute")),
            }
            for stage in (chosen or {}).get("stages", ())
        ],
    }


def _nodes(seen: Seen, body: Object | None, routes: Iterable[Json]) -> list[Json]:
    """Returns the nodes of the pool; of a pool that is not to be seen, those of the routes."""
    known = {name: _node(name) for each in routes for name in _nodes_of(each)}
    if body is not None:
        tiers = {each["deviceClass"]: each.get("tier", "Edge") for each in reversed(body["spec"]["nodes"])}
        ready = {each["metadata"]["name"]: _is_ready(each) for each in seen.find(NODES)}
        for each in status(body).get("nodes") or ():
            name, device_class = each["name"], each["deviceClass"]
            known[name] = _node(name, device_class, tiers.get(device_class, "Edge"), ready.get(name))
    return [known[name] for name in sorted(known)]


def _node(name: str, device_class: str | None = None, tier: str | None = None, ready: object = None) -> Json:
    return {"name": name, "deviceClass": device_class, "tier": tier, "ready": ready}


def _nodes_of(route: Json) -> Iterable[str]:
    yield route["entry"]
    yield from (stage["place"] for stage in route["stages"] if stage["runtime"] == "Edge")


def _is_ready(node: Object) -> bool:
    return condition(node, reasons.READY).get("status") == "True"


def _servers(body: Object | None, routes: Iterable[Json], links: Iterable[Json]) -> list[Json]:
    """Returns the Triton servers of the pool; of a pool that is not to be seen, those at the end of links."""
    if body is not None:
        return [
            {"name": each["name"], "deviceClass": each["deviceClass"], "address": each["httpAddress"]}
            for each in body["spec"].get("tritonServers") or ()
        ]
    used = {stage["place"] for each in routes for stage in each["stages"] if stage["runtime"] == "Triton"}
    used |= {each["peer"] for each in links if each["kind"] == "server"}
    return [{"name": name, "deviceClass": None, "address": None} for name in sorted(used)]


def _links(placements: Iterable[Object]) -> list[Json]:
    """Returns each link once, as the service that measured it last reports it, with how many use it."""
    found: dict[tuple[str, str], Json] = {}
    users: dict[tuple[str, str], set[str]] = {}
    for placement in placements:
        spec, now = placement["spec"], status(placement)
        to_server = link(spec.get("link"), now.get("link"))
        each_link = [*([{**to_server, "kind": "server"}] if to_server else [])]
        each_link += [{**each, "kind": "node"} for each in local_links(spec, now)]
        for each in each_link:
            ends = (spec["node"], each["peer"])
            users.setdefault(ends, set()).add(f"{placement['metadata']['namespace']}/{spec['service']}")
            before = found.get(ends)
            if before is None or (each["measuredAt"] or "") > (before["measuredAt"] or ""):
                found[ends] = {**each, "from": spec["node"]}
    return [{**found[ends], "services": sorted(users[ends])} for ends in sorted(found)]
