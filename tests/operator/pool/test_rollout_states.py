"""From what was observed of two revisions of a model to the next phase of the roll-out."""

import datetime
from dataclasses import replace
from typing import Any

import pytest

from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.rollouts import RolloutStatus
from edge_operator.pool.rollout_states import (
    Candidate,
    Decision,
    Seen,
    decide,
    planned_share,
    revision_name,
)

OLD, NEW = "sha256:" + "aa" * 32, "sha256:" + "bb" * 32
NODES = frozenset({"edge-a", "edge-b"})
START = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
SERVED = f'{{"storageUri": "store://m/old.onnx", "digest": "{OLD}"}}'
STEPS = [{"weight": 10, "duration": "1m"}, {"weight": 50, "duration": "2m"}]


def spec(uri: str = "store://m/new.onnx", **more: Any) -> InferenceServiceSpec:
    body = {"model": {"storageUri": uri}, "slo": {"latency": "90ms"}, "devicePool": "factory"}
    return InferenceServiceSpec.model_validate(body | {"rollout": {"steps": STEPS}} | more)


NAME = revision_name("digits", spec().model)
LOADED = Candidate(digest=NEW, loaded=NODES)
SEEN = Seen(nodes=NODES, digest=OLD, loaded={OLD: NODES}, candidate=LOADED)


def status(phase: str = "Loading", **more: Any) -> RolloutStatus:
    return RolloutStatus.model_validate(
        {"phase": phase, "revision": NAME, "since": START, "served": SERVED} | more
    )


def decided(
    before: RolloutStatus | None, seen: Seen, after: float = 0.0, of: InferenceServiceSpec | None = None
) -> Decision:
    """The next state, and what is done once it is stored."""
    now = START + datetime.timedelta(seconds=after)
    found = decide("digits", of or spec(), before, seen, now)
    return replace(decide("digits", of or spec(), found.status, seen, now), status=found.status)


def phase(found: Decision) -> tuple[Any, ...]:
    assert found.status is not None
    return found.status.phase, found.status.step, found.status.weight


def test_nothing_is_recorded_before_entry_nodes_have_loaded_a_model() -> None:
    found = decided(None, Seen(nodes=NODES, digest=NEW, loaded={NEW: frozenset({"edge-a"})}))
    assert (found.status, found.source.storage_uri) == (None, "store://m/new.onnx")


def test_a_loaded_model_is_recorded_with_its_digest() -> None:
    found = decided(None, Seen(nodes=NODES, digest=NEW, loaded={NEW: NODES}))
    assert phase(found) == ("Stable", None, None)
    assert found.status is not None
    assert NEW in (found.status.served or "")


def test_a_new_address_is_a_candidate_beside_the_current_revision() -> None:
    found = decided(status("Stable", revision=None), replace(SEEN, candidate=None))
    assert phase(found) == ("Loading", None, None)
    assert found.status is not None
    assert found.status.revision == NAME
    assert (found.source.storage_uri, found.source.digest) == ("store://m/old.onnx", OLD)
    assert found.beside is not None
    assert found.beside.storage_uri == "store://m/new.onnx"


def test_a_new_digest_at_the_same_address_is_a_candidate() -> None:
    same = spec("store://m/old.onnx")
    assert phase(decided(status("Stable"), SEEN, of=same)) == ("Stable", None, None)
    model = {"storageUri": "store://m/old.onnx", "digest": NEW}
    found = decided(status("Stable", revision=None), replace(SEEN, candidate=None), of=spec(model=model))
    assert phase(found) == ("Loading", None, None)


def test_steps_begin_once_all_entry_nodes_have_loaded_the_candidate() -> None:
    some = replace(LOADED, loaded=frozenset({"edge-a"}), waits="Planned: no room")
    found = decided(status(), replace(SEEN, candidate=some))
    assert phase(found) == ("Loading", None, None)
    assert found.status is not None
    assert found.status.message == "Planned: no room"
    assert phase(decided(status(), SEEN)) == ("Shifting", 0, 10)


@pytest.mark.parametrize(
    ("step", "after", "expected"),
    [
        (0, 59, ("Shifting", 0, 10)),
        (0, 60, ("Shifting", 1, 50)),
        (1, 119, ("Shifting", 1, 50)),
        (1, 120, ("Promoting", None, 100)),
    ],
)
def test_each_step_lasts_its_duration(step: int, after: float, expected: tuple[Any, ...]) -> None:
    before = status("Shifting", step=step, weight=STEPS[step]["weight"])
    assert phase(decided(before, SEEN, after)) == expected


def test_a_paused_roll_out_stays_at_its_step() -> None:
    paused = spec(rollout={"steps": STEPS, "paused": True})
    assert phase(decided(status(), SEEN, 9999, of=paused)) == ("Loading", None, None)
    before = status("Shifting", step=0, weight=10)
    assert phase(decided(before, SEEN, 9999, of=paused)) == ("Shifting", 0, 10)
    suspended = spec(suspend=True)
    assert phase(decided(before, SEEN, 9999, of=suspended)) == ("Shifting", 0, 10)


def test_a_candidate_is_shadowed_before_it_answers() -> None:
    shadowed = spec(rollout={"steps": STEPS, "shadow": {"share": 20, "duration": "30s"}})
    found = decided(status(), SEEN, of=shadowed)
    assert (*phase(found), found.shadow) == ("Shadowing", None, 0, 20)
    before = status("Shadowing", weight=0)
    assert phase(decided(before, SEEN, 29, of=shadowed)) == ("Shadowing", None, 0)
    assert phase(decided(before, SEEN, 30, of=shadowed)) == ("Shifting", 0, 10)


def test_without_steps_a_loaded_candidate_is_promoted() -> None:
    assert phase(decided(status(), SEEN, of=spec(rollout={}))) == ("Promoting", None, 100)


def test_a_promoted_candidate_is_current_once_the_tables_have_its_model() -> None:
    before = status("Promoting", weight=100)
    found = decided(before, SEEN)
    assert phase(found) == ("Promoting", None, 100)
    assert (found.source.storage_uri, found.source.digest) == ("store://m/new.onnx", NEW)
    assert found.beside is not None
    found = decided(before, replace(SEEN, loaded={NEW: NODES}))
    assert (phase(found), found.beside) == (("Stable", None, None), None)
    assert found.status is not None
    assert NEW in (found.status.served or "")


@pytest.mark.parametrize("before", [status(), status("Shifting", step=0, weight=10)])
def test_the_annotation_promote_skips_the_steps(before: RolloutStatus) -> None:
    assert phase(decided(before, replace(SEEN, promote=NAME))) == ("Promoting", None, 100)
    assert phase(decided(before, replace(SEEN, promote="another"))) != ("Promoting", None, 100)


@pytest.mark.parametrize(
    "before", [status(), status("Shadowing"), status("Shifting", step=1, weight=50), status("Promoting")]
)
def test_the_annotation_abort_returns_to_the_former_revision(before: RolloutStatus) -> None:
    found = decided(before, replace(SEEN, abort=NAME))
    assert phase(found) == ("Returned", None, None)
    assert found.status is not None
    assert found.status.reason == "RolloutAborted"
    assert (found.source.digest, found.beside) == (OLD, None)


@pytest.mark.parametrize("before", [status(), status("Shadowing"), status("Shifting", step=1, weight=50)])
@pytest.mark.parametrize(
    ("failed", "reason", "said"),
    [
        ({"unusable": "edge-a: TrialCrashed: signal 11"}, "CandidateNotLoaded", "edge-a"),
        ({"differs": "inputs: the candidate has x"}, "CandidateDiffers", "inputs"),
        ({"requests": 30, "met": 27, "failed": 3}, "CandidateFails", "3 of 30"),
        ({"requests": 100, "met": 80}, "CandidateMissesSLO", "20 of 100"),
        ({"accuracy": 0.9}, "CandidateInaccurate", "0.9"),
    ],
)
def test_a_candidate_that_fails_is_returned_from(
    before: RolloutStatus, failed: dict[str, Any], reason: str, said: str
) -> None:
    found = decided(before, replace(SEEN, accuracy=0.95, candidate=replace(LOADED, **failed)))
    assert phase(found) == ("Returned", None, None)
    assert found.status is not None
    assert found.status.reason == reason
    assert said in (found.status.message or "")
    assert (found.source.digest, found.beside) == (OLD, None)


@pytest.mark.parametrize(
    "good",
    [
        {"requests": 30, "met": 30, "failed": 2},
        {"requests": 1000, "met": 1000, "failed": 10},
        {"requests": 19, "met": 0},
        {"requests": 100, "met": 93},
        {"accuracy": 0.945},
    ],
)
def test_a_candidate_within_the_limits_continues(good: dict[str, Any]) -> None:
    before = status("Shifting", step=0, weight=10)
    found = decided(before, replace(SEEN, accuracy=0.95, candidate=replace(LOADED, **good)))
    assert phase(found) == ("Shifting", 0, 10)


def test_a_candidate_is_not_blamed_while_the_current_revision_misses_the_slo_too() -> None:
    before = status("Shifting", step=0, weight=10)
    slow = replace(LOADED, requests=100, met=10)
    assert phase(decided(before, replace(SEEN, candidate=slow, meets_slo=False))) == ("Shifting", 0, 10)


def test_a_candidate_below_the_minimum_accuracy_is_returned_from() -> None:
    least = spec(slo={"latency": "90ms", "minAccuracy": 0.9})
    found = decided(status(), replace(SEEN, candidate=replace(LOADED, accuracy=0.89)), of=least)
    assert found.status is not None
    assert (found.status.reason, "0.9" in (found.status.message or "")) == ("CandidateInaccurate", True)


def test_a_loaded_candidate_waits_for_its_accuracy_for_a_time() -> None:
    unmeasured = replace(SEEN, candidate=replace(LOADED, measured=False))
    assert phase(decided(status(), unmeasured, 599)) == ("Loading", None, None)
    assert phase(decided(status(), unmeasured, 600)) == ("Shifting", 0, 10)


def test_a_candidate_that_cannot_be_measured_is_returned_from_after_a_time() -> None:
    unmeasured = replace(SEEN, candidate=Candidate(digest=NEW, unmeasured="ProfilingFailed: exit 1"))
    assert phase(decided(status(), unmeasured, 299)) == ("Loading", None, None)
    found = decided(status(), unmeasured, 300)
    assert found.status is not None
    assert (found.status.phase, found.status.reason) == ("Returned", "CandidateNotLoaded")


def test_a_returned_revision_stays_returned_until_the_spec_names_another() -> None:
    before = status("Returned", reason="CandidateFails", message="3 of 30")
    assert phase(decided(before, SEEN, 9999)) == ("Returned", None, None)
    other = decided(before, SEEN, of=spec("store://m/newer.onnx"))
    assert phase(other) == ("Loading", None, None)
    assert other.status is not None
    assert (other.status.reason, other.status.revision == NAME) == (None, False)


def test_a_spec_that_names_the_current_revision_again_ends_the_roll_out() -> None:
    found = decided(status("Shifting", step=0, weight=10), SEEN, of=spec("store://m/old.onnx"))
    assert (phase(found), found.beside) == (("Stable", None, None), None)


def test_without_a_roll_out_the_tables_change_at_once() -> None:
    direct = spec(rollout=None)
    found = decided(status("Stable", revision=None), replace(SEEN, candidate=None, digest=None), of=direct)
    assert (phase(found)[0], found.source.storage_uri, found.beside) == (
        "Loading",
        "store://m/new.onnx",
        None,
    )
    loaded = Seen(nodes=NODES, digest=NEW, loaded={NEW: NODES})
    assert phase(decided(status(), loaded, of=direct)) == ("Stable", None, None)


def test_without_a_roll_out_a_model_that_cannot_be_loaded_is_returned_from() -> None:
    bad = Seen(nodes=NODES, digest=NEW, unusable={NEW: "edge-b: TrialCrashed: signal 11"})
    found = decided(status(), bad, of=spec(rollout=None))
    assert phase(found)[0] == "Returned"
    assert found.status is not None
    assert found.status.reason == "CandidateNotLoaded"
    assert found.source.digest == OLD


def test_a_roll_out_whose_spec_is_removed_replaces_the_model_in_place() -> None:
    seen = replace(SEEN, digest=None)
    found = decided(status("Shifting", step=0, weight=10), seen, of=spec(rollout=None))
    assert (phase(found), found.source.storage_uri) == (("Loading", None, None), "store://m/new.onnx")


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        (
            status("Shifting", step=0, weight=10),
            replace(SEEN, candidate=replace(LOADED, failed=9, requests=9)),
        ),
        (status("Promoting", weight=100), replace(SEEN, loaded={NEW: NODES})),
    ],
)
def test_nothing_is_done_before_the_state_that_it_follows_from_is_stored(
    before: RolloutStatus, seen: Seen
) -> None:
    found = decide("digits", spec(), before, seen, START)
    assert found.status is not None
    assert found.status.phase in ("Returned", "Stable")
    assert (found.beside is not None, found.weight) == (True, before.weight)


def test_names_of_revisions_are_names_of_services() -> None:
    name = revision_name("a" * 40, spec().model)
    assert len(name) <= 40
    assert name != revision_name("a" * 40, spec("store://m/old.onnx").model)


@pytest.mark.parametrize(
    ("phase_", "step", "share"),
    [("Loading", None, 10), ("Shifting", 0, 50), ("Shifting", 1, 100), ("Promoting", None, 100)],
)
def test_a_candidate_is_planned_for_the_share_of_the_step_that_comes_next(
    phase_: str, step: int | None, share: int
) -> None:
    assert planned_share(spec().rollout, status(phase_, step=step)) == share


def test_a_candidate_is_planned_for_the_share_that_is_shadowed() -> None:
    rollout = {"steps": STEPS, "shadow": {"share": 30, "duration": "1m"}}
    assert planned_share(spec(rollout=rollout).rollout, status()) == 30


def test_a_step_stays_while_the_pool_has_no_room_for_the_next_one() -> None:
    waiting = replace(SEEN, candidate=replace(LOADED, waits="Planned: cpu is full"))
    found = decided(status("Shifting", step=0, weight=10), waiting, after=600)
    assert phase(found) == ("Shifting", 0, 10)
    assert found.status is not None
    assert found.status.message == "Planned: cpu is full"
    promoted = decided(status("Shifting", step=0, weight=10), replace(waiting, promote=NAME), after=600)
    assert phase(promoted)[0] == "Promoting"
