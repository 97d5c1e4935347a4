"""Fields of objects as numbers, and conditions with the meaning of their reasons. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from edge_api import reasons
from edge_api.quantities import parse_duration, parse_quantity
from edge_api.reason_registry import NOTHING
from edge_operator.cluster import Object

Json = dict[str, Any]


def seconds(text: object) -> float | None:
    """Returns a duration in seconds; None without one, and for text that cannot be read."""
    try:
        return parse_duration(text) if isinstance(text, str) else None
    except ValueError:
        return None


def amount(text: object) -> int | None:
    """Returns a quantity as a whole number; None without one, and for text that cannot be read."""
    try:
        return parse_quantity(text) if isinstance(text, str) else None
    except ValueError:
        return None


def number(text: object) -> float | None:
    """Returns a number that is written as text; None without one, and for text that cannot be read."""
    try:
        return float(text) if isinstance(text, str | int | float) else None
    except ValueError:
        return None


def status(body: Object) -> Json:
    """Returns the status; empty before the first one."""
    return body.get("status") or {}


def key_of(body: Object) -> str:
    """Returns namespace/name of an object."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def condition(body: Object, name: str) -> Mapping[str, Any]:
    """Returns a condition; empty if it is not there."""
    return next((each for each in status(body).get("conditions") or () if each["type"] == name), {})


def conditions(body: Object, first: Iterable[str] = ()) -> list[Json]:
    """Returns the conditions, each with the meaning of its reason and what to do. first: types in front."""
    order = {name: index for index, name in enumerate(first)}
    found = sorted(status(body).get("conditions") or (), key=lambda each: order.get(each["type"], len(order)))
    return [_explained(each) for each in found]


def _explained(found: Mapping[str, Any]) -> Json:
    reason = reasons.REASONS.get(found.get("reason") or "")
    return {
        "type": found["type"],
        "status": found["status"],
        "reason": found.get("reason") or "",
        "message": found.get("message") or "",
        "since": found.get("lastTransitionTime"),
        "meaning": reason.meaning if reason else "",
        "fix": reason.fix if reason and reason.fix != NOTHING else "",
    }
