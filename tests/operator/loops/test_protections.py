"""DevicePools and Tenants stay while services use them, and go with the last one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge_api import reasons
from edge_operator.clients import Clock
from edge_operator.cluster import CRDS, DEVICE_POOLS, INFERENCE_SERVICES, TENANTS, Kind, Object
from edge_operator.errors import WriteConflictError
from edge_operator.leadership import Leadership
from edge_operator.loops.operator import Operator
from edge_operator.loops.protections import Protected, Protections, protect
from edge_operator.names import IN_USE_FINALIZER
from edge_operator.observed.mirror import Mirror
from edge_operator.pool.states import PoolState
from messages import mentions

World = Any  # tests/operator/conftest.py
POOL = Protected(DEVICE_POOLS, "factory")


@pytest.fixture
def protected(world: World) -> World:
    """A pool with the finalizer, which a service uses, and the CRDs."""
    for kind in (DEVICE_POOLS, TENANTS):
        name = f"{kind.plural}.edge-intelligence.io"
        world.cluster.objects[CRDS.kind, "", name] = {"metadata": {"name": name}}
    assert protect(world.cluster, POOL, None) is None
    assert pool(world)["metadata"]["finalizers"] == [IN_USE_FINALIZER]
    return world


def pool(world: World) -> Any:
    """The pool; None if it is gone."""
    return world.cluster.get(DEVICE_POOLS, None, "factory")


@dataclass
class Reports:
    """What was reported on, and how to wait for it."""

    found: list[Protected] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, kind: Kind) -> Callable[[str], None]:
        def note(name: str) -> None:
            self.found.append(Protected(kind, name))
            self.changed.set()

        return note

    async def another(self) -> None:
        async with asyncio.timeout(30):
            await self.changed.wait()
        self.changed.clear()


@asynccontextmanager
async def running(world: World) -> AsyncIterator[tuple[Protections, Reports]]:
    reports, clock = Reports(), Clock(monotonic=asyncio.get_running_loop().time)
    changed = {kind: reports.of(kind) for kind in (DEVICE_POOLS, TENANTS)}
    with ThreadPoolExecutor(1) as threads:
        found = Protections(world.cluster, None, clock, threads, changed)
        task = asyncio.create_task(found.run())
        try:
            yield found, reports
        finally:
            task.cancel()


async def test_a_pool_in_use_waits_and_goes_with_its_last_service(protected: World) -> None:
    world = protected
    async with running(world) as (protections, reports):
        world.cluster.delete(DEVICE_POOLS, None, "factory")
        protections.wake(*POOL)
        await reports.another()
        finding = protections.finding(*POOL)
        assert finding is not None
        assert mentions("default/digits", "spec.devicePool").search(finding.message)
        assert pool(world) is not None
        world.cluster.delete(INFERENCE_SERVICES, "default", "digits")
        protections.users_changed()
        await reports.another()
        assert protections.finding(*POOL) is None
        assert pool(world) is None
    assert reports.found == [POOL, POOL]


def test_a_tenant_waits_for_the_services_of_its_namespaces(protected: World) -> None:
    world, shop = protected, Protected(TENANTS, "shop")
    world.label_namespace()
    world.put_tenant()
    assert protect(world.cluster, shop, None) is None
    world.cluster.delete(TENANTS, None, "shop")
    finding = protect(world.cluster, shop, None)
    assert finding is not None
    assert mentions("default/digits", "spec.namespaceSelector").search(finding.message)
    world.label_namespace("others")
    assert protect(world.cluster, shop, None) is None
    assert world.cluster.get(TENANTS, None, "shop") is None


def test_a_deletion_of_the_kind_waits_for_no_service(protected: World) -> None:
    world, name = protected, "devicepools.edge-intelligence.io"
    world.cluster.objects[CRDS.kind, "", name]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    world.cluster.delete(DEVICE_POOLS, None, "factory")
    assert protect(world.cluster, POOL, None) is None
    assert pool(world) is None


def test_a_status_that_is_written_at_the_same_time_does_not_keep_the_finalizer(
    protected: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, write, conflicts = protected, protected.cluster.set_finalizers, [1, 2]

    def conflicting(*given: Any) -> Object:
        if conflicts:
            conflicts.pop()
            raise WriteConflictError("the object has been modified")
        done: Object = write(*given)
        return done

    monkeypatch.setattr(world.cluster, "set_finalizers", conflicting)
    world.cluster.delete(INFERENCE_SERVICES, "default", "digits")
    world.cluster.delete(DEVICE_POOLS, None, "factory")
    assert protect(world.cluster, POOL, None) is None
    assert (pool(world), conflicts) == (None, [])


def test_the_status_of_a_pool_says_who_uses_it_and_an_event_tells_once(protected: World) -> None:
    world = protected
    world.cluster.delete(DEVICE_POOLS, None, "factory")
    world.report_pool()  # before the operator has looked who uses it
    finding = protect(world.cluster, POOL, None)
    for _ in range(2):
        world.report_pool(in_use=finding)
    (condition,) = [each for each in pool(world)["status"]["conditions"] if each["type"] == "InUse"]
    assert (condition["status"], condition["reason"]) == ("True", reasons.USED_BY_SERVICES)
    assert "default/digits" in condition["message"]
    assert [reason for _, reason, _ in world.cluster.events] == [reasons.USED_BY_SERVICES]
    assert PoolState("factory", world.settings).in_use is None


def test_the_status_of_a_tenant_says_who_uses_it_and_an_event_tells_once(protected: World) -> None:
    world, shop = protected, Protected(TENANTS, "shop")
    world.label_namespace()
    world.put_tenant()
    protect(world.cluster, shop, None)
    world.report_tenants()
    world.cluster.delete(TENANTS, None, "shop")
    world.tenants.in_use = lambda _: protect(world.cluster, shop, None)
    world.cluster.events.clear()
    for _ in range(2):
        world.report_tenants()
    conditions = world.cluster.get(TENANTS, None, "shop")["status"]["conditions"]
    found = {each["type"]: each["reason"] for each in conditions}
    assert found["InUse"] == reasons.USED_BY_SERVICES
    assert [reason for _, reason, _ in world.cluster.events] == [reasons.USED_BY_SERVICES]


async def test_what_may_end_a_deletion_that_waits_wakes_its_protection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[Any] = []
    leadership = Leadership(world.cluster, "edge-intelligence", "a")
    operator = Operator(world.clients, world.settings, None, world.cluster, Mirror(), leadership)
    monkeypatch.setattr(operator.protections, "wake", lambda kind, name: woken.append((kind, name)))
    monkeypatch.setattr(operator.protections, "users_changed", lambda: woken.append("users"))
    service = world.service()
    operator.event(INFERENCE_SERVICES, "ADDED", service)
    assert woken == []
    service["spec"]["devicePool"], service["metadata"]["generation"] = "other", 2
    operator.event(INFERENCE_SERVICES, "MODIFIED", service)
    assert woken == ["users"]
    operator.event(INFERENCE_SERVICES, "DELETED", service)
    assert woken == ["users", "users"]
    operator.event(TENANTS, "ADDED", {"metadata": {"name": "retail"}})
    assert woken[2:] == [(TENANTS, "retail"), "users"]
    body = pool(world)
    body["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    operator.mirror.put("DevicePool", body)
    operator.event(DEVICE_POOLS, "MODIFIED", body)
    assert woken[4:] == [(DEVICE_POOLS, "factory")]
