"""Without an operator, nothing has its finalizers, so that services, pools and tenants can be deleted."""

from collections.abc import Sequence
from typing import Any

import pytest

from edge_operator import finalizer_removal
from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, PODS, TENANTS, Kind, Object
from edge_operator.errors import ClusterError, WriteConflictError
from edge_operator.finalizer_removal import OPERATOR_PODS, remove_finalizers
from edge_operator.names import FINALIZER, IN_USE_FINALIZER, in_use_finalizer

A = f"InferenceService default/a: without {FINALIZER}"


def _service(name: str, *finalizers: str, namespace: str = "default") -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "finalizers": list(finalizers)}}


def _of_cluster(name: str, *finalizers: str) -> Object:
    return {"metadata": {"name": name, "finalizers": list(finalizers)}}


class ApiServer:
    """Holds services, pools and tenants, and pods of the operator that end after some looks."""

    def __init__(
        self,
        *services: Object,
        pods: int = 0,
        device_pools: Sequence[Object] = (),
        tenants: Sequence[Object] = (),
    ) -> None:
        self.services = {(s["metadata"]["namespace"], s["metadata"]["name"]): s for s in services}
        self.others = {DEVICE_POOLS.kind: device_pools, TENANTS.kind: tenants}
        self.pods, self.conflicts, self.now = pods, 0, 0.0
        self.known = {INFERENCE_SERVICES, DEVICE_POOLS, TENANTS}
        self.log: list[str] = []

    def serves(self, kind: Kind) -> bool:
        return kind in self.known

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        if kind is PODS:
            assert (namespace, labels) == ("edge", OPERATOR_PODS)
            self.log.append("pods")
            self.pods -= 1
            return [{}] if self.pods >= 0 else []
        if kind != INFERENCE_SERVICES:
            assert namespace is None
            return list(self.others[kind.kind])
        return [body for (at, _), body in self.services.items() if namespace in (None, at)]

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        return self.services.get((namespace or "", name))

    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object | None:
        if self.conflicts:
            self.conflicts -= 1
            raise WriteConflictError("changed")
        self.log.append(f"{current['metadata']['name']}: {finalizers}")
        current["metadata"]["finalizers"] = finalizers
        return current

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def remove(self, watched: str | None = None) -> list[str]:
        return remove_finalizers(self, "edge", watched, lambda: self.now, self.sleep)


def test_the_finalizer_goes_and_those_of_others_stay() -> None:
    cluster = ApiServer(
        _service("a", "example.com/audit", FINALIZER), _service("b"), _service("c", FINALIZER)
    )
    assert cluster.remove() == [
        f"InferenceService default/{name}: without {FINALIZER}" for name in ("a", "c")
    ]
    assert cluster.log == ["pods", "a: ['example.com/audit']", "c: []"]


def test_pods_of_the_operator_end_first_since_they_would_set_the_finalizers_again() -> None:
    cluster = ApiServer(_service("a", FINALIZER), pods=3)
    assert cluster.remove() == [A]
    assert cluster.log == ["pods"] * 4 + ["a: []"]


def test_a_pod_that_does_not_end_is_waited_for_only_a_while() -> None:
    cluster = ApiServer(_service("a", FINALIZER), pods=10**6)
    assert cluster.remove() == [A]
    assert cluster.now == 90.0


def test_a_service_that_changes_at_the_same_time_is_read_again() -> None:
    cluster = ApiServer(_service("a", FINALIZER))
    cluster.conflicts = 2
    assert cluster.remove() == [A]
    assert cluster.services["default", "a"]["metadata"]["finalizers"] == []
    cluster = ApiServer(_service("a", FINALIZER))
    cluster.conflicts = 100
    with pytest.raises(ClusterError, match=f"default/a.*remove the finalizer {FINALIZER}"):
        cluster.remove()


def test_an_operator_of_one_namespace_leaves_services_elsewhere_alone() -> None:
    cluster = ApiServer(_service("a", FINALIZER), _service("b", FINALIZER, namespace="shop"))
    assert cluster.remove("shop") == [f"InferenceService shop/b: without {FINALIZER}"]
    assert cluster.services["default", "a"]["metadata"]["finalizers"] == [FINALIZER]


def test_pools_and_tenants_lose_the_finalizer_of_the_operator_of_their_scope() -> None:
    others = in_use_finalizer("lab")
    cluster = ApiServer(
        device_pools=[_of_cluster("factory", IN_USE_FINALIZER, others)],
        tenants=[_of_cluster("retail", IN_USE_FINALIZER)],
    )
    assert cluster.remove() == [
        f"DevicePool factory: without {IN_USE_FINALIZER}",
        f"Tenant retail: without {IN_USE_FINALIZER}",
    ]
    assert cluster.log == ["pods", f"factory: {[others]}", "retail: []"]
    assert cluster.remove("lab") == [f"DevicePool factory: without {others}"]


def test_an_object_that_cannot_be_changed_keeps_no_other_from_losing_its_finalizer() -> None:
    cluster = ApiServer(_service("a", FINALIZER), device_pools=[_of_cluster("factory", IN_USE_FINALIZER)])
    cluster.conflicts = 10
    with pytest.raises(ClusterError, match="InferenceService default/a"):
        cluster.remove()
    assert cluster.others[DEVICE_POOLS.kind][0]["metadata"]["finalizers"] == []


def test_an_installation_without_tenants_is_cleaned_as_well() -> None:
    cluster = ApiServer(_service("a", FINALIZER))
    cluster.known.remove(TENANTS)
    assert cluster.remove() == [A]


def test_nothing_is_done_without_the_kind() -> None:
    cluster = ApiServer(_service("a", FINALIZER))
    cluster.known = set()
    assert (cluster.remove(), cluster.log) == ([], [])


def test_the_command_prints_what_it_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_operator import cli, cluster

    given: list[Any] = []

    def removed(server: Any, *arguments: Any) -> list[str]:
        given.extend(arguments[:2])
        return ["DevicePool a: without it"]

    monkeypatch.setattr(cluster.ApiServer, "from_environment", lambda: object())
    monkeypatch.setattr(finalizer_removal, "remove_finalizers", removed)
    assert cli.main(["remove-finalizers", "--installed-in", "edge", "--namespace", "shop"]) == 0
    assert given == ["edge", "shop"]
    assert capsys.readouterr().out == "DevicePool a: without it\n"
