"""A deleted service leaves nothing behind, even if Triton does not respond."""

import datetime
from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import PLACEMENTS, Kind
from edge_operator.effects.executor import API_SERVER, Action
from edge_operator.effects.tails import TailLoader
from edge_operator.errors import ClusterError
from edge_operator.pool import plans
from edge_operator.pool.actions import UnloadTails
from edge_operator.pool.removals import LONGEST, PATIENCE
from edge_operator.pool.states import UnloadOutcome
from edge_operator.tritons.addresses import server_of

World = Any  # tests/operator/conftest.py


def _delete(world: World, *, skew: float = 0.0) -> None:
    """skew: how far the clock of the API server is ahead, in seconds."""
    body = world.service()
    at = (world.clock().wall() + datetime.timedelta(seconds=skew)).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.cluster.put(body | {"metadata": body["metadata"] | {"deletionTimestamp": at}})


def test_what_a_deletion_does_overtakes_what_others_wait_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, submitted = world.actions.submit, list[Action[Any]]()

    def noted(action: Action[Any]) -> None:
        submitted.append(action)
        submit(action)

    monkeypatch.setattr(world.actions, "submit", noted)
    world.settle()
    assert not any(action.urgent for action in submitted)
    submitted.clear()
    _delete(world)
    world.reconcile()
    urgent = {action.target for action in submitted if action.urgent}
    assert urgent == {API_SERVER, server_of(world.triton.url)}


def test_the_finalizer_is_set_before_anything_is_made(world: World) -> None:
    world.reconcile()
    made = [line for line in world.log if line.startswith(("finalizers", "apply", "load"))]
    assert made[0] == "finalizers ['edge-intelligence.io/operator']"


def test_tables_go_before_tails_then_the_finalizer_and_runtimes_without_services_last(world: World) -> None:
    world.settle()
    models = set(world.triton.models)
    _delete(world)
    del world.log[:]
    assert world.reconcile() is None
    assert world.triton.models == set()
    unloads = [i for i, line in enumerate(world.log) if line.startswith("unload")]
    tables = [i for i, line in enumerate(world.log) if line.startswith("delete Placement")]
    pods = [i for i, line in enumerate(world.log) if line.startswith("delete Deployment")]
    assert (len(unloads), len(tables), len(pods)) == (len(models), 3, 3)
    assert max(tables) < min(unloads)
    assert max(unloads) < world.log.index("finalizers []") < min(pods)
    assert world.placements() == {}
    left = {kind for kind, namespace, _ in world.cluster.objects if namespace == "default"}
    assert left == {"Service", "ModelProfile"}, "what has an owner is deleted by Kubernetes"


@pytest.mark.parametrize("skew", [0.0, 3600.0, -3600.0])
def test_an_absent_triton_is_waited_for_and_then_what_is_left_is_said(world: World, skew: float) -> None:
    world.settle()
    world.triton.away = True
    _delete(world, skew=skew)
    assert world.reconcile() == PATIENCE
    assert world.service()["metadata"]["finalizers"] == ["edge-intelligence.io/operator"]
    world.now += 31
    assert world.reconcile() is None
    assert ("InferenceService", "default", "digits") not in world.cluster.objects
    kind, reason, message = world.cluster.events[-1]
    assert (kind, reason) == ("Warning", "TailsLeft")
    assert all(name in message for name in world.triton.models)
    assert "triton.test:8000" in message


def test_a_deletion_ends_although_the_api_server_keeps_what_it_is_to_delete(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a finalizer of another controller on a Placement that is away."""
    world.settle()
    delete, deleted = world.cluster.delete, list[str]()

    def kept(kind: Kind, namespace: str | None, name: str, uid: str = "") -> None:
        if kind is not PLACEMENTS:
            delete(kind, namespace, name, uid)
            return
        body = world.cluster.get(kind, namespace, name)
        deleted.append(name)
        at = world.clock().wall().strftime("%Y-%m-%dT%H:%M:%SZ")
        world.cluster.put(body | {"metadata": body["metadata"] | {"deletionTimestamp": at}})

    monkeypatch.setattr(world.cluster, "delete", kept)
    _delete(world)
    assert world.reconcile() == LONGEST
    world.now += LONGEST - 1
    world.reconcile()
    assert world.service()["metadata"]["finalizers"] == ["edge-intelligence.io/operator"]
    world.now += 1
    world.reconcile()
    assert ("InferenceService", "default", "digits") not in world.cluster.objects
    assert sorted(deleted) == ["digits.cam-1", "digits.cam-2", "digits.gate"], "each is deleted once"
    left = next(message for _, reason, message in world.cluster.events if reason == reasons.OBJECTS_LEFT)
    assert all(name in left for name in ("digits.cam-1", "digits.cam-2", "digits.gate"))


def test_a_deletion_ends_although_unloading_fails_in_a_way_that_nothing_reports(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the operator must not list Placements any more, so that it cannot tell which tails are used."""
    world.settle()

    def refused(loader: TailLoader, wanted: UnloadTails) -> UnloadOutcome:
        raise ClusterError("listing Placements: forbidden")

    monkeypatch.setattr(TailLoader, "unload", refused)
    _delete(world)
    assert world.reconcile() == LONGEST
    assert world.service()["metadata"]["finalizers"] == ["edge-intelligence.io/operator"]
    world.now += LONGEST
    world.reconcile()
    assert ("InferenceService", "default", "digits") not in world.cluster.objects
    left = next(message for _, reason, message in world.cluster.events if reason == reasons.TAILS_LEFT)
    assert "they were not unloaded in 120 s" in left
    assert all(name in left for name in world.triton.models)


def test_another_owners_finalizer_stays(world: World) -> None:
    world.settle()
    body = world.service()
    mine = body["metadata"]["finalizers"]
    world.cluster.put(body | {"metadata": body["metadata"] | {"finalizers": ["example.com/audit", *mine]}})
    _delete(world)
    world.reconcile()
    assert world.service()["metadata"]["finalizers"] == ["example.com/audit"]


def test_the_tails_of_a_service_that_was_created_again_are_unloaded_as_those_of_the_first(
    world: World,
) -> None:
    """The loop can see the second one before it knows that the first is gone; both have the same tails."""
    world.settle()
    (loop,) = world.loops.values()
    for _ in range(2):
        body = world.service()
        _delete(world)
        _turn(loop, until_gone=world)
        assert world.triton.models == set()
        created = {"name": body["metadata"]["name"], "namespace": body["metadata"]["namespace"]}
        world.cluster.put(body | {"metadata": created, "status": {}})
        world.collect()
        world.reconcile()
        assert world.triton.models


def _turn(loop: Any, until_gone: World) -> None:
    """The loop takes its turns until the service is gone, and not the one that would notice it."""
    loop.topology_changed()
    for _ in range(50):
        loop.act(plans.plan(loop.take(), loop.plan, loop.now()))
        if ("InferenceService", "default", "digits") not in until_gone.cluster.objects:
            return
    raise AssertionError("the service is not gone")


def test_a_service_that_is_gone_needs_nothing(world: World) -> None:
    world.cluster.objects.clear()
    assert world.reconcile() is None
    assert world.log == []
