"""Removes the operator's finalizers once it is uninstalled: what a hook of the chart runs.

Without it, a service that is deleted later would wait for an operator that does not exist.
"""

from collections.abc import Callable
from typing import Protocol

from edge_operator.cluster import INFERENCE_SERVICES, PODS, Kind, Object
from edge_operator.errors import ClusterError, WriteConflictError
from edge_operator.names import FINALIZER

OPERATOR_PODS = "app.kubernetes.io/name=edge-operator"
_PATIENCE = 90.0
"""Seconds for which pods of the operator are waited for, which would set the finalizers again."""
_AGAIN = 1.0
_TRIES = 10
"""Times that a service is read again that others change at the same time."""


class Services(Protocol):
    """The API server as the removal uses it."""

    def serves(self, kind: Kind) -> bool: ...
    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]: ...
    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object | None: ...


def remove_finalizers(
    cluster: Services,
    installed_in: str,
    watched: str | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[str]:
    """Removes the finalizer of the operator from its services; returns their names with namespaces.

    installed_in: the operator's namespace, whose pods have to end first. watched: the namespace of the
    services; None for all. Does nothing without their kind. Raises ClusterError.
    """
    if not cluster.serves(INFERENCE_SERVICES):
        return []
    end = clock() + _PATIENCE
    while cluster.find(PODS, installed_in, OPERATOR_PODS) and clock() < end:
        sleep(_AGAIN)
    found = []
    for body in cluster.find(INFERENCE_SERVICES, watched):
        if FINALIZER in (body["metadata"].get("finalizers") or ()):
            _remove(cluster, body, sleep)
            found.append(f"{body['metadata']['namespace']}/{body['metadata']['name']}")
    return found


def _remove(cluster: Services, body: Object, sleep: Callable[[float], None]) -> None:
    """Removes the finalizer from a service, also if others change it at the same time."""
    current: Object | None = body
    for _ in range(_TRIES):
        if current is None:
            return
        finalizers = [name for name in current["metadata"].get("finalizers") or () if name != FINALIZER]
        try:
            cluster.set_finalizers(INFERENCE_SERVICES, current, finalizers)
        except WriteConflictError:
            sleep(_AGAIN)
            current = cluster.get(INFERENCE_SERVICES, body["metadata"]["namespace"], body["metadata"]["name"])
        else:
            return
    name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
    raise ClusterError(
        f"InferenceService {name}: others change it all the time: remove the finalizer {FINALIZER} from it"
    )
