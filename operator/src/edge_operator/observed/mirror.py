"""Objects of the cluster in memory, by kind and name, and by the labels that the operator selects by.

Watches and the operator's own writes feed it; everything else only reads. Callers must not change an object
that they are given.

Cost: one object in memory for each object watched, without its managedFields. `get` and `find` by an indexed
label take time proportional to what they return, other finds to the objects of the kind in the namespace, or
in all of them.
"""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from edge_operator.names import NODE_LABEL, POOL_LABEL, RUNTIME_LABEL, SERVICE_LABEL

Object = dict[str, Any]

INDEXED_LABELS = (SERVICE_LABEL, NODE_LABEL, RUNTIME_LABEL, "job-name")
"""Labels with few objects for each value in a namespace; a selector with one of them reads no others."""
CLUSTER_WIDE = (POOL_LABEL, NODE_LABEL)
"""Labels that select objects of all namespaces."""
_REMEMBERED = 10_000
"""Objects that are known to be gone, the latest: more than are deleted in the time of a write."""
_ANY = ""
"""Stands for a label that all objects of a namespace have."""


class ObjectKey(NamedTuple):
    """An object; namespace is empty for one of the whole cluster."""

    kind: str
    namespace: str
    name: str


class _Label(NamedTuple):
    kind: str
    namespace: str
    label: str
    value: str


class Mirror:
    """The newest known version of each object. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, dict[ObjectKey, Object]] = defaultdict(dict)
        self._labelled: dict[_Label, dict[ObjectKey, Object]] = defaultdict(dict)
        self._deleted: dict[ObjectKey, str] = {}
        """Objects whose deletion was requested, by uid, until a watch reports that they are gone."""
        self._gone: OrderedDict[ObjectKey, str] = OrderedDict()
        """Objects that are gone, by uid: the response to a write can come after the event of the deletion."""
        self._own: dict[ObjectKey, str] = {}
        """Versions that the last writes of the operator returned."""

    def put(self, kind: str, body: Mapping[str, Any], *, own: bool = False) -> None:
        """Stores an object, unless a newer version is known, it is gone or its deletion was requested.

        own: whether this is what a write of the operator returned.
        """
        key = key_of(kind, body)
        metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        stored = {**body, "metadata": metadata}
        with self._lock:
            uid = metadata.get("uid", "")
            if uid in (self._deleted.get(key), self._gone.get(key)):
                return
            if own:
                self._own[key] = metadata.get("resourceVersion", "")
            before = self._kinds[kind].get(key)
            if before is not None:
                if not _newer(metadata, before["metadata"]):
                    return
                self._drop(key, before)
            self._kinds[kind][key] = stored
            for label in _labels(key, stored):
                self._labelled[label][key] = stored

    def wrote(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Whether a version is what the operator's last write of the object returned."""
        version = body["metadata"].get("resourceVersion")
        return version is not None and self._own.get(key_of(kind, body)) == version

    def remove(self, kind: str, body: Mapping[str, Any]) -> None:
        """Removes an object that is gone, unless another of its name was created since."""
        key, uid = key_of(kind, body), body["metadata"].get("uid", "")
        with self._lock:
            self._own.pop(key, None)
            if self._deleted.get(key) == uid:
                del self._deleted[key]
            if uid:
                self._gone[key] = uid
                self._gone.move_to_end(key)
                if len(self._gone) > _REMEMBERED:
                    self._gone.popitem(last=False)
            before = self._kinds[kind].get(key)
            if before is not None and before["metadata"].get("uid", "") == uid:
                self._drop(key, before)

    def forget(self, key: ObjectKey) -> None:
        """Removes an object whose deletion was requested; its later versions are ignored."""
        with self._lock:
            before = self._kinds[key.kind].get(key)
            if before is not None:
                self._deleted[key] = before["metadata"].get("uid", "")
                self._drop(key, before)

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """Returns the object, or None if it does not exist."""
        return self._kinds[kind].get(ObjectKey(kind, namespace or "", name))

    def find(self, kind: str, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Returns the objects of a kind. labels: `key=value` or `key`, all of them, separated by commas."""
        wanted = [part.partition("=") for part in labels.split(",") if part]
        with self._lock:
            found = list(self._candidates(kind, namespace, wanted))
        return [
            body
            for body in found
            if namespace in (None, body["metadata"].get("namespace", ""))
            and all(_has(body, name, value if given else None) for name, given, value in wanted)
        ]

    def namespaces(self, kind: str) -> set[str]:
        """Returns the namespaces with objects of a kind."""
        return {key.namespace for key in self.keys(kind)}

    def keys(self, kind: str) -> frozenset[ObjectKey]:
        """Returns the objects of a kind."""
        with self._lock:
            return frozenset(self._kinds[kind])

    def _candidates(
        self, kind: str, namespace: str | None, wanted: list[tuple[str, str, str]]
    ) -> Iterable[Object]:
        for label, given, value in wanted:
            if label in INDEXED_LABELS and given and namespace is not None:
                return self._labelled.get(_Label(kind, namespace, label, value), {}).values()
            if label in CLUSTER_WIDE and given:
                return self._labelled.get(_Label(kind, "", label, value), {}).values()
        if namespace is not None:
            return self._labelled.get(_Label(kind, namespace, _ANY, ""), {}).values()
        return self._kinds[kind].values()

    def _drop(self, key: ObjectKey, body: Object) -> None:
        del self._kinds[key.kind][key]
        for label in _labels(key, body):
            labelled = self._labelled[label]
            labelled.pop(key, None)
            if not labelled:
                del self._labelled[label]


def key_of(kind: str, body: Mapping[str, Any]) -> ObjectKey:
    """Returns the key of an object."""
    metadata = body["metadata"]
    return ObjectKey(kind, metadata.get("namespace") or "", metadata["name"])


def _labels(key: ObjectKey, body: Object) -> list[_Label]:
    own = body["metadata"].get("labels") or {}
    places = [(key.namespace, name) for name in INDEXED_LABELS] + [("", name) for name in CLUSTER_WIDE]
    found = [_Label(key.kind, namespace, name, own[name]) for namespace, name in places if name in own]
    return [_Label(key.kind, key.namespace, _ANY, ""), *found]


def _has(body: Object, label: str, value: str | None) -> bool:
    own = body["metadata"].get("labels") or {}
    return label in own if value is None else own.get(label) == value


def _newer(metadata: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether this is a later version, or another object of that name.

    The version that is known stays the same object, from which others need not read again.

    Kubernetes 1.35 defines resource versions of a kind as integers that can be compared; earlier API servers
    of etcd behave like that. Of versions in another form, the last to arrive is kept.
    """
    if metadata.get("uid") != before.get("uid"):
        return True
    now, then = str(metadata.get("resourceVersion", "")), str(before.get("resourceVersion", ""))
    if now and now == then:
        return False
    return int(now) >= int(then) if now.isdecimal() and then.isdecimal() else True
