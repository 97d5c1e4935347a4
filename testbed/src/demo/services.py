"""The InferenceService and its Placements as the API server shows them. Pure: documents in, values out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
_TERM = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"({_TERM.pattern})+")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """Parses `150ms` as 0.15 and `1m30s` as 90. Raises ValueError if the text is not a duration."""
    if _DURATION.fullmatch(duration) is None:
        raise ValueError(f"{duration!r} is not a duration: write a number and us, ms, s, m or h, e.g. 150ms")
    return sum(float(number) * _UNITS[unit] for number, unit in _TERM.findall(duration))


def slo_seconds(service: Document) -> float:
    """Returns the latency of the service's SLO in seconds."""
    return seconds(service["spec"]["slo"]["latency"])


def condition_lines(service: Document) -> list[str]:
    """Yields one line per condition: type, status, reason and message."""
    found = []
    for condition in service.get("status", {}).get("conditions", []):
        message = f": {condition['message']}" if condition.get("message") else ""
        found.append(f"{condition['type']}={condition['status']} {condition.get('reason', '')}{message}")
    return found


def ready(service: Document) -> bool:
    """Whether all entry nodes answer by the routes of the current generation."""
    status = service.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    wanted = {"Ready": "True", "Progressing": "False", "Degraded": "False"}
    settled = all(conditions.get(name) == value for name, value in wanted.items())
    return settled and status.get("observedGeneration") == generation(service)


def measured(service: Document) -> bool:
    """Whether no device class is still to be measured: until then, routes through Triton can be missing."""
    conditions = {c["type"]: c["status"] for c in service.get("status", {}).get("conditions", [])}
    return bool(conditions.get("Profiled", "True") == "True")


def generation(found: Document) -> int:
    """Returns the generation of an object's spec."""
    return int(found["metadata"]["generation"])


def not_carried_out(placements: Sequence[Document], mode: str) -> list[str]:
    """Yields why Placements are not in this mode, loaded and warm; nothing if all are."""
    found = []
    for placement in placements:
        name, status = placement["metadata"]["name"], placement.get("status", {})
        if placement["spec"].get("mode", "Auto") != mode:
            found.append(f"{name} is still in mode {placement['spec'].get('mode', 'Auto')}")
        elif status.get("observedGeneration") != generation(placement):
            found.append(
                f"{name} is at generation {status.get('observedGeneration')} of {generation(placement)}"
            )
        elif not status.get("loaded"):
            found.append(f"{name} is not loaded: {status.get('message') or 'no message'}")
        elif status.get("activeRoute") not in [route["name"] for route in placement["spec"]["routes"]]:
            found.append(f"{name} still uses route {status.get('activeRoute')}")
    return found or ([] if placements else ["there are no placements"])


def entry_nodes(placements: Sequence[Document]) -> list[str]:
    """Returns the entry nodes."""
    return sorted(placement["spec"]["node"] for placement in placements)


def routes_line(placement: Document) -> str:
    """`edge-a: exit5@pool1 from 3.1 Mbit/s, exit4@local`."""
    parts = []
    for route in placement["spec"]["routes"]:
        least = (
            float(route["minBandwidth"]) if str(route["minBandwidth"]).replace(".", "").isdigit() else None
        )
        at = f" from {least / 1e6:.2f} Mbit/s" if least else ""
        parts.append(f"{route['name']}{at} ({route['predictedLatency']})")
    return f"{placement['spec']['node']}: {', '.join(parts)}"
