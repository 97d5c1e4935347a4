"""A service's status: conditions with messages, written only if they change."""

from typing import Any

from edge_api.quantities import parse_quantity
from edge_planning.choosing.sentences import bandwidth_text
from messages import mentions

World = Any  # tests/operator/conftest.py

LOADED = {"attainment": "0.99", "latency": {"p50": "40ms", "p95": "80ms"}}


def test_entries_show_route_prediction_measurement_and_why(world: World) -> None:
    world.settle()
    link = {"state": "Up", "bandwidth": "3920000", "roundTrip": "2ms"}
    world.runtimes_report(**LOADED, link=link)
    world.now += 10
    world.reconcile()
    entry = world.service()["status"]["entries"][0]
    route = world.placements()["cam-1"]["spec"]["routes"][0]
    assert entry["node"] == "cam-1"
    assert (entry["exit"], entry["cut"]) == (route["exit"], route["cut"])
    assert entry["predictedLatency"] == route["predictedLatency"]
    assert entry["measuredLatency"] == "80ms"
    assert entry["bandwidth"] == "3.92M"
    assert entry["reason"] == f"used from {bandwidth_text(float(parse_quantity(route['minBandwidth'])))}"


def test_a_cut_link_is_the_reason_of_the_local_route(world: World) -> None:
    world.settle()
    local = world.placements()["cam-1"]["spec"]["routes"][-1]
    world.runtimes_report(activeRoute=local["name"], exit="exit1", cut="local", link={"state": "Down"})
    world.now += 10
    world.reconcile()
    status = world.service()["status"]
    assert "cloud" in status["entries"][0]["reason"]
    assert (status["exit"], status["cut"]) == ("exit1", "local")


def test_new_measurements_are_written_at_most_every_ten_seconds_and_verdicts_at_once(world: World) -> None:
    world.settle()
    world.requests_arrive(100, 99, **LOADED)
    world.now += 10
    world.reconcile()
    writes = world.cluster.status_writes
    world.now += 1
    world.requests_arrive(1, 1, **LOADED | {"latency": {"p50": "40ms", "p95": "81ms"}})
    assert world.reconcile() == 9.0
    assert world.cluster.status_writes == writes
    world.now += 1
    world.node("cam-1", "camera", ready=False)
    world.reconcile()
    assert world.cluster.status_writes == writes + 1
    assert world.service()["status"]["slo"]["p95"] == "81ms"


def test_last_transition_time_moves_only_with_the_status(world: World) -> None:
    world.settle()
    first = world.condition("Placed")["lastTransitionTime"]
    world.now += 100
    world.change(mode="LocalOnly")
    world.settle()
    placed = world.condition("Placed")
    assert placed["lastTransitionTime"] == first
    assert placed["observedGeneration"] == 2
    world.change(mode="Auto")
    world.triton.away = True
    world.now += 100
    world.reconcile()
    assert world.condition("Placed")["lastTransitionTime"] > first


def test_a_runtime_that_cannot_load_says_why_in_the_services_condition(world: World) -> None:
    world.settle()
    missing = "slice sha256:12 is not in the store"
    world.runtimes_report(loaded=False, message=missing, activeRoute=None)
    world.now += 10
    world.reconcile()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "EntriesNotReady")
    assert f"cam-1: {missing}" in ready["message"]


def test_a_slice_that_crashed_in_its_trial_degrades_the_service_while_the_old_routes_serve(
    world: World,
) -> None:
    world.settle()
    said = "route full@local: slice sha256:12: onnxruntime crashed with SIGSEGV while loading it"
    world.runtimes_report(loaded=False, reason="TrialCrashed", message=said)
    world.now += 10
    world.reconcile()
    for kind, status in (("Ready", "True"), ("Progressing", "False"), ("Degraded", "True")):
        assert world.condition(kind)["status"] == status
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "TrialCrashed"
    assert f"cam-1: {said}; the previous routes keep serving" in degraded["message"]
    assert world.service()["status"]["entryCounts"] == {
        "total": 3, "ready": 3, "degraded": 3, "updating": 0, "away": 0, "missing": 0,
    }  # fmt: skip


def test_a_new_service_is_starting_until_its_runtimes_report_and_failing_when_a_pod_cannot(
    world: World,
) -> None:
    world.reconcile()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "Starting")
    labels = {"edge-intelligence.io/runtime": "edge-runtime-cam-1"}
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "edge-runtime-cam-1-x", "namespace": "default", "labels": labels},
        "status": {"containerStatuses": [{"state": waiting}]},
    }
    world.cluster.put(pod)
    world.now += 10
    world.reconcile()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "EntriesNotReady")
    assert "cam-1: ErrImagePull: not found" in ready["message"]


def test_a_service_whose_new_model_is_being_measured_is_not_ready_though_the_old_one_serves(
    world: World,
) -> None:
    world.settle()
    world.store.profiles.clear()
    world.store.card = world.store.card.model_copy(update={"digest": "sha256:" + "cd" * 32})
    world.change(model={"storageUri": "store://digits/second.onnx"})
    world.now += 10
    world.reconcile()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "Profiling")
    assert {p["spec"]["model"]["digest"] for p in world.placements().values()} == {"sha256:" + "ab" * 32}


def test_an_entry_is_alive_while_its_pod_is_ready_whatever_the_clock_of_its_node_says(world: World) -> None:
    world.settle()
    world.runtimes_report(lastUpdated="2026-03-01T11:59:15Z")  # 45 s and more behind
    world.now += 3600
    world.reconcile()
    assert world.condition("Ready")["status"] == "True"
    assert world.service()["status"]["readyEntries"] == "3/3"


def test_an_entry_whose_pod_is_not_ready_does_not_count_and_its_last_report_is_not_shown(
    world: World,
) -> None:
    world.settle()
    world.pods_are_ready(at="cam-1", ready=False)
    world.now += 10
    world.reconcile()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "EntriesNotReady")
    assert mentions("cam-1", "pod", "not Ready").search(ready["message"])
    entry = world.service()["status"]["entries"][0]
    assert set(entry) == {"node", "reason"}, "what it said before is not what it does now"


def test_turns_of_a_condition_are_recorded_as_events(world: World) -> None:
    world.settle()
    assert ("Normal", "Serving") in [(kind, reason) for kind, reason, _ in world.cluster.events]
    world.change(devicePool="fabric")
    world.reconcile()
    kind, reason, message = world.cluster.events[-1]
    assert (kind, reason) == ("Warning", "DevicePoolNotFound")
    assert 'spec.devicePool: "fabric"' in message


def test_every_status_that_is_written_is_one_that_the_api_accepts(world: World) -> None:
    from edge_api.validation_messages import problems

    world.settle()
    world.requests_arrive(100, 99, **LOADED)
    world.now += 10
    world.reconcile()
    assert "history" in world.service()["status"]["slo"]
    assert problems(world.service()) == []
