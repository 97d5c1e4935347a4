"""Removes the operator's finalizers once it is uninstalled: what a hook of the chart runs.

Without it, what is deleted later would wait for an operator that does not exist.
"""

from collections.abc import Callable
from typing import Final, Protocol

from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, PODS, TENANTS, Kind, Object
from edge_operator.errors import ClusterError, WriteConflictError
from edge_operator.names import FINALIZER, in_use_finalizer

OPERATOR_PODS = "app.kubernetes.io/name=edge-operator"
_KINDS: Final = (INFERENCE_SERVICES, DEVICE_POOLS, TENANTS)
_PATIENCE = 90.0
"""Seconds for which pods of the operator are waited for, which would set the finalizers again."""
_AGAIN = 1.0
_TRIES = 10
"""Times that an object is read again that others change at the same time."""


class Objects(Protocol):
    """The API server as the removal uses it."""

    def serves(self, kind: Kind) -> bool: ...
    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]: ...
    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object | None: ...


def remove_finalizers(
    cluster: Objects,
    installed_in: str,
    watched: str | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[str]:
    """Removes the operator's finalizers from services, pools and tenants.

    Returns a line for each object that had one: its kind, its name with its namespace, and the finalizer.
    installed_in: the operator's namespace, whose pods have to end first. watched: the namespace of the
    services; None for all. Kinds that are not installed are skipped. Raises ClusterError, after all other
    objects.
    """
    kinds = [kind for kind in _KINDS if cluster.serves(kind)]
    if not kinds:
        return []
    end = clock() + _PATIENCE
    while cluster.find(PODS, installed_in, OPERATOR_PODS) and clock() < end:
        sleep(_AGAIN)
    found, failures = [], []
    for kind in kinds:
        finalizer = FINALIZER if kind == INFERENCE_SERVICES else in_use_finalizer(watched)
        for body in cluster.find(kind, watched if kind.namespaced else None):
            if finalizer not in (body["metadata"].get("finalizers") or ()):
                continue
            try:
                _remove(cluster, kind, body, finalizer, sleep)
            except ClusterError as error:
                failures.append(str(error))
            else:
                found.append(f"{_named(kind, body)}: without {finalizer}")
    if failures:
        raise ClusterError("; ".join(failures))
    return found


def _remove(
    cluster: Objects, kind: Kind, body: Object, finalizer: str, sleep: Callable[[float], None]
) -> None:
    """Removes the finalizer from an object, also if others change it at the same time."""
    current: Object | None = body
    for _ in range(_TRIES):
        if current is None:
            return
        finalizers = [name for name in current["metadata"].get("finalizers") or () if name != finalizer]
        try:
            cluster.set_finalizers(kind, current, finalizers)
        except WriteConflictError:
            sleep(_AGAIN)
            current = cluster.get(kind, body["metadata"].get("namespace"), body["metadata"]["name"])
        else:
            return
    raise ClusterError(
        f"{_named(kind, body)}: others change it all the time: remove the finalizer {finalizer} from it"
    )


def _named(kind: Kind, body: Object) -> str:
    metadata = body["metadata"]
    return f"{kind.kind} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"
