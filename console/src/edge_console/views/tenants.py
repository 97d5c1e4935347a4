"""The shares of tenants in each pool. Pure."""

from typing import Any

from edge_api.quotas import parse_amount
from edge_console.fields import Json, conditions, status
from edge_console.seen import Seen
from edge_operator.cluster import TENANTS, Object


def tenants(seen: Seen) -> Json:
    """Returns the tenants by name. visible: whether the viewer may list them."""
    return {"visible": seen.sight.tenants, "tenants": [_tenant(body) for body in _sorted(seen)]}


def _sorted(seen: Seen) -> list[Object]:
    return sorted(seen.find(TENANTS), key=lambda body: str(body["metadata"]["name"]))


def _tenant(body: Object) -> Json:
    found, spec = status(body), body["spec"]
    return {
        "name": body["metadata"]["name"],
        "weight": str((spec.get("fairSharing") or {}).get("weight", "1")),
        "stopPolicy": spec.get("stopPolicy", "None"),
        "namespaces": found.get("namespaces", 0),
        "share": found.get("share"),
        "borrowed": found.get("borrowed"),
        "steppedDown": found.get("steppedDown", 0),
        "refused": found.get("refused", 0),
        "conditions": conditions(body),
        "pools": [
            {
                "name": pool["name"],
                "share": pool.get("share"),
                "services": pool.get("services", 0),
                "steppedDown": pool.get("steppedDown", 0),
                "refused": pool.get("refused", 0),
                "shortages": pool.get("shortages") or [],
                "resources": [_resource(each) for each in pool.get("resources") or ()],
            }
            for pool in found.get("pools") or ()
        ],
    }


def _resource(each: dict[str, Any]) -> Json:
    """Returns a kind of resource: amounts as the status writes them, and as numbers."""
    names = ("nominal", "used", "borrowed", "lent")
    return {
        "kind": each["kind"],
        **{name: each[name] for name in names},
        "numbers": {name: _number(each[name]) for name in names},
    }


def _number(text: str) -> float | None:
    found = parse_amount(text)
    return None if found is None else float(found)
