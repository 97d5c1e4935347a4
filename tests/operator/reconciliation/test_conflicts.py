"""Nothing is written to an object that was created again, or on top of what another client changed."""

from collections.abc import Callable
from typing import Any

import pytest

from edge_operator.authority import provision
from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    PLACEMENTS,
    SECRETS,
    SERVICES,
    Kind,
    Object,
)
from edge_operator.effects.executor import FAILED
from edge_operator.effects.writes import write
from edge_operator.errors import WriteConflictError
from edge_operator.loops.pools import PoolLoop
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.mirrored_cluster import MirroredCluster
from edge_operator.pool import plans
from edge_operator.pool.actions import Apply, Delete, SetStatus
from operator_objects import KEY

World = Any  # tests/operator/conftest.py


def created_again(world: World, kind: Kind, namespace: str | None, name: str) -> Object:
    """Another object of that name; returns the one before."""
    before: Object = world.cluster.get(kind, namespace, name)
    world.cluster.delete(kind, namespace, name)
    fields = {key: part for key, part in before.items() if key not in ("metadata", "status")}
    metadata = {key: before["metadata"].get(key) for key in ("name", "namespace", "labels")}
    world.cluster.put(fields | {"metadata": {key: part for key, part in metadata.items() if part}})
    return before


@pytest.mark.parametrize(
    ("kind", "namespace", "name"),
    [(INFERENCE_SERVICES, "default", "digits"), (DEVICE_POOLS, None, "factory")],
)
def test_a_status_is_not_written_to_an_object_that_was_created_again(
    world: World, kind: Kind, namespace: str | None, name: str
) -> None:
    before = created_again(world, kind, namespace, name)
    action = SetStatus(before, {"observedGeneration": 1})
    written = write(world.cluster, [action])
    assert written.conflict == action
    assert not written.as_wanted
    assert "status" not in world.cluster.get(kind, namespace, name)


def test_a_status_is_not_written_on_top_of_one_that_the_decision_did_not_know(world: World) -> None:
    """Windows of the SLO and Triton servers that left a pool are carried on from the status before."""
    seen = world.pool()
    world.cluster.report_status(DEVICE_POOLS, None, "factory", {"nodeCount": 7})
    assert write(world.cluster, [SetStatus(seen, {"nodeCount": 3})]).conflict is not None
    assert world.pool()["status"] == {"nodeCount": 7}


def test_an_object_that_was_created_again_is_neither_applied_nor_deleted(world: World) -> None:
    world.settle()
    before = created_again(world, PLACEMENTS, KEY.namespace, "digits.cam-1")
    wanted = {key: part for key, part in before.items() if key != "status"}
    for action in (Apply(wanted, before), Delete(before)):
        assert write(world.cluster, [action]).conflict == action
    there = world.cluster.get(PLACEMENTS, KEY.namespace, "digits.cam-1")
    assert there["metadata"]["uid"] != before["metadata"]["uid"]


def test_an_object_that_is_gone_is_not_created_from_a_decision_that_knew_it(world: World) -> None:
    world.settle()
    before = world.placements()["cam-1"]
    world.cluster.delete(PLACEMENTS, KEY.namespace, "digits.cam-1")
    assert write(world.cluster, [Apply(before, before)]).conflict is not None
    assert "cam-1" not in world.placements()


def test_a_report_of_a_runtime_during_a_plan_holds_up_no_table(world: World) -> None:
    world.settle()
    before = world.placements()["cam-1"]
    world.runtimes_report(message="loading")
    metadata = {"name": "digits.cam-1", "namespace": KEY.namespace, "labels": before["metadata"]["labels"]}
    wanted = {key: before[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
    assert write(world.cluster, [Apply(wanted, before)]).as_wanted


def test_writes_after_a_conflict_are_left_out(world: World) -> None:
    world.settle()
    before = created_again(world, PLACEMENTS, KEY.namespace, "digits.cam-1")
    there = world.placements()["cam-2"]
    assert write(world.cluster, [Delete(before), Delete(there)]).conflict == Delete(before)
    assert "cam-2" in world.placements()


def test_a_runtime_that_was_created_again_is_decided_on_again_after_a_second(world: World) -> None:
    world.settle()
    find, stale = world.cluster.find, world.cluster.find(DEPLOYMENTS, "default")
    created_again(world, DEPLOYMENTS, "default", "edge-runtime-cam-1")
    world.remove_node("cam-1")
    world.plan()

    def finds(kind: Kind, *rest: Any) -> list[Object]:
        return stale if kind == DEPLOYMENTS else list(find(kind, *rest))

    world.cluster.find = finds
    assert world.reconcile_namespace() == 1.0
    world.cluster.find = find
    assert "edge-runtime-cam-1" in world.deployments()
    world.reconcile_namespace()
    assert "edge-runtime-cam-1" not in world.deployments()


def test_the_authority_is_not_replaced_by_one_that_did_not_know_its_content(world: World) -> None:
    now = world.clock().wall()
    provision.authorities(world.cluster, "edge-intelligence", now)
    secret = world.cluster.get(SECRETS, "edge-intelligence", provision.AUTHORITY_SECRET)
    fetch = world.cluster.fetch

    def fetches(*key: Any) -> Object:
        found = fetch(*key)
        world.cluster.put(secret | {"data": secret["data"] | {"restored.key": "AA=="}})
        return dict(found)

    world.cluster.fetch = fetches
    due = now.replace(year=now.year + 9)
    with pytest.raises(WriteConflictError):
        provision.authorities(world.cluster, "edge-intelligence", due)
    kept = world.cluster.get(SECRETS, "edge-intelligence", provision.AUTHORITY_SECRET)
    assert "restored.key" in kept["data"]


def test_after_a_conflict_the_mirror_has_what_is_there(world: World) -> None:
    world.settle()
    mirror = Mirror()
    cluster = MirroredCluster(world.cluster, mirror)
    before = created_again(world, SERVICES, "default", "edge-runtime-gate")
    mirror.put("Service", before)
    with pytest.raises(WriteConflictError):
        cluster.apply(before, before)
    there = world.cluster.get(SERVICES, "default", "edge-runtime-gate")
    assert cluster.get(SERVICES, "default", "edge-runtime-gate") == there
    world.cluster.delete(SERVICES, "default", "edge-runtime-gate")
    with pytest.raises(WriteConflictError):
        cluster.apply(before, there)
    assert cluster.get(SERVICES, "default", "edge-runtime-gate") is None


@pytest.fixture
def conflicting(world: World) -> Callable[[int], list[float | None]]:
    """Returns what each turn of the pool's loop has its status repeated after, while others write it."""
    loop, results = PoolLoop("factory", world.shared()), list[float | None]()

    def submits(action: Any) -> None:
        if action.key == ("pool", "factory"):
            results.append(action.done(action.call()))

    world.actions.submit = submits

    def turns(count: int, *, changing: bool = True) -> list[float | None]:
        state = loop.take()
        for _ in range(count):
            if changing:
                state = loop.take()
            world.cluster.report_status(DEVICE_POOLS, None, "factory", {"nodeCount": 7})
            loop.act(plans.plan(state, plans.NOTHING, loop.now()))
        return results

    return turns


def test_a_conflict_is_planned_again_at_once_while_the_plans_differ(
    conflicting: Callable[..., list[float | None]],
) -> None:
    assert conflicting(3) == [None, None, None]


def test_the_same_write_that_conflicts_again_is_a_failure(
    conflicting: Callable[..., list[float | None]],
) -> None:
    assert conflicting(3, changing=False) == [None, FAILED, FAILED]


def test_a_service_created_again_while_its_status_is_written_gets_its_own(world: World) -> None:
    world.reconcile()
    apply_status = world.cluster.apply_status

    def late(kind: Kind, seen: Object, status: Object) -> Object | None:
        world.cluster.apply_status = apply_status
        world.cluster.delete(INFERENCE_SERVICES, *KEY)
        body = {key: part for key, part in seen.items() if key not in ("status", "metadata")}
        world.cluster.put(body | {"metadata": {"name": KEY.name, "namespace": KEY.namespace}})
        written: Object | None = apply_status(kind, seen, status)
        return written

    world.cluster.apply_status = late
    world.runtimes_report()
    world.reconcile()
    assert "digits" in {body["metadata"]["name"] for body in world.cluster.find(INFERENCE_SERVICES)}
    world.reconcile()
    service = world.service()
    owners = {each["metadata"]["ownerReferences"][0]["uid"] for each in world.placements().values()}
    assert owners == {service["metadata"]["uid"]}
    assert world.condition("Placed")["status"] == "True"
