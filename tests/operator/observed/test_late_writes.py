"""A write goes to the version that it was decided on, or to one that differs in its status alone."""

from collections.abc import Callable
from typing import Any

import pytest

from edge_operator.cluster import DEPLOYMENTS, PLACEMENTS, Object
from edge_operator.errors import NotLeadingError, WriteConflictError
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.mirrored_cluster import MirroredCluster
from edge_operator.versions import same_but_status

World = Any  # tests/operator/conftest.py
NAME = "digits.cam-1"


class Strict:
    """The fake cluster, which refuses writes to any other version than the one given, as API servers do."""

    def __init__(self, world: World) -> None:
        self._cluster: Any = world.cluster
        self.before_write: Callable[[], object] = lambda: None
        self.writes: list[str] = []

    def fetch(self, *what: Any) -> Object | None:
        found: Object | None = self._cluster.fetch(*what)
        return found

    def apply(self, wanted: Object, seen: Object | None = None) -> Object:
        self._begin("apply", seen)
        applied: Object = self._cluster.apply(wanted, seen, unchanged=seen is not None)
        return applied

    def delete(self, kind: Any, namespace: str | None, name: str, seen: Object | None = None) -> None:
        self._begin("delete", seen)
        self._check(kind, namespace, name, seen)
        self._cluster.delete(kind, namespace, name, seen)

    def annotate(self, kind: Any, current: Object, annotations: Any) -> Object:
        self._begin("annotate", current)
        self._check(kind, current["metadata"]["namespace"], current["metadata"]["name"], current)
        annotated: Object = self._cluster.annotate(kind, current, annotations)
        return annotated

    def _begin(self, what: str, seen: Object | None) -> None:
        self.before_write()
        self.writes.append(what if seen is None else f"{what} {seen['metadata']['resourceVersion']}")

    def _check(self, kind: Any, namespace: str | None, name: str, seen: Object | None) -> None:
        there = self._cluster.fetch(kind, namespace, name)
        if seen is not None and there["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            raise WriteConflictError("the object has been modified")


@pytest.fixture
def server(world: World) -> Strict:
    world.settle()
    return Strict(world)


@pytest.fixture
def mirrored(server: Strict) -> tuple[MirroredCluster, Mirror]:
    mirror = Mirror()
    return MirroredCluster(server, mirror), mirror  # type: ignore[arg-type]


def written(cluster: MirroredCluster, seen: Object) -> dict[str, Callable[[], object]]:
    """The writes of a plan that was decided on what was seen."""
    spec = seen["spec"] | {"mode": "EdgeOnly"}
    body = {key: seen[key] for key in ("apiVersion", "kind")}
    meta = {key: seen["metadata"][key] for key in ("name", "namespace", "labels")}
    return {
        "apply": lambda: cluster.apply(body | {"metadata": meta, "spec": spec}, seen),
        "annotate": lambda: cluster.annotate(PLACEMENTS, seen, {"edge-intelligence.io/links": "{}"}),
        "delete": lambda: cluster.delete(PLACEMENTS, "default", NAME, seen),
    }


@pytest.mark.parametrize("what", ["apply", "annotate", "delete"])
@pytest.mark.parametrize("watched", [True, False])
def test_a_report_of_a_runtime_delays_no_write(
    world: World, server: Strict, mirrored: tuple[MirroredCluster, Mirror], what: str, watched: bool
) -> None:
    cluster, mirror = mirrored
    seen = world.cluster.get(PLACEMENTS, "default", NAME)
    reported = world.cluster.report_status(PLACEMENTS, "default", NAME, seen["status"] | {"requests": 99})
    mirror.put("Placement", reported if watched else seen)
    written(cluster, seen)[what]()
    last = f"{what} {reported['metadata']['resourceVersion']}"
    first = f"{what} {seen['metadata']['resourceVersion']}"
    assert server.writes == ([last] if watched else [first, last])


@pytest.mark.parametrize("what", ["apply", "annotate", "delete"])
def test_a_late_write_conflicts_with_what_the_next_leader_wrote(
    world: World, server: Strict, mirrored: tuple[MirroredCluster, Mirror], what: str
) -> None:
    cluster, mirror = mirrored
    seen = world.cluster.get(PLACEMENTS, "default", NAME)
    mirror.put("Placement", seen)
    newer = world.cluster.put(seen | {"spec": seen["spec"] | {"mode": "CloudOnly"}})
    with pytest.raises(WriteConflictError):
        written(cluster, seen)[what]()
    assert world.cluster.get(PLACEMENTS, "default", NAME) == newer
    assert mirror.get("Placement", "default", NAME) == newer, "the next plan is made from it"
    assert len(server.writes) == 1


def test_a_deposed_leader_does_not_follow_a_version_that_only_differs_in_its_status(
    world: World, server: Strict, mirrored: tuple[MirroredCluster, Mirror]
) -> None:
    """It was stopped after its fence let the write begin, and continues when another replica leads."""
    cluster, mirror = mirrored
    seen = world.cluster.get(PLACEMENTS, "default", NAME)
    mirror.put("Placement", seen)
    world.cluster.report_status(PLACEMENTS, "default", NAME, seen["status"] | {"requests": 99})
    begun: list[int] = []

    def fence() -> None:
        if begun:
            raise NotLeadingError("another replica leads")
        begun.append(1)

    server.before_write = fence
    with pytest.raises(NotLeadingError):
        written(cluster, seen)["apply"]()
    assert world.cluster.get(PLACEMENTS, "default", NAME)["spec"] == seen["spec"]


def test_a_status_that_changes_at_every_attempt_is_left_to_the_next_plan(
    world: World, server: Strict, mirrored: tuple[MirroredCluster, Mirror]
) -> None:
    cluster, _ = mirrored
    seen = world.cluster.get(PLACEMENTS, "default", NAME)
    count = iter(range(100))

    def reports() -> None:
        status = seen["status"] | {"requests": next(count)}
        world.cluster.report_status(PLACEMENTS, "default", NAME, status)

    server.before_write = reports
    with pytest.raises(WriteConflictError):
        written(cluster, seen)["apply"]()
    assert len(server.writes) == 4


def body(**changed: Any) -> Object:
    meta = {"name": "x", "uid": "1", "resourceVersion": "7", "labels": {"app": "edge"}, "annotations": {}}
    return {"kind": DEPLOYMENTS.kind, "metadata": meta | changed, "spec": {"replicas": 1}}


@pytest.mark.parametrize(
    "other",
    [
        body(resourceVersion="8"),
        body() | {"status": {"readyReplicas": 1}},
        body(annotations={"deployment.kubernetes.io/revision": "2"}),
        body(managedFields=[{"manager": "kubelet"}]),
    ],
    ids=["version", "status", "revision", "managers"],
)
def test_reports_of_others_leave_a_version_the_same(other: Object) -> None:
    assert same_but_status(body(), other)


@pytest.mark.parametrize(
    "other",
    [
        body(uid="2"),
        body() | {"spec": {"replicas": 2}},
        body(annotations={"edge-intelligence.io/former-tails": "[]"}),
        body(labels={}),
        body(deletionTimestamp="2026-03-01T12:00:00Z"),
        body(finalizers=["x"]),
        body() | {"data": {"tls.crt": "AA=="}},
    ],
    ids=["object", "spec", "annotation", "labels", "deletion", "finalizers", "data"],
)
def test_what_decisions_depend_on_makes_another_version(other: Object) -> None:
    assert not same_but_status(body(), other)
