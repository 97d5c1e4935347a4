"""A new model of a service is loaded beside the current one, gets requests by steps, and replaces it."""

from typing import Any

import pytest

from edge_operator.cluster import DEPLOYMENTS, INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.keys import ServiceKey
from messages import mentions
from operator_objects import CARD, DIGEST, KEY

NEW = "store://digits/new.onnx"
NEW_DIGEST = "sha256:" + "cd" * 32
STEPS = [{"weight": 10, "duration": "1m0s"}, {"weight": 50, "duration": "1m0s"}]


@pytest.fixture
def rolling(world: Any) -> Any:
    """A service that serves its first model, with a second one in the store."""
    world.store.cards[NEW] = CARD.model_copy(update={"digest": NEW_DIGEST})
    world.change(rollout={"steps": STEPS})
    settle(world)
    return world


def placements(world: Any, service: str = KEY.name) -> dict[str, Object]:
    found = world.cluster.find(PLACEMENTS, KEY.namespace)
    return {b["spec"]["node"]: b for b in found if b["spec"]["service"] == service}


def report(world: Any, service: str, *, loaded: bool = True, **more: Any) -> None:
    """The runtimes report on all Placements of a service."""
    for body in placements(world, service).values():
        route = body["spec"]["routes"][0]
        status = {
            "observedGeneration": body["metadata"]["generation"],
            "loaded": loaded,
            "activeRoute": route["name"],
            "exit": route["exit"],
            "cut": route["cut"],
            "since": "2026-03-01T12:00:00Z",
            "requests": 0,
            "met": 0,
        }
        world.cluster.report_status(PLACEMENTS, KEY.namespace, body["metadata"]["name"], status | more)
    for body in world.cluster.find(DEPLOYMENTS, KEY.namespace):
        world.cluster.put(body | {"status": {"readyReplicas": 1}})


def settle(world: Any, **candidate: Any) -> None:
    """Reconciles while all runtimes serve what is published."""
    for _ in range(4):
        world.reconcile()
        report(world, KEY.name)
        if name := revision(world):
            report(world, name, **candidate)
        world.now += 10
    world.reconcile()


def revision(world: Any) -> str:
    return str((world.service()["status"].get("rollout") or {}).get("revision") or "")


def candidate(world: Any) -> Object | None:
    name = revision(world)
    found: Object | None = world.cluster.get(INFERENCE_SERVICES, KEY.namespace, name) if name else None
    return found


def state(world: Any) -> tuple[Any, ...]:
    model = world.service()["status"]["model"]
    return model["phase"], model.get("current"), model.get("candidate")


def shares(world: Any) -> set[Any]:
    return {(body["spec"].get("candidate") or {}).get("weight") for body in placements(world).values()}


def digests(world: Any, service: str = KEY.name) -> set[str]:
    return {body["spec"]["model"]["digest"] for body in placements(world, service).values()}


def change_model(world: Any, uri: str = NEW) -> None:
    world.change(model={"storageUri": uri})


def test_a_served_model_is_the_current_revision(rolling: Any) -> None:
    assert state(rolling) == ("Stable", DIGEST, None)
    assert rolling.service()["status"]["model"]["resolvedDigest"] == DIGEST
    found = rolling.condition("RolledOut")
    assert (found["status"], found["reason"]) == ("True", "Current")


def test_a_candidate_is_loaded_beside_the_current_revision(rolling: Any) -> None:
    before = {node: body["spec"] for node, body in placements(rolling).items()}
    change_model(rolling)
    for _ in range(3):
        rolling.reconcile()
        rolling.now += 10
    found = candidate(rolling)
    assert found is not None
    assert found["spec"]["model"]["storageUri"] == NEW
    assert ("rollout" in found["spec"], found["spec"]["priority"]) == (False, -1)
    assert found["metadata"]["ownerReferences"][0]["name"] == "digits"
    assert digests(rolling, revision(rolling)) == {NEW_DIGEST}
    assert {node: body["spec"] for node, body in placements(rolling).items()} == before
    assert state(rolling)[:2] == ("Loading", DIGEST)
    found = rolling.condition("RolledOut")
    assert (found["status"], found["reason"]) == ("Unknown", "RollingOut")


def test_requests_go_over_by_steps_until_the_candidate_is_current(rolling: Any) -> None:
    change_model(rolling)
    seen = []
    for _ in range(30):
        settle(rolling)
        step = (state(rolling)[0], tuple(shares(rolling)))
        if step not in seen:
            seen.append(step)
        if step[0] == "Stable":
            break
    assert seen == [("Shifting", (10,)), ("Shifting", (50,)), ("Stable", (None,))]
    assert digests(rolling) == {NEW_DIGEST}
    assert state(rolling) == ("Stable", NEW_DIGEST, None)
    services = rolling.cluster.find(INFERENCE_SERVICES, KEY.namespace)
    left = [b["metadata"]["name"] for b in services if not b["metadata"].get("deletionTimestamp")]
    assert left == ["digits"]
    assert ("Normal", "Current") in {event[:2] for event in rolling.cluster.events}


def test_the_current_revision_stays_until_the_candidate_has_become_current(rolling: Any) -> None:
    change_model(rolling)
    settle(rolling)
    name = revision(rolling)
    service = rolling.service()
    notes = {"edge-intelligence.io/promote": name}
    rolling.cluster.put(service | {"metadata": service["metadata"] | {"annotations": notes}})
    rolling.reconcile()
    assert state(rolling)[0] == "Promoting"
    assert (digests(rolling), shares(rolling)) == ({NEW_DIGEST}, {100})
    assert candidate(rolling) is not None
    settle(rolling)
    assert (state(rolling), shares(rolling)) == (("Stable", NEW_DIGEST, None), {None})


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        ({"loaded": False, "reason": "TrialCrashed", "message": "signal 11"}, "CandidateNotLoaded"),
        ({"requests": 40, "met": 30, "failed": 5}, "CandidateFails"),
        ({"requests": 40, "met": 10}, "CandidateMissesSLO"),
    ],
)
def test_a_bad_candidate_is_removed_and_the_former_revision_stays(
    rolling: Any, reported: dict[str, Any], reason: str
) -> None:
    before = digests(rolling)
    change_model(rolling)
    settle(rolling)
    assert shares(rolling) == {10}
    name = revision(rolling)
    settle(rolling, **reported)
    assert state(rolling) == ("Returned", DIGEST, NEW_DIGEST)
    assert (digests(rolling), shares(rolling)) == (before, {None})
    assert rolling.cluster.get(INFERENCE_SERVICES, KEY.namespace, name) is None
    assert placements(rolling, name) == {}
    found = rolling.condition("RolledOut")
    assert (found["status"], found["reason"]) == ("False", reason)
    assert rolling.condition("Ready")["status"] == "True"
    assert ("Warning", reason) in {event[:2] for event in rolling.cluster.events}


def test_a_candidate_without_routes_waits_and_tells_why(rolling: Any) -> None:
    rolling.store.profiles.clear()
    change_model(rolling)
    settle(rolling)
    assert (state(rolling)[0], shares(rolling)) == ("Loading", {None})
    found = rolling.condition("RolledOut")
    assert (found["status"], found["reason"]) == ("Unknown", "CandidateWaits")
    assert mentions(revision(rolling), "Profiled").search(found["message"])
    assert rolling.condition("Ready")["status"] == "True"


def test_another_model_during_a_roll_out_replaces_the_candidate(rolling: Any) -> None:
    change_model(rolling)
    settle(rolling)
    first = revision(rolling)
    newer = "store://digits/newer.onnx"
    rolling.store.cards[newer] = CARD.model_copy(update={"digest": "sha256:" + "ef" * 32})
    change_model(rolling, newer)
    rolling.reconcile()
    rolling.reconcile()
    assert revision(rolling) not in ("", first)
    assert rolling.cluster.get(INFERENCE_SERVICES, KEY.namespace, first) is None
    assert (state(rolling)[0], shares(rolling)) == ("Loading", {None})


def test_the_former_model_ends_the_roll_out(rolling: Any) -> None:
    change_model(rolling)
    settle(rolling)
    name = revision(rolling)
    change_model(rolling, "store://digits/digits.onnx")
    settle(rolling)
    assert (state(rolling), shares(rolling)) == (("Stable", DIGEST, None), {None})
    assert rolling.cluster.get(INFERENCE_SERVICES, KEY.namespace, name) is None


def test_a_restarted_operator_continues_at_the_step(rolling: Any) -> None:
    change_model(rolling)
    settle(rolling)
    before = rolling.service()["status"]["rollout"]
    assert before["step"] == 0
    rolling.restart()
    rolling.reconcile()
    assert rolling.service()["status"]["rollout"] == before
    assert shares(rolling) == {10}


def test_without_a_roll_out_a_model_that_nodes_cannot_load_is_returned_from(rolling: Any) -> None:
    rolling.change(rollout=None)
    settle(rolling)
    change_model(rolling)
    rolling.reconcile()
    assert digests(rolling) == {NEW_DIGEST}
    report(rolling, KEY.name, loaded=False, reason="TrialCrashed", message="signal 11")
    rolling.reconcile()
    rolling.reconcile()
    assert digests(rolling) == {DIGEST}
    settle(rolling)
    assert state(rolling) == ("Returned", DIGEST, NEW_DIGEST)
    assert mentions("TrialCrashed", "signal 11").search(rolling.condition("RolledOut")["message"])


def test_without_a_roll_out_a_model_is_replaced_in_place(rolling: Any) -> None:
    rolling.change(rollout=None)
    settle(rolling)
    change_model(rolling)
    settle(rolling)
    assert (state(rolling), digests(rolling)) == (("Stable", NEW_DIGEST, None), {NEW_DIGEST})
    assert rolling.planned(ServiceKey(*KEY)) is not None


@pytest.mark.parametrize("declared", [{"load": {"rate": 0.4}}, {"slo": {"throughput": 0.4}}])
def test_a_candidate_is_planned_for_its_share_of_the_declared_rate(
    rolling: Any, declared: dict[str, Any]
) -> None:
    slo = rolling.service()["spec"]["slo"]
    rolling.change(**declared | ({"slo": slo | declared["slo"]} if "slo" in declared else {}))
    settle(rolling)
    assert {body["spec"]["rate"] for body in placements(rolling).values()} == {0.4}
    change_model(rolling)
    seen = set()
    for _ in range(12):
        settle(rolling)
        weights, own = shares(rolling), placements(rolling, revision(rolling)).values()
        seen |= {(weight, body["spec"]["rate"]) for weight in weights if weight for body in own}
    # The share of a step is there before it begins.
    assert seen == {(10, 0.2), (50, 0.2), (50, 0.4)}
    assert {body["spec"]["rate"] for body in placements(rolling).values()} == {0.4}
