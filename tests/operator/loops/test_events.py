"""Which events wake which loops."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from edge_operator.authority.upkeep import Upkeep
from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    JOBS,
    NAMESPACES,
    NODES,
    PLACEMENTS,
    SECRETS,
    SERVICES,
    TENANTS,
    Kind,
)
from edge_operator.errors import ClusterError
from edge_operator.keys import NamespaceKey, ServiceKey, TailKey
from edge_operator.leadership import Leadership
from edge_operator.loops.namespaces import NamespaceMemory
from edge_operator.loops.operator import Operator
from edge_operator.metrics import CERTIFICATE_FAILURES
from edge_operator.observed.mirror import Mirror

World = Any  # tests/operator/conftest.py
DIGITS, OTHER = ServiceKey("default", "digits"), ServiceKey("default", "other")
SHARED = NamespaceKey("default")
"""The namespace of both, whose runtimes they share."""
OWNER = [{"kind": "InferenceService", "name": "digits"}]


@dataclass
class Woken:
    """Records what is woken, in the place of a pool's loop and of the namespaces' queue."""

    name: str = ""
    found: set[Any] = field(default_factory=set)
    mended: set[Any] = field(default_factory=set)
    urgent: set[Any] = field(default_factory=set)

    def service_changed(self, key: ServiceKey, *, mended: bool = False, urgent: bool = False) -> None:
        self.found.add(key)
        self.mended |= {key} if mended else set()
        self.urgent |= {key} if urgent else set()

    def topology_changed(self, *, mended: bool = False) -> None:
        self.found.add(self.name)
        self.mended |= {self.name} if mended else set()

    def measurements_changed(self) -> None:
        self.found.add("measurements")

    def tenants_changed(self) -> None:
        self.found.add(f"tenants of {self.name}")

    def status_changed(self) -> None:
        self.found.add(self.name)

    def add(self, key: NamespaceKey) -> None:
        self.found.add(key)

    def taken(self) -> set[Any]:
        taken, self.found, self.mended, self.urgent = self.found, set(), set(), set()
        return taken


@dataclass
class Loops:
    """An operator whose loops record what wakes them."""

    operator: Operator
    pools: dict[str, Woken]
    namespaces: Woken

    def taken(self) -> set[Any]:
        found = self.namespaces.taken()
        return found.union(*(pool.taken() for pool in self.pools.values()))

    @property
    def mended(self) -> set[Any]:
        return set().union(*(pool.mended for pool in self.pools.values()))

    def event(self, kind: Kind, body: Any, event_type: str | None = "MODIFIED") -> None:
        self.operator.event(kind, event_type, body)


@pytest.fixture
async def loops(world: World) -> Loops:
    """An operator that has seen two services on two pools, and has nothing left to do."""
    leadership = Leadership(world.cluster, "edge-intelligence", "a")
    operator = Operator(world.clients, world.settings, None, world.cluster, Mirror(), leadership)
    found = Loops(operator, {name: Woken(name) for name in ("factory", "shop")}, Woken())
    operator.pools = dict(found.pools)  # type: ignore[arg-type]
    operator.queue = found.namespaces  # type: ignore[assignment]
    for name, pool in (("digits", "factory"), ("other", "shop")):
        operator.mirror.put("DevicePool", _pool(pool))
        found.event(DEVICE_POOLS, _pool(pool), None)
        found.event(INFERENCE_SERVICES, _body(name, spec={"devicePool": pool}), None)
    found.taken()
    return found


def _pool(name: str, **fields: Any) -> Any:
    body = _body(name, **({"spec": {}} | fields))
    del body["metadata"]["namespace"]
    return body


def _body(name: str, *, generation: int = 1, **fields: Any) -> Any:
    meta = {
        "name": name,
        "namespace": "default",
        "uid": name,
        "generation": generation,
        "ownerReferences": OWNER,
    }
    return {"metadata": meta} | fields


async def test_a_certificate_that_cannot_be_issued_wakes_all_pools_once(
    loops: Loops, world: World, tmp_path: Path
) -> None:
    operator = loops.operator
    settings = replace(world.settings, issues_certificates=True, tls_dir=str(tmp_path))
    operator.certificates = Upkeep(world.cluster, settings, set)
    operator.certificates.renew()
    operator.report_certificates()
    assert operator.uncertified == {}
    loops.taken()
    meta = {"name": "model-store-tls", "namespace": settings.namespace}
    world.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
    with pytest.raises(ClusterError):
        operator.certificates.renew()
    for woken in ({"factory", "shop"}, set()):
        operator.report_certificates()
        assert loops.taken() == woken
    assert [sample.value for family in CERTIFICATE_FAILURES.collect() for sample in family.samples] == [1]


async def test_a_namespace_is_reconciled_although_its_certificate_is_refused(
    world: World, tmp_path: Path
) -> None:
    world.settle()
    settings = replace(world.settings, issues_certificates=True, tls_dir=str(tmp_path))
    leadership = Leadership(world.cluster, "edge-intelligence", "a")
    operator = Operator(world.clients, settings, None, world.cluster, Mirror(), leadership)
    operator.certificates = Upkeep(world.cluster, settings, lambda: {"default"})
    operator.certificates.renew()
    secret = world.cluster.get(SECRETS, "default", "edge-runtime-tls")
    world.cluster.put(secret | {"metadata": {"name": "edge-runtime-tls", "namespace": "default"}})
    with pytest.raises(ClusterError):
        operator.certificates.renew()
    world.cluster.delete(SERVICES, "default", "edge-runtime-gate")
    running = asyncio.create_task(operator.queue.run())
    operator.queue.add(SHARED, 0.0)
    async with asyncio.timeout(30):
        while not operator.namespaces.get(SHARED, NamespaceMemory()).findings.refused:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    running.cancel()
    refused, _, _ = operator.namespaces[SHARED].findings.concerning("digits")
    assert any("default/edge-runtime-tls" in each for each in refused)
    assert world.cluster.get(SERVICES, "default", "edge-runtime-gate") is not None
    assert operator.uncertified is not None
    assert list(operator.uncertified) == ["default"]


async def test_a_namespace_without_services_is_forgotten_once_its_runtimes_are_gone(world: World) -> None:
    world.settle()
    leadership = Leadership(world.cluster, "edge-intelligence", "a")
    operator = Operator(world.clients, world.settings, None, world.cluster, Mirror(), leadership)
    running = asyncio.create_task(operator.queue.run())
    try:
        for services in (True, False):
            if not services:
                for kind, name in [(b["kind"], b["metadata"]["name"]) for b in world.placements().values()]:
                    del world.cluster.objects[kind, "default", name]
                del world.cluster.objects["InferenceService", "default", "digits"]
            operator.queue.add(SHARED, 0.0)
            async with asyncio.timeout(30):
                while (SHARED in operator.namespaces) is not services:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.01)
        assert world.deployments() == []
    finally:
        running.cancel()


async def test_a_pools_change_wakes_its_loop_and_the_namespaces_with_services(loops: Loops) -> None:
    loops.event(DEVICE_POOLS, _pool("factory", generation=2))
    assert loops.mended == {"factory"}
    assert loops.taken() == {"factory", SHARED}
    loops.event(DEVICE_POOLS, _pool("factory", generation=2, status={"nodeCount": 3}))
    assert loops.taken() == set()


async def test_a_node_wakes_the_pools_that_select_it(loops: Loops) -> None:
    operator = loops.operator
    for name, pool in (("digits", "factory"), ("other", "shop")):
        operator.mirror.put("InferenceService", _body(name, spec={"devicePool": pool}))
        group = {"deviceClass": "camera", "nodeSelector": {"site": pool}}
        operator.mirror.put("DevicePool", _pool(pool, spec={"nodes": [group], "tritonServers": []}))
    for labels, ready, woken in (
        ({"site": "factory"}, True, {"factory", SHARED}),
        ({"site": "factory", "rack": "7"}, True, set()),
        ({"site": "factory"}, False, {"factory", SHARED}),
        ({"site": "shop"}, False, {"factory", "shop", SHARED}),
        ({}, True, {"shop", SHARED}),
    ):
        body = _body("edge-a", status={"conditions": [{"type": "Ready", "status": str(ready)}]})
        body["metadata"]["labels"] = labels
        loops.event(NODES, body)
        operator.wake_pools_of_nodes()
        assert loops.taken() == woken


@pytest.fixture
async def contending(loops: Loops) -> Loops:
    """The two pools select one node, which belongs to `factory`; nothing is left to do."""
    loops.event(NODES, _labelled("edge-a", site="one"), None)
    for name, created in (("factory", "2026-01-01T00:00:00Z"), ("shop", "2026-01-02T00:00:00Z")):
        loops.event(DEVICE_POOLS, _selecting(loops, name, created, generation=2))
    loops.operator.wake_contending_pools()
    loops.operator.wake_pools_of_nodes()
    loops.taken()
    return loops


def _labelled(name: str, **labels: str) -> Any:
    body = _body(name, status={"conditions": [{"type": "Ready", "status": "True"}]})
    body["metadata"]["labels"] = labels
    return body


def _selecting(loops: Loops, name: str, created: str, site: str = "one", *, generation: int = 1) -> Any:
    """A pool that selects the nodes of a site, as the mirror has it."""
    group = {"deviceClass": "camera", "nodeSelector": {"site": site}}
    body = _pool(name, generation=generation, spec={"nodes": [group]}) | {"kind": "DevicePool"}
    body["apiVersion"] = "edge-intelligence.io/v1alpha1"
    body["metadata"]["creationTimestamp"] = created
    loops.operator.mirror.put("DevicePool", body)
    return body


async def test_an_older_pool_that_lets_a_node_go_wakes_the_one_that_gets_it(contending: Loops) -> None:
    body = _selecting(contending, "factory", "2026-01-01T00:00:00Z", "two", generation=3)
    contending.event(DEVICE_POOLS, body)
    contending.taken()
    contending.operator.wake_contending_pools()
    assert "shop" in contending.taken()


async def test_the_deletion_of_an_older_pool_wakes_the_one_that_gets_its_nodes(contending: Loops) -> None:
    body = contending.operator.mirror.get("DevicePool", None, "factory")
    assert body is not None
    contending.operator.mirror.remove("DevicePool", body)
    contending.event(DEVICE_POOLS, body, "DELETED")
    contending.taken()
    contending.operator.wake_contending_pools()
    assert "shop" in contending.taken()


async def test_a_change_of_a_pool_that_moves_no_node_wakes_no_other(contending: Loops) -> None:
    body = _selecting(contending, "shop", "2026-01-02T00:00:00Z", "two", generation=3)
    contending.event(DEVICE_POOLS, body)
    contending.taken()
    contending.operator.wake_contending_pools()
    assert contending.taken() == set()


async def test_a_label_that_takes_a_node_out_of_the_older_pool_wakes_both(contending: Loops) -> None:
    group = {"deviceClass": "camera", "nodeSelector": {"gate": "yes"}}
    body = _selecting(contending, "factory", "2026-01-01T00:00:00Z", generation=3)
    body["spec"]["nodes"] = [group]
    contending.operator.mirror.put("DevicePool", body)
    contending.event(DEVICE_POOLS, body)
    contending.event(NODES, _labelled("edge-a", site="one", gate="yes"))
    contending.operator.wake_contending_pools()
    contending.operator.wake_pools_of_nodes()
    contending.taken()
    contending.event(NODES, _labelled("edge-a", site="one"))
    contending.operator.wake_pools_of_nodes()
    assert contending.taken() >= {"factory", "shop"}


async def test_a_changed_pool_reaches_the_namespaces_of_its_services_alone(loops: Loops) -> None:
    """Their runtimes tolerate what the pool declares."""
    third = _body("third", spec={"devicePool": "shop"})
    third["metadata"]["namespace"] = "elsewhere"
    loops.event(INFERENCE_SERVICES, third, None)
    loops.taken()
    loops.event(DEVICE_POOLS, _pool("factory", generation=2))
    assert loops.taken() == {"factory", SHARED}
    loops.event(DEVICE_POOLS, _pool("shop", generation=2))
    assert loops.taken() >= {"shop", NamespaceKey("elsewhere")}


async def test_a_changed_node_reaches_the_namespaces_with_placements_there(loops: Loops) -> None:
    operator = loops.operator
    group = {"deviceClass": "camera", "nodeSelector": {"site": "factory"}}
    operator.mirror.put("DevicePool", _pool("factory", spec={"nodes": [group], "tritonServers": []}))
    placement = _body("third.edge-a")
    placement["metadata"] |= {"namespace": "elsewhere", "labels": {"edge-intelligence.io/node": "edge-a"}}
    operator.mirror.put("Placement", placement)
    body = _body("edge-a")
    body["metadata"]["labels"] = {"site": "factory"}
    loops.event(NODES, body)
    operator.wake_pools_of_nodes()
    assert NamespaceKey("elsewhere") in loops.taken()


async def test_a_placements_measurements_are_collected_and_its_switches_are_not(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, later = asyncio.get_running_loop(), list[float]()
    monkeypatch.setattr(loop, "call_later", lambda delay, *_: later.append(delay))
    loops.event(PLACEMENTS, _body("digits.edge-a"), None)
    assert loops.taken() == {DIGITS, SHARED}
    for requests, route, woken, delays in (
        (1, "a", {DIGITS}, []),
        (2, "a", set(), [5.0]),
        (3, "b", {DIGITS}, [5.0]),
    ):
        loops.event(PLACEMENTS, _body("digits.edge-a", status={"activeRoute": route, "requests": requests}))
        assert loops.taken() == woken
        assert later == delays


async def test_an_own_write_wakes_only_with_a_report(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    later = list[float]()
    loops.event(PLACEMENTS, _body("digits.edge-a"), None)
    loops.taken()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda delay, *_: later.append(delay))
    loops.operator.event(PLACEMENTS, "MODIFIED", _body("digits.edge-a", generation=2), own=True)
    assert (later, loops.taken()) == ([], {SHARED})
    report = _body("digits.edge-a", generation=2, status={"requests": 1})
    loops.operator.event(PLACEMENTS, "MODIFIED", report, own=True)
    assert (later, loops.taken()) == ([5.0], set())


async def test_a_new_weight_of_a_placement_wakes_the_namespace_whose_pods_request_by_it(loops: Loops) -> None:
    body = _body("digits.edge-a")
    loops.event(PLACEMENTS, body, None)
    loops.taken()
    loops.event(PLACEMENTS, body)
    assert SHARED not in loops.taken()
    body["metadata"]["annotations"] = {"edge-intelligence.io/cpu-weight": "1.5"}
    loops.event(PLACEMENTS, body)
    assert SHARED in loops.taken()


async def test_only_a_change_of_a_spec_ends_the_rest_after_a_failure(loops: Loops) -> None:
    loops.event(PLACEMENTS, _body("digits.edge-a", status={"activeRoute": "a"}))
    loops.event(DEPLOYMENTS, _body("edge-runtime-edge-a", generation=2))
    assert loops.mended == set()
    loops.event(INFERENCE_SERVICES, _body("digits", generation=2, spec={"devicePool": "factory"}))
    assert loops.mended == {DIGITS}


async def test_a_service_that_moves_wakes_both_pools(loops: Loops) -> None:
    loops.event(INFERENCE_SERVICES, _body("digits", generation=2, spec={"devicePool": "shop"}))
    assert {name for name, pool in loops.pools.items() if DIGITS in pool.found} == {"factory", "shop"}
    loops.taken()
    loops.event(PLACEMENTS, _body("digits.edge-a"), None)
    assert {name for name, pool in loops.pools.items() if DIGITS in pool.found} == {"shop"}


async def test_a_deletion_overtakes_what_is_collected(loops: Loops) -> None:
    body = _body("digits", spec={"devicePool": "factory"})
    body["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    loops.event(INFERENCE_SERVICES, body)
    assert loops.pools["factory"].urgent == {DIGITS}


async def test_an_owned_object_that_another_client_changed_wakes_its_service(loops: Loops) -> None:
    loops.event(SERVICES, _body("digits", generation=None, spec={"selector": {"app": "other"}}))  # type: ignore[arg-type]
    assert loops.taken() == {DIGITS, SHARED}
    loops.event(DEPLOYMENTS, _body("edge-runtime-edge-a", generation=2))
    assert loops.taken() == {SHARED}


async def test_a_pod_that_becomes_ready_wakes_the_services_at_its_node(loops: Loops) -> None:
    labels = {"edge-intelligence.io/node": "edge-a"}
    placement, deployment = _body("digits.edge-a"), _body("edge-runtime-edge-a", status={"readyReplicas": 1})
    for body in (placement, deployment):
        body["metadata"]["labels"] = labels
    loops.operator.mirror.put("Placement", placement)
    loops.event(DEPLOYMENTS, deployment)
    assert loops.taken() == {SHARED, DIGITS}


async def test_a_rollout_that_keeps_a_pod_ready_wakes_no_service_at_its_node(loops: Loops) -> None:
    """All services of the namespace share the pod: woken by each step, they would all be planned again."""
    labels = {"edge-intelligence.io/node": "edge-a"}
    placement = _body("digits.edge-a")
    placement["metadata"]["labels"] = labels
    loops.operator.mirror.put("Placement", placement)
    for generation, status, woken in (
        (1, {"readyReplicas": 1, "replicas": 1}, {SHARED, DIGITS}),
        (2, {"readyReplicas": 1, "replicas": 1}, {SHARED}),
        (2, {"readyReplicas": 1, "replicas": 2, "updatedReplicas": 1}, {SHARED}),
        (2, {"readyReplicas": 2, "replicas": 2, "updatedReplicas": 1}, {SHARED}),
        (2, {"replicas": 1, "updatedReplicas": 1}, {SHARED, DIGITS}),
        (2, {"replicas": 0}, {SHARED, DIGITS}),
    ):
        body = _body("edge-runtime-edge-a", generation=generation, status=status)
        body["metadata"]["labels"] = labels
        loops.event(DEPLOYMENTS, body)
        assert loops.taken() == woken


async def test_a_measurement_that_ended_wakes_every_pool(loops: Loops) -> None:
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    loops.event(JOBS, _body("profile-camera", status=status))
    assert all(pool.found == {"measurements"} for pool in loops.pools.values())
    loops.taken()
    loops.event(JOBS, _body("profile-camera", status=status))
    assert loops.taken() == set()


async def test_the_loop_of_a_pool_ends_with_its_last_service_if_the_pool_does_not_exist(
    loops: Loops,
) -> None:
    operator = loops.operator
    operator.mirror.remove("DevicePool", _pool("factory"))
    loops.event(DEVICE_POOLS, _pool("factory"), "DELETED")
    assert set(operator.pools) == {"factory", "shop"}, "its service says that it is gone"
    loops.event(INFERENCE_SERVICES, _body("digits", spec={"devicePool": "factory"}), "DELETED")
    assert set(operator.pools) == {"shop"}


@pytest.mark.parametrize(
    ("kind", "name", "woken"),
    [
        (INFERENCE_SERVICES, "digits", {DIGITS, SHARED}),
        (DEVICE_POOLS, "factory", {"factory", SHARED}),
        (PLACEMENTS, "digits.edge-a", {DIGITS, SHARED}),
        (DEPLOYMENTS, "edge-runtime-edge-a", {SHARED}),
        (JOBS, "profile-camera", {"measurements"}),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
async def test_a_deletion_wakes_what_it_concerns(
    loops: Loops, kind: Kind, name: str, woken: set[Any]
) -> None:
    operator = loops.operator
    operator.mirror.put("DevicePool", _pool("factory"))
    operator.tails.note("digits.edge-a", frozenset({TailKey("http://triton:8000", "tail")}))
    loops.event(kind, _body(name, spec={"devicePool": "factory"}), "DELETED")
    assert loops.taken() == woken
    assert operator.tails.at("triton:8000") == ({"tail"} if name != "digits.edge-a" else set())


async def test_an_operator_of_one_namespace_leaves_the_services_of_others_alone(loops: Loops) -> None:
    loops.operator.scope = "shop"
    loops.event(INFERENCE_SERVICES, _body("third", spec={"devicePool": "factory"}), "ADDED")
    body = _body("third.edge-a")
    body["metadata"]["ownerReferences"] = [{"kind": "InferenceService", "name": "third"}]
    loops.event(PLACEMENTS, body, "ADDED")
    assert loops.taken() == set()


async def test_the_operator_is_not_alive_when_its_work_has_ended(loops: Loops) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(forever(), name="namespaces")
    loops.operator.tasks = [task]
    assert not loops.operator.ended
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert loops.operator.ended == ("namespaces",)


def test_a_tenant_wakes_all_pools_once_for_each_spec(loops: Loops) -> None:
    every = {"tenants of factory", "tenants of shop"}
    tenant = _pool("team-a")
    loops.event(TENANTS, tenant, "ADDED")
    assert loops.taken() == every
    loops.event(TENANTS, tenant | {"status": {"share": "30%"}})
    assert loops.taken() == set()
    loops.event(TENANTS, tenant, "DELETED")
    assert loops.taken() == every


def test_the_labels_of_a_namespace_wake_all_pools_once_there_is_a_tenant(loops: Loops) -> None:
    namespace = {"metadata": {"name": "default", "labels": {"team": "shop"}}}
    loops.event(NAMESPACES, namespace, "ADDED")
    assert loops.taken() == set()
    loops.operator.mirror.put("Tenant", _pool("team-a"))
    loops.event(NAMESPACES, namespace)
    assert loops.taken() == set()
    loops.event(NAMESPACES, {"metadata": {"name": "default", "labels": {"team": "lab"}}})
    assert loops.taken() == {"tenants of factory", "tenants of shop"}
