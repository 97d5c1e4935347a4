"""The cluster as reconciles use it: they read the mirror and write to the API server."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from edge_operator.cluster import KINDS, PODS, Cluster, Kind, Object
from edge_operator.errors import WriteConflictError
from edge_operator.observed.mirror import Mirror, ObjectKey


class MirroredCluster:
    """`Cluster` whose reads cost no request. A write is read back at once, before its watch event arrives.

    After a WriteConflictError the object is read once, so that the next plan is made from what is there.
    """

    def __init__(self, server: Cluster, mirror: Mirror) -> None:
        self._server, self._mirror = server, mirror

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """Returns the object as last seen, or None if it does not exist."""
        return self._mirror.get(kind.kind, namespace, name)

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Returns the objects of a kind as last seen."""
        return self._mirror.find(kind.kind, namespace, labels)

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """Returns the object as the API server has it, also if it is not one that the operator watches."""
        return self._server.fetch(kind, namespace, name)

    def apply(self, wanted: Object, seen: Object | None = None, *, unchanged: bool = False) -> Object:
        """Applies `wanted` on the server side. seen, unchanged: as for `ApiServer`."""
        kind = KINDS[wanted["kind"]]
        with self._reading_conflicts(kind, wanted):
            applied = self._server.apply(wanted, seen, unchanged=unchanged)
        self._mirror.put(wanted["kind"], applied)
        return applied

    def apply_status(self, kind: Kind, seen: Object, status: Object) -> Object | None:
        """Replaces the status unless the object changed since it was seen; ignores an object that is gone."""
        with self._reading_conflicts(kind, seen):
            applied = self._server.apply_status(kind, seen, status)
        if applied is not None:
            self._mirror.put(kind.kind, applied)
        return applied

    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object | None:
        """Replaces the finalizers, unless the object changed since it was read (WriteConflictError)."""
        with self._reading_conflicts(kind, current):
            changed = self._server.set_finalizers(kind, current, finalizers)
        if changed is not None:
            self._mirror.put(kind.kind, changed)
        return changed

    def annotate(self, kind: Kind, current: Object, annotations: Mapping[str, str | None]) -> Object | None:
        """Sets annotations beside those that `apply` sets. Returns the object, or None if it is gone."""
        with self._reading_conflicts(kind, current):
            changed = self._server.annotate(kind, current, annotations)
        if changed is not None:
            self._mirror.put(kind.kind, changed)
        return changed

    def resize(self, pod: Object, container: str, requests: Mapping[str, str]) -> Object | None:
        """Changes what a container of a running pod requests. Returns the pod, or None if it cannot."""
        with self._reading_conflicts(PODS, pod):
            resized = self._server.resize(pod, container, requests)
        if resized is not None:
            self._mirror.put(PODS.kind, resized)
        return resized

    def delete(self, kind: Kind, namespace: str | None, name: str, uid: str = "") -> None:
        """Deletes the object and, in the background, its dependents; ignores an object that is gone.

        One with finalizers stays until they are removed: its watch tells of both.
        """
        with self._reading_conflicts(kind, {"metadata": {"namespace": namespace, "name": name}}):
            self._server.delete(kind, namespace, name, uid)
        known = self._mirror.get(kind.kind, namespace, name)
        if known is None or not known["metadata"].get("finalizers"):
            self._mirror.forget(ObjectKey(kind.kind, namespace or "", name))

    def record(self, regarding: Object, event_type: str, reason: str, message: str) -> None:
        """Records an Event."""
        self._server.record(regarding, event_type, reason, message)

    def version(self) -> tuple[int, int]:
        """Returns the API server's major and minor version."""
        return self._server.version()

    def serves(self, kind: Kind) -> bool:
        """Whether the API server has the kind, in its version."""
        return self._server.serves(kind)

    @contextlib.contextmanager
    def _reading_conflicts(self, kind: Kind, body: Object) -> Iterator[None]:
        """Reads the object of a write that conflicts with another one. body: has its name."""
        try:
            yield
        except WriteConflictError:
            namespace, name = body["metadata"].get("namespace"), body["metadata"]["name"]
            newer, before = self._server.fetch(kind, namespace, name), self.get(kind, namespace, name)
            if newer is not None:
                self._mirror.put(kind.kind, newer)
            elif before is not None:
                self._mirror.remove(kind.kind, before)
            raise


def vanished(
    server: Cluster, mirror: Mirror, kind: Kind, namespaces: Sequence[str | None] = (None,), labels: str = ""
) -> list[Object]:
    """Removes the objects of a kind that are gone without a watch having said so, and returns them.

    Watches miss what is deleted while they are interrupted for longer than the API server keeps its history.
    namespaces, labels: as they are watched; None: all namespaces.
    Cost: one list of the kind for each namespace, and one read for each object that it lacks.
    """
    before = mirror.keys(kind.kind)
    listed = {
        ObjectKey(kind.kind, body["metadata"].get("namespace") or "", body["metadata"]["name"])
        for namespace in namespaces
        for body in server.find(kind, namespace, labels)
    }
    gone = []
    for key in sorted(before - listed):
        body = mirror.get(kind.kind, key.namespace, key.name)
        if body is not None and server.fetch(kind, key.namespace or None, key.name) is None:
            mirror.remove(kind.kind, body)
            gone.append(body)
    return gone
