"""A model that refuses generated inputs: entry nodes measure it on their first requests, one of a class."""

from typing import Any

import pytest

from edge_api import reasons
from edge_api.first_requests import FirstRequestsStatus, ReportedExit, ReportedSegment, RequestProfile
from edge_api.objects import written
from edge_api.quantities import Duration
from edge_operator.cluster import MODEL_PROFILES
from edge_operator.store_answers import DeviceProfile
from messages import mentions
from operator_objects import CARD, KEY, device_profile

REFUSAL = "the model refuses generated values (Gather)"
SECONDS = 0.04


@pytest.fixture
def refusing(world: Any) -> Any:
    """The world whose profiling Jobs found that the model refuses generated inputs at entry nodes."""
    for device_class in ("camera", "gateway"):
        refuse(world, device_class)
    world.settle()
    return world


def refuse(world: Any, device_class: str) -> None:
    profile: DeviceProfile = world.store.profiles[device_class]
    update = {"segments": (), "exits": (), "refused": REFUSAL}
    world.store.profiles[device_class] = profile.model_copy(update=update)


def report(**fields: Any) -> dict[str, Any]:
    return {"firstRequests": written(FirstRequestsStatus(**fields))}


def request_profile(seconds: float = SECONDS) -> RequestProfile:
    """What a runtime measured: the cuts and exits of the test's model."""
    whole = device_profile("any", 1.0)
    times = {"mean": Duration(seconds), "p95": Duration(seconds), "runs": 9}
    return RequestProfile(
        model=CARD.digest,
        threads=1,
        segments=tuple(
            ReportedSegment.model_validate({"from": s.start, "to": s.end, **times}) for s in whole.segments
        ),
        exits=tuple(
            ReportedExit.model_validate({"exit": "another", "output": exit_.end, **times})
            for exit_ in CARD.exits
        ),
    )


def turns(world: Any) -> dict[str, str | None]:
    return {node: body["spec"].get("firstRequests") for node, body in world.placements().items()}


def report_at(world: Any, node: str, **fields: Any) -> None:
    """The runtime at one node reports; the others as before."""
    body = world.placements()[node]
    world.cluster.put(body | {"status": body["status"] | report(**fields)})


def class_nodes(world: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in sorted(world.placements()):
        found.setdefault("gateway" if node == "gate" else "camera", []).append(node)
    return found


def test_before_requests_runtimes_keep_inputs_and_the_condition_says_what_it_waits_for(refusing: Any) -> None:
    assert set(turns(refusing).values()) == {"Keep"}
    condition = refusing.condition(reasons.PROFILED)
    assert (condition["status"], condition["reason"]) == ("False", reasons.INPUTS_REFUSED)
    assert mentions(REFUSAL, "spec.model.samples", *turns(refusing)).search(condition["message"])


def test_one_runtime_of_each_class_measures_once_inputs_are_kept(refusing: Any) -> None:
    refusing.runtimes_report(**report(kept=3))
    refusing.reconcile()
    found = turns(refusing)
    for nodes in class_nodes(refusing).values():
        assert sorted(str(found[node]) for node in nodes) == [*["Keep"] * (len(nodes) - 1), "Measure"]
    condition = refusing.condition(reasons.PROFILED)
    assert (condition["status"], condition["reason"]) == ("Unknown", reasons.MEASURING_ON_REQUESTS)
    assert refusing.condition(reasons.PLANNED)["reason"] == reasons.MEASURING_ON_REQUESTS


def test_a_failed_attempt_is_reported_and_passes_the_turn_to_another_node(refusing: Any) -> None:
    refusing.runtimes_report(**report(kept=3))
    refusing.reconcile()
    cameras = class_nodes(refusing)["camera"]
    first = next(node for node in cameras if turns(refusing)[node] == "Measure")
    refusing.runtimes_report(**report(kept=3))
    report_at(refusing, first, kept=3, attempts=1, message="the process was ended by SIGKILL")
    refusing.reconcile()
    after = turns(refusing)
    assert after[first] == "Keep"
    assert [after[node] for node in cameras].count("Measure") == 1
    refusing.now += 10
    refusing.reconcile()
    said = refusing.condition(reasons.PROFILED)["message"]
    assert mentions(first, "attempt 1", "the process was ended by SIGKILL").search(said)


def test_reported_times_give_the_service_its_plan_and_are_marked_as_those_of_requests(refusing: Any) -> None:
    refusing.runtimes_report(**report(kept=3))
    refusing.reconcile()
    refusing.runtimes_report(**report(profile=request_profile()))
    refusing.settle()
    assert refusing.condition(reasons.PROFILED)["status"] == "True"
    assert "on the inputs of requests" in refusing.condition(reasons.PROFILED)["message"]
    stored = refusing.cluster.get(MODEL_PROFILES, *KEY)
    costs = {c["name"]: c for c in stored["spec"]["deviceClasses"]}
    assert costs["camera"]["measuredOn"] == "Requests"
    assert costs["camera"]["exits"][-1]["mean"] == "40ms"
    assert "measuredOn" not in costs["cloud"]
    assert set(turns(refusing).values()) == {None}
    assert refusing.condition(reasons.PLANNED)["reason"] not in (
        reasons.INPUTS_REFUSED,
        reasons.MEASURING_ON_REQUESTS,
    )


def test_the_measurement_outlives_a_restart_of_the_operator(refusing: Any) -> None:
    refusing.runtimes_report(**report(kept=3))
    refusing.reconcile()
    refusing.runtimes_report(**report(profile=request_profile()))
    refusing.settle()
    before = {node: body["spec"]["routes"] for node, body in refusing.placements().items()}
    refusing.restart()
    refusing.settle()
    assert {node: body["spec"]["routes"] for node, body in refusing.placements().items()} == before
    assert set(turns(refusing).values()) == {None}


def test_a_report_of_another_model_or_of_no_turn_is_ignored(refusing: Any) -> None:
    other = request_profile().model_copy(update={"model": "sha256:" + "9" * 64})
    refusing.runtimes_report(**report(profile=other))
    refusing.reconcile()
    assert refusing.condition(reasons.PROFILED)["reason"] == reasons.INPUTS_REFUSED


def test_routes_through_triton_wait_for_samples_if_the_model_refuses_inputs_there(world: Any) -> None:
    for device_class in ("camera", "gateway", "cloud"):
        refuse(world, device_class)
    world.settle()
    world.runtimes_report(**report(kept=3))
    world.reconcile()
    world.runtimes_report(**report(profile=request_profile()))
    world.settle()
    condition = world.condition(reasons.PROFILED)
    assert condition["reason"] == reasons.INPUTS_REFUSED
    assert mentions("routes through Triton", "cloud", "spec.model.samples").search(condition["message"])
    cuts = {route["cut"] for body in world.placements().values() for route in body["spec"]["routes"]}
    assert cuts == {"local"}
    assert world.condition(reasons.PLANNED)["status"] == "True"


def test_a_service_can_have_its_requests_ignored(world: Any) -> None:
    world.change(model=world.service()["spec"]["model"] | {"firstRequests": "Ignore"})
    refuse(world, "camera")
    refuse(world, "gateway")
    world.settle()
    assert set(turns(world).values()) == {None}
    assert "spec.model.samples" in world.condition(reasons.PROFILED)["message"]


def test_placements_name_the_sample_on_which_runtimes_warm_up_also_after_a_restart(world: Any) -> None:
    digest = "sha256:" + "6" * 64
    world.store.card = CARD.model_copy(update={"samples": "sha256:" + "5" * 64, "warm_up": digest})
    world.settle()
    assert {body["spec"]["model"]["warmUp"] for body in world.placements().values()} == {digest}
    world.restart()
    world.settle()
    assert {body["spec"]["model"]["warmUp"] for body in world.placements().values()} == {digest}


def test_samples_that_are_given_later_count_more_than_requests(refusing: Any) -> None:
    refusing.runtimes_report(**report(kept=3))
    refusing.reconcile()
    refusing.runtimes_report(**report(profile=request_profile()))
    refusing.settle()
    digest = "sha256:" + "5" * 64
    refusing.store.card = CARD.model_copy(update={"samples": digest})
    samples = {"storageUri": "store://samples.npz"}
    refusing.change(model=refusing.service()["spec"]["model"] | {"samples": samples})
    refusing.reconcile()
    assert refusing.condition(reasons.PROFILED)["reason"] == reasons.PROFILING
    assert refusing.jobs()
