"""The mirror holds the newest version of each object, however its news arrive."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_operator.cluster import DEPLOYMENTS, INFERENCE_SERVICES, PLACEMENTS, Kind, Object
from edge_operator.errors import WriteConflictError
from edge_operator.observed import mirror as mirrors
from edge_operator.observed.mirror import Mirror, ObjectKey
from edge_operator.observed.mirrored_cluster import MirroredCluster, vanished

World = Any  # tests/operator/conftest.py
SERVICE, NODE = "edge-intelligence.io/service", "edge-intelligence.io/node"


def body(name: str, version: int, *, uid: str = "", namespace: str = "default", **labels: str) -> Object:
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid or name,
        "resourceVersion": str(version),
        "labels": {key.replace("_", "."): value for key, value in labels.items()},
    }
    return {"kind": "Placement", "metadata": metadata, "spec": {"version": version}}


def labelled(name: str, version: int, service: str) -> Object:
    found = body(name, version)
    found["metadata"]["labels"] = {SERVICE: service, NODE: name}
    return found


def names(found: list[Object]) -> set[str]:
    return {each["metadata"]["name"] for each in found}


def test_an_older_version_that_arrives_late_is_ignored() -> None:
    mirror = Mirror()
    mirror.put("Placement", body("a", 12))
    mirror.put("Placement", body("a", 9))
    found = mirror.get("Placement", "default", "a")
    assert found is not None
    assert found["spec"] == {"version": 12}


def test_a_version_that_is_known_stays_the_same_object() -> None:
    mirror = Mirror()
    mirror.put("Placement", body("a", 12))
    found = mirror.get("Placement", "default", "a")
    mirror.put("Placement", body("a", 12))
    assert mirror.get("Placement", "default", "a") is found


def test_only_what_a_write_returned_last_is_known_as_such() -> None:
    mirror = Mirror()
    mirror.put("Placement", body("a", 12), own=True)
    mirror.put("Placement", body("a", 13))
    assert [mirror.wrote("Placement", body("a", version)) for version in (11, 12, 13)] == [False, True, False]
    mirror.put("Placement", body("a", 14), own=True)
    assert [mirror.wrote("Placement", body("a", version)) for version in (12, 14)] == [False, True]
    mirror.remove("Placement", body("a", 14))
    assert not mirror.wrote("Placement", body("a", 14))


def test_a_recreated_object_replaces_the_deleted_one() -> None:
    mirror = Mirror()
    mirror.put("Placement", body("a", 12, uid="first"))
    mirror.put("Placement", body("a", 14, uid="second"))
    mirror.remove("Placement", body("a", 13, uid="first"))
    found = mirror.get("Placement", "default", "a")
    assert found is not None
    assert found["metadata"]["uid"] == "second"


def test_a_deleted_object_with_finalizers_stays_until_its_watch_reports_that_it_is_gone(world: World) -> None:
    mirror = Mirror()
    cluster = MirroredCluster(world.cluster, mirror)
    kept = world.cluster.put(body("a", 1) | {"kind": "InferenceService"})
    kept["metadata"]["finalizers"] = ["edge-intelligence.io/operator"]
    world.cluster.put(kept)
    mirror.put("InferenceService", world.cluster.get(INFERENCE_SERVICES, "default", "a"))
    cluster.delete(INFERENCE_SERVICES, "default", "a")
    mirror.put("InferenceService", world.cluster.get(INFERENCE_SERVICES, "default", "a"))
    found = cluster.get(INFERENCE_SERVICES, "default", "a")
    assert found is not None
    assert found["metadata"]["deletionTimestamp"]


def test_a_deleted_object_does_not_return_with_an_event_from_before_its_deletion() -> None:
    mirror = Mirror()
    mirror.put("Placement", body("a", 12, uid="first"))
    mirror.forget(ObjectKey("Placement", "default", "a"))
    mirror.put("Placement", body("a", 13, uid="first"))
    assert mirror.find("Placement") == []
    mirror.remove("Placement", body("a", 13, uid="first"))
    mirror.put("Placement", body("a", 20, uid="second"))
    assert names(mirror.find("Placement")) == {"a"}


def test_the_response_to_a_write_that_arrives_after_the_deletion_brings_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirrors, "_REMEMBERED", 2)
    mirror = Mirror()
    for name in ("a", "b"):
        mirror.put("InferenceService", body(name, 12, uid="first"))
        mirror.remove("InferenceService", body(name, 13, uid="first"))
        mirror.put("InferenceService", body(name, 13, uid="first"))
        assert mirror.find("InferenceService") == []
    mirror.put("InferenceService", body("a", 20, uid="second"))
    mirror.put("InferenceService", body("a", 14, uid="first"))
    assert [each["metadata"]["uid"] for each in mirror.find("InferenceService")] == ["second"]


def test_objects_are_found_by_kind_namespace_and_labels() -> None:
    mirror = Mirror()
    for each in (labelled("a", 1, "digits"), labelled("b", 2, "digits"), labelled("c", 3, "faces")):
        mirror.put("Placement", each)
    mirror.put("Placement", body("d", 4, namespace="shop"))
    assert names(mirror.find("Placement", "default", f"{SERVICE}=digits")) == {"a", "b"}
    assert names(mirror.find("Placement", "default", f"{NODE}=b,{SERVICE}")) == {"b"}
    assert names(mirror.find("Placement", None, SERVICE)) == {"a", "b", "c"}
    assert names(mirror.find("Placement", "shop")) == {"d"}
    assert mirror.find("Deployment") == []


def test_an_object_is_found_by_the_labels_of_its_newest_version_alone() -> None:
    mirror = Mirror()
    mirror.put("Placement", labelled("a", 1, "digits"))
    mirror.put("Placement", labelled("a", 2, "faces"))
    assert mirror.find("Placement", "default", f"{SERVICE}=digits") == []
    assert names(mirror.find("Placement", "default", f"{SERVICE}=faces")) == {"a"}


def test_a_find_in_a_namespace_reads_no_object_of_another() -> None:
    class Unread(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            raise AssertionError("an object of another namespace was read")

    mirror = Mirror()
    mirror.put("Placement", labelled("a", 1, "digits"))
    other = body("b", 2, namespace="shop")
    mirror.put("Placement", other)
    stored = mirror.get("Placement", "shop", "b")
    assert stored is not None
    stored["metadata"] = Unread(stored["metadata"])
    assert names(mirror.find("Placement", "default")) == {"a"}
    assert names(mirror.find("Placement", "default", SERVICE)) == {"a"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=20), st.randoms())
def test_events_that_arrive_twice_and_out_of_order_end_in_the_newest_versions(
    changes: list[tuple[str, str]], random: Any
) -> None:
    events = [labelled(name, version, service) for version, (name, service) in enumerate(changes)]
    newest = {each["metadata"]["name"]: each for each in events}
    shuffled = events * 2
    random.shuffle(shuffled)
    mirror = Mirror()
    for event in shuffled:
        mirror.put("Placement", event)
    assert {each["metadata"]["name"]: each["spec"] for each in mirror.find("Placement")} == {
        name: each["spec"] for name, each in newest.items()
    }
    for service in "xy":
        found = mirror.find("Placement", "default", f"{SERVICE}={service}")
        expected = {n for n, e in newest.items() if e["metadata"]["labels"][SERVICE] == service}
        assert names(found) == expected


def test_a_write_is_read_back_before_its_event_arrives(world: World) -> None:
    mirror = Mirror()
    cluster = MirroredCluster(world.cluster, mirror)
    applied = cluster.apply(world.service())
    cluster.apply_status(INFERENCE_SERVICES, applied, {"observedGeneration": 7})
    found = cluster.get(INFERENCE_SERVICES, "default", "digits")
    assert found is not None
    assert found["status"] == {"observedGeneration": 7}
    cluster.delete(INFERENCE_SERVICES, "default", "digits")
    assert cluster.find(INFERENCE_SERVICES) == []


def test_a_write_that_a_newer_version_refuses_reads_that_version(world: World) -> None:
    mirror = Mirror()
    cluster = MirroredCluster(world.cluster, mirror)
    old = world.service()
    mirror.put("InferenceService", old)
    world.change(mode="LocalOnly")
    with pytest.raises(WriteConflictError):
        cluster.set_finalizers(INFERENCE_SERVICES, old, ["edge-intelligence.io/operator"])
    found = cluster.get(INFERENCE_SERVICES, "default", "digits")
    assert found is not None
    assert found["spec"]["mode"] == "LocalOnly"
    cluster.set_finalizers(INFERENCE_SERVICES, found, ["edge-intelligence.io/operator"])


def fill(mirror: Mirror, world: World) -> None:
    """What kopf does before the first event."""
    for (kind, _, _), each in world.cluster.objects.items():
        mirror.put(kind, each)


def test_a_reconcile_reads_nothing_from_the_api_server(world: World) -> None:
    world.settle()
    mirror, server = Mirror(), world.cluster
    fill(mirror, world)

    class OnlyWrites:
        def __getattr__(self, name: str) -> Any:
            assert name not in ("get", "find", "fetch")
            return getattr(server, name)

    world.cluster = MirroredCluster(OnlyWrites(), mirror)
    before = list(world.log)
    world.now += 120
    world.reconcile()
    assert world.log == before


@pytest.mark.parametrize("kind", [PLACEMENTS, DEPLOYMENTS])
def test_an_object_whose_deletion_no_watch_reported_is_found_missing(world: World, kind: Kind) -> None:
    world.settle()
    mirror = Mirror()
    fill(mirror, world)
    assert vanished(world.cluster, mirror, kind) == []
    gone = world.cluster.find(kind)[0]
    world.cluster.delete(kind, "default", gone["metadata"]["name"])
    assert names(vanished(world.cluster, mirror, kind)) == {gone["metadata"]["name"]}
    assert mirror.get(kind.kind, "default", gone["metadata"]["name"]) is None
