"""Events without relevant changes are ignored."""

from typing import Any

from edge_operator.observed import fingerprints
from edge_operator.observed.fingerprints import Seen


def _node(ready: str = "True", heartbeat: str = "12:00", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "edge-a", "uid": "1", "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}]},
    }


def _placement(generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits-edge-a", "namespace": "default", "generation": generation},
        "status": status,
    }


def test_a_nodes_heartbeat_changes_no_fingerprint_and_its_readiness_and_labels_do() -> None:
    seen = Seen()

    def news(body: dict[str, Any]) -> bool:
        return seen.changed("MODIFIED", "Node", body, fingerprints.node(body))

    assert news(_node())
    assert not news(_node(heartbeat="12:05"))
    assert news(_node(ready="Unknown"))
    assert news(_node(ready="Unknown", tier="edge"))


def test_a_nodes_capacity_changes_its_fingerprint() -> None:
    def sized(memory: str) -> dict[str, Any]:
        body = _node()
        return body | {"status": body["status"] | {"allocatable": {"memory": memory}}}

    seen = Seen()
    assert seen.changed("ADDED", "Node", sized("4Gi"), fingerprints.node(sized("4Gi")))
    assert not seen.changed("MODIFIED", "Node", sized("4096Mi"), fingerprints.node(sized("4096Mi")))
    assert seen.changed("MODIFIED", "Node", sized("2Gi"), fingerprints.node(sized("2Gi")))


def test_a_measurement_changes_no_fingerprint_and_a_switch_of_routes_does() -> None:
    seen = Seen()

    def news(body: dict[str, Any]) -> bool:
        return seen.changed("MODIFIED", "Placement", body, fingerprints.placement(body))

    assert news(_placement(loaded=True, activeRoute="a@local", requests=1))
    assert not news(_placement(loaded=True, activeRoute="a@local", requests=99, link={"bandwidth": "1M"}))
    assert news(_placement(loaded=True, activeRoute="b@pool1"))
    assert news(_placement(loaded=True, activeRoute="b@pool1", link={"state": "Down"}))
    assert news(_placement(2, loaded=True, activeRoute="b@pool1", link={"state": "Down"}))
    assert news(_placement(2, loaded=True, activeRoute="b@pool1", link={"state": "Down"}, idle=True))


def test_a_report_on_first_requests_changes_the_fingerprint_and_the_number_of_kept_inputs_does_not() -> None:
    seen = Seen()

    def news(**first: Any) -> bool:
        body = _placement(loaded=True, firstRequests=first)
        return seen.changed("MODIFIED", "Placement", body, fingerprints.placement(body))

    assert news()
    assert news(kept=1)
    assert not news(kept=8)
    assert news(kept=8, attempts=1)
    assert news(kept=0, attempts=1, profile={"model": "sha256:1"})


def test_the_operators_own_status_of_a_service_changes_no_fingerprint() -> None:
    seen = Seen()
    body = {"metadata": {"name": "digits", "namespace": "default", "uid": "1", "generation": 3}}
    assert seen.changed("ADDED", "InferenceService", body, fingerprints.service(body))
    body |= {"status": {"url": "http://digits"}}
    assert not seen.changed("MODIFIED", "InferenceService", body, fingerprints.service(body))
    body["metadata"] |= {"deletionTimestamp": "2026-03-01T12:00:00Z"}
    assert seen.changed("MODIFIED", "InferenceService", body, fingerprints.service(body))


def test_an_object_that_was_deleted_and_created_again_is_reported_both_times() -> None:
    seen = Seen()
    body = {"metadata": {"name": "factory", "uid": "1", "generation": 1}}
    assert seen.changed(None, "DevicePool", body, fingerprints.generation(body))
    assert seen.changed("DELETED", "DevicePool", body, fingerprints.generation(body))
    assert seen.changed("ADDED", "DevicePool", body, fingerprints.generation(body))
