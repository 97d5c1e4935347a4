"""Compares versions of objects: whether a write is due, and whether its object has changed. Pure."""

from typing import Any

from edge_operator.amounts import amount
from edge_operator.names import GROUP

Object = dict[str, Any]

_AMOUNTS = ("requests", "limits")
"""Fields whose values are amounts of resources."""
_OUTSIDE = ("apiVersion", "kind", "metadata", "status")
_METADATA = ("uid", "deletionTimestamp", "finalizers", "labels", "ownerReferences")


def covers(live: object, wanted: object) -> bool:
    """Whether `live` has all fields of `wanted` with equal values, so that applying it changes nothing.

    `live` can have more fields, such as defaults of the API server. Lists are compared element by element.
    Amounts of resources are equal in any spelling: the API server writes 0.5 as 500m.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key in live
            and (
                _same_amounts(live[key], wanted[key])
                if key in _AMOUNTS and isinstance(wanted[key], dict)
                else covers(live[key], wanted[key])
            )
            for key in wanted
        )
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(covers, live, wanted))
    return bool(live == wanted)


def same_but_status(seen: Object, now: Object) -> bool:
    """Whether two versions of an object differ at most in what other clients report about it.

    That is its status, and metadata that no decision of the operator depends on: annotations of others, such
    as the revision of a Deployment, and who manages which field. False for another object of the same name.
    """
    return _decisive(seen) == _decisive(now)


def _decisive(body: Object) -> Object:
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    found = {name: value for name, value in body.items() if name not in _OUTSIDE}
    found["metadata"] = {name: metadata.get(name) or None for name in _METADATA}
    found["annotations"] = {name: text for name, text in annotations.items() if name.startswith(GROUP)}
    return found


def _same_amounts(live: object, wanted: Object) -> bool:
    return isinstance(live, dict) and {k: amount(v) for k, v in live.items()} == {
        k: amount(v) for k, v in wanted.items()
    }
