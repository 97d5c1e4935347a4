"""The cluster as reconciles use it: they read the mirror and write to the API server."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from edge_operator.cluster import KINDS, PODS, Cluster, Kind, Object
from edge_operator.errors import WriteConflictError
from edge_operator.observed.mirror import Mirror, ObjectKey
from edge_operator.versions import same_but_status

Result = TypeVar("Result")

_ATTEMPTS = 4
"""Versions on which a write is tried while nothing but the status of its object changes."""


class MirroredCluster:
    """`Cluster` whose reads cost no request. A write is read back at once, before its watch event arrives.

    Each write carries the resourceVersion of the object that it was decided on. Reports of runtimes and of
    Kubernetes' controllers change that version, but no decision: the write then goes to the newer version.
    Any other change raises WriteConflictError, and the object is read once, so that the next plan is made
    from what is there.
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
        """Applies `wanted` on the server side.

        seen: the version that this was decided on; None if there was none. Raises WriteConflictError if the
        object is gone, was created again, or changed in more than its status; with `unchanged`, also if its
        status changed.
        """
        kind = KINDS[wanted["kind"]]

        def write(version: Object | None) -> Object:
            return self._server.apply(wanted, version)

        applied = self._written(kind, wanted, seen, write, unchanged=unchanged)
        self._mirror.put(wanted["kind"], applied, own=True)
        return applied

    def apply_status(self, kind: Kind, seen: Object, status: Object) -> Object | None:
        """Replaces the status unless the object changed since it was seen; ignores an object that is gone."""

        def write(version: Object | None) -> Object | None:
            return self._server.apply_status(kind, seen, status)

        applied = self._written(kind, seen, seen, write, unchanged=True)
        if applied is not None:
            self._mirror.put(kind.kind, applied, own=True)
        return applied

    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object | None:
        """Replaces the finalizers, unless the object changed since it was read (WriteConflictError)."""

        def write(version: Object | None) -> Object | None:
            return self._server.set_finalizers(kind, current, finalizers)

        changed = self._written(kind, current, current, write, unchanged=True)
        if changed is not None:
            self._mirror.put(kind.kind, changed, own=True)
        return changed

    def annotate(self, kind: Kind, current: Object, annotations: Mapping[str, str | None]) -> Object | None:
        """Sets annotations beside those that `apply` sets. Returns the object, or None if it is gone."""

        def write(version: Object | None) -> Object | None:
            return self._server.annotate(kind, version or current, annotations)

        changed = self._written(kind, current, current, write)
        if changed is not None:
            self._mirror.put(kind.kind, changed, own=True)
        return changed

    def resize(self, pod: Object, container: str, requests: Mapping[str, str]) -> Object | None:
        """Changes what a container of a running pod requests. Returns the pod, or None if it cannot."""

        def write(version: Object | None) -> Object | None:
            return self._server.resize(version or pod, container, requests)

        resized = self._written(PODS, pod, pod, write)
        if resized is not None:
            self._mirror.put(PODS.kind, resized, own=True)
        return resized

    def delete(self, kind: Kind, namespace: str | None, name: str, seen: Object | None = None) -> None:
        """Deletes the object and, in the background, its dependents; ignores an object that is gone.

        One with finalizers stays until they are removed: its watch tells of both. seen: the version that this
        was decided on; None: any.
        """

        def write(version: Object | None) -> None:
            self._server.delete(kind, namespace, name, version)

        self._written(kind, {"metadata": {"namespace": namespace, "name": name}}, seen, write)
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

    def _written(
        self,
        kind: Kind,
        named: Object,
        seen: Object | None,
        write: Callable[[Object | None], Result],
        *,
        unchanged: bool = False,
    ) -> Result:
        """Writes to the newest version that is the same as the one seen but for its status.

        Reads the object after a conflict. named: has its namespace and name. seen: as it was decided on;
        None: it did not exist, or any. unchanged: whether its status must be the same, too.
        """
        version = seen if seen is None or unchanged else self._newest(kind, seen)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return write(version)
            except WriteConflictError:
                newer = self._reread(kind, named)
                if unchanged or seen is None or newer is None or attempt == _ATTEMPTS:
                    raise
                if not same_but_status(seen, newer):
                    raise
                version = newer
        raise AssertionError("the last attempt returns or raises")

    def _newest(self, kind: Kind, seen: Object) -> Object:
        """Returns the version in the mirror if it is the same as the one seen but for its status."""
        there = self.get(kind, seen["metadata"].get("namespace"), seen["metadata"]["name"])
        return there if there is not None and same_but_status(seen, there) else seen

    def _reread(self, kind: Kind, named: Object) -> Object | None:
        """Reads an object into the mirror."""
        namespace, name = named["metadata"].get("namespace"), named["metadata"]["name"]
        newer, before = self._server.fetch(kind, namespace, name), self.get(kind, namespace, name)
        if newer is not None:
            self._mirror.put(kind.kind, newer)
        elif before is not None:
            self._mirror.remove(kind.kind, before)
        return newer


def fill(
    server: Cluster, mirror: Mirror, kind: Kind, namespaces: Sequence[str | None] = (None,), labels: str = ""
) -> None:
    """Puts the objects of a kind into the mirror. namespaces, labels: as they are watched; None: all."""
    for namespace in namespaces:
        for body in server.find(kind, namespace, labels):
            mirror.put(kind.kind, body)


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
