"""Refuses to take over objects that another client made, or that belong to another service."""

from edge_operator.cluster import KINDS, Cluster, Object
from edge_operator.errors import ObjectRefusedError
from edge_operator.names import MANAGED_BY, RUNTIME_LABEL, SERVICE_LABEL


def refuse_foreign(cluster: Cluster, wanted: Object, known: Object | None) -> Object | None:
    """Returns the object of that name if there is one. Raises ObjectRefusedError if another client owns it.

    known: the object if it is among the operator's; else it is read from the API server.
    """
    kind, meta = wanted["kind"], wanted["metadata"]
    found = known or cluster.fetch(KINDS[kind], meta.get("namespace"), meta["name"])
    if found is None:
        return None
    labels = found["metadata"].get("labels") or {}
    if _owner(labels) == _owner(meta["labels"]):
        return found
    service = labels.get(SERVICE_LABEL)
    whose = f"InferenceService {service}" if service else "something other than this operator"
    raise ObjectRefusedError(
        f"{kind} {meta.get('namespace')}/{meta['name']}: belongs to {whose}: delete it or rename the service"
    )


def _owner(labels: dict[str, str]) -> tuple[str | None, ...]:
    return tuple(labels.get(key) for key in (*MANAGED_BY, SERVICE_LABEL, RUNTIME_LABEL))
