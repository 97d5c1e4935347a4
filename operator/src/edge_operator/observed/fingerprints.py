"""Fingerprints of the fields that matter, so that heartbeats and the operator's writes are ignored. Pure."""

import json
from collections.abc import Hashable, Mapping
from typing import Any

from edge_api.rollouts import ABORT_ANNOTATION, PROMOTE_ANNOTATION
from edge_api.told_links import LINKS_ANNOTATION
from edge_operator.names import CPU_WEIGHT_ANNOTATION
from edge_operator.pool_nodes import capacity_of

Body = Mapping[str, Any]


class Seen:
    """The last fingerprint of every object that had an event."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], Hashable] = {}

    def changed(self, event: str | None, kind: str, body: Body, fingerprint: Hashable) -> bool:
        """Whether the event changes the fingerprint; always True for a deletion."""
        key = (kind, body["metadata"].get("namespace") or "", body["metadata"]["name"])
        if event == "DELETED":
            self._last.pop(key, None)
            return True
        before = self._last.get(key)
        self._last[key] = fingerprint
        return before != fingerprint


def generation(body: Body) -> Hashable:
    """The spec, by its generation."""
    meta = body["metadata"]
    return (meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"))


def service(body: Body) -> Hashable:
    """The spec, the deletion, the finalizers, and the annotations that promote and abort a roll-out."""
    notes = body["metadata"].get("annotations") or {}
    verbs = (notes.get(PROMOTE_ANNOTATION), notes.get(ABORT_ANNOTATION))
    return (generation(body), tuple(body["metadata"].get("finalizers") or ()), verbs)


def node(body: Body) -> Hashable:
    """The labels, the readiness, the taints, and what pods can use of it."""
    ready = [c.get("status") for c in _conditions(body) if c.get("type") == "Ready"]
    labels = body["metadata"].get("labels") or {}
    return (
        body["metadata"].get("uid"),
        tuple(sorted(labels.items())),
        tuple(ready),
        json.dumps((body.get("spec") or {}).get("taints") or [], sort_keys=True),
        capacity_of(body),
    )


def placement(body: Body) -> Hashable:
    """The runtime's report without measurements, but for one on the inputs of first requests."""
    status = body.get("status") or {}
    fields = ("observedGeneration", "loaded", "message", "activeRoute", "sloMet", "peerScheme", "idle")
    first = status.get("firstRequests") or {}
    return (
        generation(body),
        tuple(status.get(field) for field in fields),
        (status.get("link") or {}).get("state"),
        (bool(first.get("kept")), first.get("attempts"), bool(first.get("profile"))),
    )


def report(body: Body) -> Hashable:
    """All that the runtime reports, which a watch can bring together with a later write of the operator."""
    return hash(json.dumps(body.get("status"), sort_keys=True, default=str))


def needs(body: Body) -> Hashable:
    """What the runtime of a Placement depends on: the spec, and the weight of its requests."""
    return (generation(body), (body["metadata"].get("annotations") or {}).get(CPU_WEIGHT_ANNOTATION))


def links(body: Body) -> Hashable:
    """The spec, its annotation of links, and what it reports of them without the time of measurements."""
    status = body.get("status") or {}
    reported = [status.get("link"), *(status.get("localLinks") or ())]
    values = [{**link, "measuredAt": None} for link in reported if link]
    told = (body["metadata"].get("annotations") or {}).get(LINKS_ANNOTATION)
    return (generation(body), json.dumps(values, sort_keys=True, default=str), told)


def labels(body: Body) -> Hashable:
    """The labels."""
    return tuple(sorted((body["metadata"].get("labels") or {}).items()))


def deployment(body: Body) -> Hashable:
    """The spec, what was applied, how far its pods are replaced, and whether pods are refused."""
    status = body.get("status") or {}
    counts = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas")
    refused = any(c.get("type") == "ReplicaFailure" and c.get("status") == "True" for c in _conditions(body))
    meta = body["metadata"]
    labels = (tuple(sorted((meta.get(part) or {}).items())) for part in ("labels", "annotations"))
    return (generation(body), *labels, tuple(status.get(count, 0) for count in counts), refused)


def pods(body: Body) -> Hashable:
    """What services report of a Deployment: that it has a ready pod, else all that can tell why it has none.

    A rollout that keeps a pod ready changes nothing for the services at the node, which can be many.
    """
    ready = (body.get("status") or {}).get("readyReplicas", 0) > 0
    return (body["metadata"].get("uid"), ready, None if ready else deployment(body))


def owned(body: Body) -> Hashable:
    """What the operator applies: the spec by its generation, else the whole object; labels and owners.

    Kinds without a generation have no status either.
    """
    meta = body["metadata"]
    content = (
        None
        if meta.get("generation")
        else json.dumps(
            {key: part for key, part in body.items() if key != "metadata"}, sort_keys=True, default=str
        )
    )
    labels = tuple(sorted((meta.get("labels") or {}).items()))
    return (generation(body), content, labels, json.dumps(meta.get("ownerReferences") or []))


def job(body: Body) -> Hashable:
    """Whether the Job ended."""
    return (generation(body), tuple(c.get("type") for c in _conditions(body) if c.get("status") == "True"))


def _conditions(body: Body) -> list[Mapping[str, Any]]:
    return list((body.get("status") or {}).get("conditions") or [])
