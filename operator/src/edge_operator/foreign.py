"""Refuses to take over objects that another client made, or that belong to another service."""

from edge_operator.cluster import KINDS, Cluster, Object
from edge_operator.errors import ObjectRefusedError
from edge_operator.names import MANAGED_BY, RUNTIME_LABEL, SERVICE_LABEL

_CONFLICTING = frozenset({"Placement", "Service", "Deployment"})
"""Kinds of which a first apply conflicts with an object of another client, which has another selector or
other routes. The object is then in the mirror, and is refused by the next plan."""


def refuse_foreign(cluster: Cluster, wanted: Object, known: Object | None) -> Object | None:
    """Returns the object of that name if there is one. Raises ObjectRefusedError if another client owns it.

    known: the object if it is among the operator's; else it is read from the API server, unless an apply
    tells.
    """
    kind, meta = wanted["kind"], wanted["metadata"]
    place = KINDS[kind], meta.get("namespace"), meta["name"]
    found = known
    if found is None and kind in _CONFLICTING and cluster.get(*place) is None:
        return None
    if found is None:
        found = cluster.fetch(*place)
    if found is None or _is_owned(found, meta):
        return found
    labels = found["metadata"].get("labels") or {}
    service = labels.get(SERVICE_LABEL)
    whose = f"InferenceService {service}" if service else "something other than this operator"
    raise ObjectRefusedError(
        f"{kind} {meta.get('namespace')}/{meta['name']}: belongs to {whose}: delete it or rename the service"
    )


def _is_owned(found: Object, wanted: Object) -> bool:
    return _owner(found["metadata"].get("labels") or {}) == _owner(wanted["labels"])


def _owner(labels: dict[str, str]) -> tuple[str | None, ...]:
    return tuple(labels.get(key) for key in (*MANAGED_BY, SERVICE_LABEL, RUNTIME_LABEL))
