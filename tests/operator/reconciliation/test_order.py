"""Tails are loaded before tables and unloaded last; a failed step leaves active routes unchanged."""

import re
from typing import Any

import pytest

from edge_api.quantities import parse_duration
from edge_operator.cluster import MODEL_PROFILES
from edge_operator.errors import StoreError, TailRefusedError, TritonBusyError
from messages import mentions
from operator_objects import KEY

World = Any  # tests/operator/conftest.py


def nearest(message: str) -> float:
    """The nearest feasible latency in a condition, in seconds."""
    found = re.search(r"nearest feasible latency is ([0-9.a-z]+)", message)
    assert found is not None, message
    return parse_duration(found[1])


def test_a_new_service_is_profiled_planned_loaded_and_published(world: World) -> None:
    world.settle()
    assert sorted(world.placements()) == ["cam-1", "cam-2", "gate"]
    assert world.deployments() == ["edge-runtime-cam-1", "edge-runtime-cam-2", "edge-runtime-gate"]
    assert {c["type"]: c["status"] for c in world.service()["status"]["conditions"]} == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
        "ModelReady": "True",
        "Profiled": "True",
        "Planned": "True",
        "Placed": "True",
        "SLOMet": "Unknown",
        "RolledOut": "True",
    }
    assert world.service()["status"]["url"] == "http://digits.default.svc.cluster.local:8080"


def test_every_tail_of_a_table_is_loaded_before_the_table_is_published(world: World) -> None:
    world.reconcile()
    published = world.log.index("apply Placement digits.cam-1")
    loads = [i for i, line in enumerate(world.log) if line.startswith("load ")]
    assert loads
    assert max(loads) < published
    named = {
        stage["model"]
        for body in world.placements().values()
        for route in body["spec"]["routes"]
        for stage in route["stages"]
        if stage["runtime"] == "Triton"
    }
    assert named == world.triton.models


def test_a_second_reconcile_changes_nothing(world: World) -> None:
    world.settle()
    before, writes = list(world.log), world.cluster.status_writes
    world.now += 10
    world.reconcile()
    assert world.log == before
    assert world.cluster.status_writes == writes


def test_a_restarted_operator_starts_from_the_objects_and_rolls_nothing(world: World) -> None:
    world.settle()
    world.restart()
    del world.log[:]
    world.now += 10
    world.reconcile()
    assert [line for line in world.log if line.startswith(("apply", "load", "unload", "delete"))] == []


def test_a_new_service_without_triton_begins_with_its_local_routes_and_gets_the_others_later(
    world: World,
) -> None:
    world.triton.away = True
    world.reconcile()
    routes = [route["name"] for route in world.placements()["cam-1"]["spec"]["routes"]]
    assert routes == ["exit1@local"]
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "TritonUnreachable")
    assert "triton.test:8000" in placed["message"]
    assert "cam-1, cam-2, gate" in placed["message"]
    world.triton.away = False
    world.reconcile()
    assert len(world.placements()["cam-1"]["spec"]["routes"]) > 1
    assert world.condition("Placed")["status"] == "True"


def test_a_new_service_whose_tails_triton_refuses_begins_with_its_local_routes(world: World) -> None:
    world.triton.failure = TailRefusedError("no such backend")
    world.reconcile()
    assert [route["name"] for route in world.placements()["cam-1"]["spec"]["routes"]] == ["exit1@local"]
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "TailRefused")
    assert mentions("no such backend", "cam-1, cam-2, gate").search(placed["message"])
    world.triton.failure = None
    world.reconcile()
    assert len(world.placements()["cam-1"]["spec"]["routes"]) > 1


def test_a_table_that_needs_an_absent_triton_is_not_published(world: World) -> None:
    world.triton.away = True
    world.change(mode="CloudOnly")
    world.reconcile()
    assert world.placements() == {}
    assert world.condition("Placed")["reason"] == "TritonUnreachable"


def test_a_live_service_whose_triton_is_away_keeps_its_tables(world: World) -> None:
    world.settle()
    before = world.placements()
    world.triton.away = True
    world.change(mode="RightSizingOnly", slo={"latency": "90ms"})
    world.reconcile()
    assert world.placements() != before, "a table that needs no tail needs no Triton"
    between = world.placements()
    world.change(mode="PartitionOnly")
    world.reconcile()
    assert world.placements() == between


def test_a_live_service_gets_its_new_tails_before_its_new_tables(world: World) -> None:
    world.change(mode="LocalOnly")
    world.settle()
    assert world.triton.models == set()
    del world.log[:]
    world.change(mode="Auto")
    world.reconcile()
    loads = [i for i, line in enumerate(world.log) if line.startswith("load ")]
    assert len(loads) == len(world.triton.models) > 1
    assert max(loads) < min(i for i, line in enumerate(world.log) if line.startswith("apply Placement"))


def test_old_tails_go_only_after_every_runtime_followed_and_a_grace_time(world: World) -> None:
    world.settle()
    old = set(world.triton.models)
    world.change(mode="CloudOnly")
    world.reconcile()
    kept = {s["model"] for s in world.placements()["cam-1"]["spec"]["routes"][0]["stages"]}
    assert kept < old
    # No entry node has followed yet: nothing is unloaded, regardless of the time.
    world.now += 300
    world.reconcile()
    assert world.triton.models == old
    world.runtimes_report()
    world.now += 1
    world.reconcile()
    assert world.triton.models == old, "requests may still be under way"
    world.now += 31
    world.reconcile()
    assert world.triton.models == kept


def test_old_tails_go_even_if_the_operator_restarted_or_triton_was_away_in_between(world: World) -> None:
    world.settle()
    world.change(mode="LocalOnly")
    world.reconcile()
    world.restart()
    world.triton.away = True
    world.runtimes_report()
    world.now += 10
    world.reconcile()
    world.triton.away = False
    for _ in range(2):
        world.runtimes_report()
        world.now += 40
        world.reconcile()
    assert world.triton.models == set()


def test_changing_the_mode_measures_nothing_again(world: World) -> None:
    world.settle()
    world.store.profiles.clear()
    for mode in ("LocalOnly", "RightSizingOnly", "CloudOnly", "PartitionOnly", "Auto"):
        world.change(mode=mode)
        world.reconcile()
        assert world.condition("Profiled")["status"] == "True"
    assert world.jobs() == []


def test_a_tail_that_another_services_table_names_stays(world: World) -> None:
    world.settle()
    tail = min(world.triton.models)
    other = world.placements()["cam-1"]
    labels = {"edge-intelligence.io/service": "other"}
    world.cluster.put(other | {"metadata": {"name": "other", "namespace": "elsewhere", "labels": labels}})
    world.change(mode="LocalOnly")
    world.reconcile()
    world.runtimes_report()
    for _ in range(3):
        world.now += 40
        world.reconcile()
    assert tail in world.triton.models


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            StoreError("DigestMismatch", "model.digest: expected sha256:12…, the file is sha256:ab…"),
            "DigestMismatch",
        ),
        (StoreError("NotOnnx", "model.storageUri: store://x is not an ONNX file"), "NotOnnx"),
    ],
)
def test_a_model_that_is_refused_leaves_the_one_before_serving(
    world: World, failure: StoreError, reason: str
) -> None:
    world.settle()
    before = world.placements()
    world.store.failure = failure
    world.change(model={"storageUri": "store://digits/other.onnx"})
    world.reconcile()
    assert world.placements() == before
    assert (world.condition("ModelReady")["status"], world.condition("ModelReady")["reason"]) == (
        "False",
        reason,
    )
    assert world.condition("ModelReady")["message"] == f"spec.{failure}"
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert str(failure) in ready["message"]


def test_a_store_that_is_away_for_a_while_does_not_make_a_serving_service_unready(world: World) -> None:
    world.settle()
    world.restart()
    world.cluster.delete(MODEL_PROFILES, "default", "digits")
    world.store.failure = StoreError(
        "Unreachable", "the model store at http://store.test:8080 does not answer"
    )
    world.now += 10
    world.reconcile()
    assert world.condition("ModelReady")["status"] == "False"
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Serving")
    assert "does not answer" in ready["message"]


def test_an_unknown_pool_is_named_with_those_that_there_are(world: World) -> None:
    world.settle()
    before = world.placements()
    world.change(devicePool="fabric")
    world.reconcile()
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "DevicePoolNotFound")
    assert planned["message"].startswith('spec.devicePool: "fabric"')
    assert "factory" in planned["message"]
    assert world.placements() == before


def test_entry_nodes_that_match_nothing_are_named_with_those_that_would(world: World) -> None:
    world.change(entryNodes={"nodeSelector": {"class": "phone"}})
    world.reconcile()
    planned = world.condition("Planned")
    assert planned["reason"] == "NoEntryNodes"
    assert "class=phone" in planned["message"]
    assert "cam-1, cam-2, gate" in planned["message"]


def test_an_slo_that_nothing_meets_is_served_by_the_fastest_and_said(world: World) -> None:
    world.change(slo={"latency": "3ms"})
    world.settle()
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("True", "SLOOutOfReach")
    assert planned["message"].startswith('spec.slo.latency: "3ms"')
    assert nearest(planned["message"]) > 0.003
    assert len(world.placements()) == 3


def test_an_slo_that_no_accurate_enough_exit_meets_is_refused_with_what_would_do(world: World) -> None:
    world.change(slo={"latency": "3ms", "minAccuracy": 0.9})
    world.reconcile()
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "Infeasible")
    assert planned["message"].startswith('spec.slo.latency: "3ms"')
    assert "0.90" in planned["message"]
    assert nearest(planned["message"]) > 0.003
    assert world.placements() == {}


def test_an_object_of_the_same_name_is_not_taken_over(world: World) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "digits", "namespace": "default"},
        "spec": {"selector": {"app": "web"}},
    }
    world.cluster.put(theirs)
    world.reconcile()
    world.reconcile()  # the namespace's report wakes the service
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "ObjectRefused")
    assert "Service default/digits" in placed["message"]
    assert "apply Service digits" not in world.log


def test_a_triton_that_forgot_its_tails_gets_them_back(world: World) -> None:
    world.settle()
    had = set(world.triton.models)
    world.triton.models.clear()
    world.reconcile()
    assert world.triton.models == had


def test_a_busy_triton_delays_a_service_only_if_its_tails_are_not_known_to_be_loaded(world: World) -> None:
    world.settle()
    world.triton.failure = TritonBusyError("Triton at triton.test:8000 is busy: loading other")
    world.now += 60
    world.reconcile()
    assert world.condition("Placed")["status"] == "True"
    world.restart()
    world.reconcile()
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("Unknown", "TritonBusy")
    assert world.actions.resting["load", KEY, world.triton.url] == 1.0
    assert ("Warning", "TritonBusy") not in {event[:2] for event in world.cluster.events}
    world.triton.failure = None
    world.reconcile()
    assert world.condition("Placed")["status"] == "True"
