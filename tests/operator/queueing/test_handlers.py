"""Which events make which services and pools dirty."""

import asyncio
from typing import Any

import kopf
import pytest
from edge_operator.runs import Clients, Memory, NamespaceKey, PoolKey, ServiceKey, TailKey
from prometheus_client import REGISTRY

from edge_operator import handlers
from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    JOBS,
    PLACEMENTS,
    Kind,
)
from edge_operator.conditions import Blocked
from edge_operator.handlers import (
    Operator,
    configure,
    deployment_event,
    job_event,
    node_event,
    placement_event,
    pool_event,
    run,
    service_event,
)
from edge_operator.leadership import Leadership
from edge_operator.observed.mirror import Mirror
from edge_operator.settings import Settings

World = Any  # tests/operator/conftest.py
DIGITS, OTHER = ServiceKey("default", "digits"), ServiceKey("default", "other")
SHARED = NamespaceKey("default")
"""The namespace of both, whose runtimes they share."""
OWNER = [{"kind": "InferenceService", "name": "digits"}]


class Dirty:
    """Replaces the queue: records added keys with their delay."""

    def __init__(self) -> None:
        self.added: list[tuple[Any, float]] = []
        self.mended: set[Any] = set()

    def add(self, key: Any, delay: float = 0.3, *, mended: bool = False) -> None:
        self.added.append((key, delay))
        self.mended |= {key} if mended else set()

    def taken(self) -> set[Any]:
        keys = {key for key, _ in self.added}
        self.added.clear()
        self.mended.clear()
        return keys


@pytest.fixture
async def memo(world: World) -> kopf.Memo:
    """An operator that has seen two services on two pools, and has nothing left to do."""
    clients = Clients(world.cluster, world.store, world.triton)
    operator = Operator(
        clients,
        world.settings,
        None,
        world.cluster,
        Mirror(),
        Leadership(world.cluster, "edge-intelligence", "a"),
    )
    operator.queue = Dirty()  # type: ignore[assignment]
    memo = kopf.Memo(operator=operator)
    await _event(pool_event, type=None, body=_body("factory"), memo=memo)
    await _event(pool_event, type=None, body=_body("shop"), memo=memo)
    await _event(service_event, type=None, body=_body("digits", spec={"devicePool": "factory"}), memo=memo)
    await _event(service_event, type=None, body=_body("other", spec={"devicePool": "shop"}), memo=memo)
    operator.queue.taken()  # type: ignore[attr-defined]
    return memo


async def _event(handler: Any, **event: Any) -> None:
    """Calls a handler with those of kopf's arguments that it uses."""
    await handler(**event)


def _body(name: str, *, generation: int = 1, **fields: Any) -> Any:
    meta = {
        "name": name,
        "namespace": "default",
        "uid": name,
        "generation": generation,
        "ownerReferences": OWNER,
    }
    return {"metadata": meta} | fields


async def test_a_pools_change_reaches_its_services_and_no_others(memo: kopf.Memo) -> None:
    await _event(pool_event, type="MODIFIED", body=_body("factory", generation=2), memo=memo)
    assert memo.operator.queue.taken() == {PoolKey("factory"), DIGITS, SHARED}
    await _event(
        pool_event, type="MODIFIED", body=_body("factory", generation=2, status={"nodeCount": 3}), memo=memo
    )
    assert memo.operator.queue.taken() == set()


async def test_a_node_reaches_the_pools_that_select_it_and_their_services(memo: kopf.Memo) -> None:
    operator = memo.operator
    for name, pool in (("digits", "factory"), ("other", "shop")):
        operator.mirror.put("InferenceService", _body(name, spec={"devicePool": pool}))
        group = {"deviceClass": "camera", "nodeSelector": {"site": pool}}
        operator.mirror.put("DevicePool", _body(pool, spec={"nodes": [group], "tritonServers": []}))
    for labels, ready, dirty in (
        ({"site": "factory"}, True, {PoolKey("factory"), DIGITS, SHARED}),
        ({"site": "factory", "rack": "7"}, True, set()),
        ({"site": "factory"}, False, {PoolKey("factory"), DIGITS, SHARED}),
        ({"site": "shop"}, False, {PoolKey("factory"), DIGITS, PoolKey("shop"), OTHER, SHARED}),
        ({}, True, {PoolKey("shop"), OTHER, SHARED}),
    ):
        status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        body = _body("edge-a", status=status)
        body["metadata"]["labels"] = labels
        await _event(node_event, type="MODIFIED", body=body, memo=memo)
        operator.dirty_pools_of_nodes()
        assert operator.queue.taken() == dirty


async def test_taints_that_another_pool_names_reach_the_namespaces_with_runtimes_at_its_nodes(
    memo: kopf.Memo,
) -> None:
    """Pods tolerate what all pools say of their node; found late, a restart would replace them."""
    operator = memo.operator
    third = _body("third", spec={"devicePool": "shop"})
    third["metadata"]["namespace"] = "elsewhere"
    await _event(service_event, type=None, body=third, memo=memo)
    operator.queue.taken()
    await _event(pool_event, type="MODIFIED", body=_body("factory", generation=2), memo=memo)
    assert operator.queue.taken() == {PoolKey("factory"), DIGITS, SHARED, NamespaceKey("elsewhere")}

    group = {"deviceClass": "camera", "nodeSelector": {"site": "factory"}}
    operator.mirror.put("DevicePool", _body("factory", spec={"nodes": [group], "tritonServers": []}))
    placement = _body("third.edge-a")
    placement["metadata"] |= {"namespace": "elsewhere", "labels": {"edge-intelligence.io/node": "edge-a"}}
    operator.mirror.put("Placement", placement)
    body = _body("edge-a")
    body["metadata"]["labels"] = {"site": "factory"}
    await _event(node_event, type="MODIFIED", body=body, memo=memo)
    operator.dirty_pools_of_nodes()
    assert NamespaceKey("elsewhere") in operator.queue.taken()


async def test_a_placements_measurements_are_collected_and_its_switches_are_not(memo: kopf.Memo) -> None:
    queue = memo.operator.queue
    await _event(placement_event, type=None, body=_body("digits-edge-a"), memo=memo)
    assert queue.taken() == {DIGITS, SHARED}
    for requests, route, delay in ((1, "a", 0.3), (2, "a", 5.0), (3, "b", 0.3)):
        body = _body("digits-edge-a", status={"activeRoute": route, "requests": requests})
        await _event(placement_event, type="MODIFIED", body=body, memo=memo)
        assert queue.added == [(DIGITS, delay)]
        queue.taken()


async def test_only_a_change_of_a_spec_ends_the_backoff_of_what_failed(memo: kopf.Memo) -> None:
    queue = memo.operator.queue
    body = _body("digits-edge-a", status={"activeRoute": "a"})
    await _event(placement_event, type="MODIFIED", body=body, memo=memo)
    await _event(deployment_event, type="MODIFIED", body=_body("digits-edge-a", generation=2), memo=memo)
    assert queue.mended == set()
    body = _body("digits", generation=2, spec={"devicePool": "factory"})
    await _event(service_event, type="MODIFIED", body=body, memo=memo)
    assert queue.mended == {DIGITS}
    await _event(pool_event, type="MODIFIED", body=_body("shop", generation=2), memo=memo)
    assert queue.mended == {DIGITS, PoolKey("shop"), OTHER}


def reconciles(outcome: str) -> float:
    labels = {"kind": "service", "outcome": outcome}
    return REGISTRY.get_sample_value("edge_operator_reconciles_total", labels) or 0.0


@pytest.mark.parametrize(
    ("blocked", "outcome", "failed"),
    [
        (None, "done", False),
        (Blocked("Planned", "Infeasible", "too slow"), "blocked", False),
        (Blocked("Placed", "ObjectRefused", "exceeded quota"), "blocked", True),
        (RuntimeError("a defect"), "failed", True),
    ],
    ids=["done", "blocked", "refused", "raised"],
)
async def test_outcomes_are_counted_apart_and_refusals_are_retried_with_backoff(
    memo: kopf.Memo,
    monkeypatch: pytest.MonkeyPatch,
    blocked: Blocked | Exception | None,
    outcome: str,
    failed: bool,
) -> None:
    def reconcile(
        _: object, clients: object, settings: object, memory: Memory, *rest: object, **more: object
    ) -> float:
        if isinstance(blocked, Exception):
            raise blocked
        memory.blocked = blocked
        return 60.0

    monkeypatch.setattr(handlers, "reconcile_service", reconcile)
    before = reconciles(outcome)
    raised = await asyncio.gather(memo.operator.work(DIGITS), return_exceptions=True)
    assert isinstance(raised[0], Exception) is failed
    assert reconciles(outcome) == before + 1


async def test_a_deployment_that_another_client_changed_is_compared_again(memo: kopf.Memo) -> None:
    body = _body("edge-runtime-edge-a", generation=2)
    await _event(deployment_event, type="MODIFIED", body=body, memo=memo)
    assert memo.operator.queue.taken() == {SHARED}


async def test_a_pod_that_becomes_ready_wakes_the_services_at_its_node(memo: kopf.Memo) -> None:
    labels = {"edge-intelligence.io/node": "edge-a"}
    placement, deployment = _body("digits.edge-a"), _body("edge-runtime-edge-a", status={"readyReplicas": 1})
    for body in (placement, deployment):
        body["metadata"]["labels"] = labels
    memo.operator.mirror.put("Placement", placement)
    await _event(deployment_event, type="MODIFIED", body=deployment, memo=memo)
    assert memo.operator.queue.taken() == {SHARED, DIGITS}


async def test_a_rollout_that_keeps_a_pod_ready_wakes_no_service_at_its_node(memo: kopf.Memo) -> None:
    """All services of the namespace share the pod: woken by each step, they would all be planned again."""
    labels = {"edge-intelligence.io/node": "edge-a"}
    placement = _body("digits.edge-a")
    placement["metadata"]["labels"] = labels
    memo.operator.mirror.put("Placement", placement)
    for generation, status, dirty in (
        (1, {"readyReplicas": 1, "replicas": 1}, {SHARED, DIGITS}),
        (2, {"readyReplicas": 1, "replicas": 1}, {SHARED}),
        (2, {"readyReplicas": 1, "replicas": 2, "updatedReplicas": 1}, {SHARED}),
        (2, {"readyReplicas": 2, "replicas": 2, "updatedReplicas": 1}, {SHARED}),
        (2, {"replicas": 1, "updatedReplicas": 1}, {SHARED, DIGITS}),
        (2, {"replicas": 0}, {SHARED, DIGITS}),
    ):
        body = _body("edge-runtime-edge-a", generation=generation, status=status)
        body["metadata"]["labels"] = labels
        await _event(deployment_event, type="MODIFIED", body=body, memo=memo)
        assert memo.operator.queue.taken() == dirty


async def test_a_measurement_that_ended_wakes_the_services_that_wait_for_one(memo: kopf.Memo) -> None:
    memo.operator.services |= {DIGITS: Memory(waiting=True), OTHER: Memory()}
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    await _event(job_event, type="MODIFIED", body=_body("profile-camera", status=status), memo=memo)
    assert memo.operator.queue.taken() == {DIGITS}


async def test_a_deleted_service_is_forgotten_once_it_was_looked_at(memo: kopf.Memo) -> None:
    body = _body("digits", spec={"devicePool": "factory"})
    await _event(service_event, type="DELETED", body=body, memo=memo)
    assert memo.operator.queue.taken() == {DIGITS, SHARED}
    await _event(pool_event, type="MODIFIED", body=_body("factory", generation=2), memo=memo)
    assert memo.operator.queue.taken() == {PoolKey("factory"), SHARED}


@pytest.mark.parametrize(
    ("kind", "name", "dirty"),
    [
        (INFERENCE_SERVICES, "digits", {DIGITS, SHARED}),
        (DEVICE_POOLS, "factory", {PoolKey("factory"), DIGITS, SHARED}),
        (PLACEMENTS, "digits-edge-a", {DIGITS, SHARED}),
        (DEPLOYMENTS, "edge-runtime-edge-a", {DIGITS, SHARED}),
        (JOBS, "profile-camera", {OTHER}),
    ],
)
async def test_a_deletion_that_no_watch_reported_reaches_what_it_concerns(
    memo: kopf.Memo, kind: Kind, name: str, dirty: set[Any]
) -> None:
    operator = memo.operator
    operator.services[OTHER] = Memory(waiting=True)
    operator.tails["digits-edge-a"] = frozenset({TailKey("http://triton:8000", "tail")})
    operator.deleted(kind, _body(name))
    assert operator.queue.taken() == dirty
    assert ("digits-edge-a" in operator.tails) == (name != "digits-edge-a")
    assert ("factory" in operator.tritons) == (kind != DEVICE_POOLS)


async def test_an_operator_of_one_namespace_leaves_the_services_of_others_alone(memo: kopf.Memo) -> None:
    memo.operator.scope = "shop"
    await _event(service_event, type="ADDED", body=_body("third", spec={"devicePool": "factory"}), memo=memo)
    await _event(placement_event, type="ADDED", body=_body("third-edge-a"), memo=memo)
    assert memo.operator.queue.taken() == set()


async def test_the_operator_is_not_alive_when_its_work_has_ended(memo: kopf.Memo) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(forever())
    memo.operator.tasks = [task]
    memo.operator.check()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(RuntimeError, match="forever"):
        memo.operator.check()


def test_streams_end_by_themselves_so_that_a_dropped_one_is_noticed() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert settings.watching.server_timeout is not None
    assert settings.watching.client_timeout is not None
    assert settings.watching.client_timeout > settings.watching.server_timeout
    assert settings.posting.enabled is False
    assert settings.persistence.finalizer.startswith("edge-intelligence.io/")


@pytest.mark.parametrize(
    ("ip", "endpoint"),
    [("10.1.2.3", "http://0.0.0.0:8080/healthz"), ("fd00::7", "http://[::]:8080/healthz")],
)
def test_the_operators_health_is_served_on_the_address_family_of_the_kubelet(
    ip: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(kopf, "run", lambda **given: told.update(given))
    monkeypatch.setattr(kopf, "configure", lambda **_: None)
    run(None, Settings("http://store:8080", "edge-runtime:1", pod_ip=ip), 8080, "plain")
    assert told["liveness_endpoint"] == endpoint
