"""A cluster as it would be with other objects in it. Only reads."""

from collections.abc import Iterable
from typing import Protocol

from edge_operator.cluster import Kind, Object
from edge_operator.observed.mirror import Mirror, ObjectKey, key_of


class Reads(Protocol):
    """What explanations and previews read of the API server."""

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]: ...


class Mirrored:
    """`Reads` of a mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """Returns the object, or None if the mirror lacks it."""
        return self._mirror.get(kind.kind, namespace, name)

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Returns the objects of a kind."""
        return self._mirror.find(kind.kind, namespace, labels)


class Overlaid:
    """`Reads` of a cluster with some objects in place of those that it has, or beside them."""

    def __init__(self, cluster: Reads, changed: Iterable[Object]) -> None:
        self._cluster, self._changed = cluster, Mirror()
        for body in changed:
            self._changed.put(body["kind"], body)

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """Returns the object, or None if it does not exist."""
        changed = self._changed.get(kind.kind, namespace, name)
        return changed if changed is not None else self._cluster.get(kind, namespace, name)

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Returns the objects of a kind. Raises ClusterError, as the cluster does."""
        replaced = self._changed.keys(kind.kind)
        kept = [
            body for body in self._cluster.find(kind, namespace, labels) if _key(kind, body) not in replaced
        ]
        return [*kept, *self._changed.find(kind.kind, namespace, labels)]


def _key(kind: Kind, body: Object) -> ObjectKey:
    return key_of(kind.kind, body)
