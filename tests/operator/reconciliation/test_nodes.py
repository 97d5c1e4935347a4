"""Entry nodes are added, removed and stop reporting."""

from typing import Any

from messages import mentions

World = Any  # tests/operator/conftest.py


def test_a_node_that_joins_the_pool_becomes_an_entry_without_measuring_its_class_again(world: World) -> None:
    world.settle()
    world.node("cam-3", "camera")
    world.reconcile()
    assert "cam-3" in world.placements()
    assert "edge-runtime-cam-3" in world.deployments()
    assert world.jobs() == []


def test_a_node_that_leaves_the_pool_is_not_an_entry_any_more(world: World) -> None:
    world.settle()
    world.remove_node("cam-2")
    world.reconcile()
    assert sorted(world.placements()) == ["cam-1", "gate"]
    assert world.deployments() == ["edge-runtime-cam-1", "edge-runtime-gate"]
    assert "delete Service edge-runtime-cam-2" in world.log
    world.runtimes_report()
    world.now += 10
    world.reconcile()
    assert [entry["node"] for entry in world.service()["status"]["entries"]] == ["cam-1", "gate"]


def test_a_node_that_is_not_ready_stays_an_entry_node_with_a_reason(world: World) -> None:
    world.settle()
    world.node("cam-2", "camera", ready=False)
    world.now += 10
    world.reconcile()
    assert "cam-2" in world.placements()
    entry = next(e for e in world.service()["status"]["entries"] if e["node"] == "cam-2")
    assert mentions("not Ready", "Kubelet stopped posting").search(entry["reason"])
    assert world.service()["status"]["readyEntries"] == "2/3"
    assert world.service()["status"]["entryCounts"]["away"] == 1
    assert world.condition("Ready")["status"] == "True", "the others answer"
    degraded = world.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "EntriesNotReady")
    assert mentions("cam-2", "not Ready").search(degraded["message"])


def test_entry_nodes_can_be_narrowed_on_a_live_service(world: World) -> None:
    world.settle()
    world.change(entryNodes={"nodeSelector": {"class": "gateway"}})
    world.reconcile()
    assert sorted(world.placements()) == ["gate"]
    assert world.deployments() == ["edge-runtime-gate"]
