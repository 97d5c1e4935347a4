"""One service: its SLO, its conditions, and the route table of each entry node. Pure."""

from collections.abc import Mapping
from typing import Any

from edge_api import reasons
from edge_console.fields import Json, amount, conditions, key_of, number, seconds, status
from edge_console.recent import Samples
from edge_console.seen import Seen
from edge_console.views import history
from edge_console.views.services import row
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.names import SERVICE_LABEL, label_value

_FIRST = (
    reasons.READY, reasons.SLO_MET, reasons.DEGRADED, reasons.PROGRESSING, reasons.MODEL_READY,
    reasons.PROFILED, reasons.PLANNED, reasons.PLACED,
)  # fmt: skip


def service(seen: Seen, namespace: str, name: str, samples: Samples) -> Json | None:
    """Returns a service; None if it does not exist or is not to be seen. samples: of the last hour."""
    body = seen.get(INFERENCE_SERVICES, namespace, name)
    if body is None:
        return None
    found, spec = status(body), body["spec"]
    slo = found.get("slo") or {}
    placements = seen.find(PLACEMENTS, namespace, f"{SERVICE_LABEL}={label_value(name)}")
    by_node = {each["spec"]["node"]: each for each in placements if each["spec"]["service"] == name}
    reported = {each["node"]: each for each in found.get("entries") or ()}
    return {
        **row(body),
        "mode": spec.get("mode", "Auto"),
        "optimize": spec.get("optimize", "Accuracy"),
        "privacy": spec.get("privacy", "Any"),
        "minAccuracy": spec["slo"].get("minAccuracy"),
        "rate": (spec.get("load") or {}).get("rate"),
        "priority": spec.get("priority", 0),
        "url": found.get("url"),
        "model": spec["model"].get("storageUri"),
        "digest": (found.get("model") or {}).get("digest"),
        "reportedAt": slo.get("reportedAt"),
        "conditions": conditions(body, _FIRST),
        "windows": [_window(each) for each in slo.get("windows") or ()],
        "history": history.last_hour(slo.get("history")),
        "nodes": [
            _entry(node, by_node.get(node), reported.get(node) or {}, samples)
            for node in sorted(by_node.keys() | reported.keys())
        ],
    }


def _window(each: Mapping[str, Any]) -> Json:
    return {
        "window": each["window"],
        "requests": each.get("requests", 0),
        "attainment": number(each.get("attainment")),
        "burn": number(each.get("burnRate")),
        "covered": seconds(each.get("covered")),
    }


def _entry(node: str, placement: Object | None, reported: Mapping[str, Any], samples: Samples) -> Json:
    spec: Mapping[str, Any] = {} if placement is None else placement["spec"]
    now: Mapping[str, Any] = {} if placement is None else status(placement)
    latency = now.get("latency") or {}
    return {
        "node": node,
        "reason": reported.get("reason") or now.get("message") or "",
        "loaded": bool(now.get("loaded")),
        "active": now.get("activeRoute"),
        "attainment": number(now.get("attainment", reported.get("attainment"))),
        "p50": seconds(latency.get("p50")),
        "p95": seconds(latency.get("p95") or reported.get("measuredLatency")),
        "predicted": seconds(reported.get("predictedLatency")),
        "requests": now.get("requests", 0),
        "link": link(spec.get("link"), now.get("link")),
        "localLinks": local_links(spec, now),
        "routes": [route(each, node) for each in spec.get("routes") or ()],
        "refusal": spec.get("refusal"),
        "samples": [] if placement is None else samples.of(key_of(placement)),
    }


def route(each: Mapping[str, Any], node: str) -> Json:
    """Returns a route. node: its entry node."""
    return {
        "name": each["name"],
        "exit": each["exit"],
        "cut": each["cut"],
        "codecs": each.get("codecs") or [],
        "accuracy": each["accuracy"],
        "minBandwidth": amount(each["minBandwidth"]),
        "latency": seconds(each["predictedLatency"]),
        "cost": each.get("predictedCost"),
        "stages": [
            {
                "place": stage["place"],
                "runtime": stage["runtime"],
                "seconds": seconds(stage.get("predictedCompute")),
                "local": stage["place"] == node,
                "bytes": stage["slice"].get("size"),
            }
            for stage in each["stages"]
        ],
    }


def link(planned: Mapping[str, Any] | None, measured: Mapping[str, Any] | None) -> Json | None:
    """Returns the link to the Triton server, as planned and as measured; None without a server."""
    if planned is None:
        return None
    now = measured or {}
    return {
        "peer": planned["peer"],
        "state": now.get("state"),
        "bandwidth": amount(now.get("bandwidth")),
        "low": amount(now.get("bandwidthLow")),
        "roundTrip": seconds(now.get("roundTrip") or planned.get("roundTrip")),
        "measuredAt": now.get("measuredAt"),
    }


def local_links(spec: Mapping[str, Any], now: Mapping[str, Any]) -> list[Json]:
    """Returns the links to intermediate nodes. bandwidth: as planned until it is measured."""
    measured = {each["peer"]: each for each in now.get("localLinks") or ()}
    return [
        {
            "peer": each["peer"],
            "state": measured.get(each["peer"], {}).get("state"),
            "bandwidth": amount(measured.get(each["peer"], {}).get("bandwidth") or each.get("bandwidth")),
            "low": amount(measured.get(each["peer"], {}).get("bandwidthLow")),
            "roundTrip": seconds(measured.get(each["peer"], {}).get("roundTrip") or each.get("roundTrip")),
            "measuredAt": measured.get(each["peer"], {}).get("measuredAt"),
        }
        for each in spec.get("localLinks") or ()
    ]
