"""`ei rollout`: what a roll-out does, and the verbs that people have."""

from typing import Any

import pytest

from edge_api.rollouts import ABORT_ANNOTATION, PROMOTE_ANNOTATION
from edge_cli.errors import ExitStatus
from messages import mentions

World = Any
Ei = Any
NAME = "digits-1234abcd"


@pytest.fixture
def rolling(world: World) -> World:
    """A service at the first step of a roll-out."""
    world.settle()
    world.change(rollout={"steps": [{"weight": 10}]})
    body = world.service()
    status = {
        **body["status"],
        "model": {**body["status"]["model"], "phase": "Shifting", "candidate": "sha256:" + "cd" * 32},
        "rollout": {
            "phase": "Shifting",
            "revision": NAME,
            "step": 0,
            "weight": 10,
            "compared": 0,
            "agreed": 0,
        },
    }
    world.cluster.put({**body, "status": status})
    return world


def test_rollout_shows_phase_and_weight(rolling: World, ei: Ei) -> None:
    found = ei("rollout", "digits", "-o", "json").document
    assert (found["phase"], found["revision"], found["weight"]) == ("Shifting", NAME, 10)
    assert mentions("Shifting", NAME, "10").search(ei("rollout", "digits").out)


def test_rollout_shows_that_a_version_of_the_runtimes_was_returned_from(rolling: World, ei: Ei) -> None:
    body = rolling.service()
    said = "edge-a: digits: 20 of 40 requests missed 90ms"
    returned = {"type": "RuntimesUpdated", "status": "False", "reason": "RuntimesMissSLO", "message": said}
    conditions = [*body["status"]["conditions"], returned]
    rolling.cluster.put({**body, "status": {**body["status"], "conditions": conditions}})
    assert mentions("RuntimesMissSLO", said).search(ei("rollout", "digits").out)


@pytest.mark.parametrize(("verb", "name"), [("promote", PROMOTE_ANNOTATION), ("abort", ABORT_ANNOTATION)])
def test_promote_and_abort_name_the_candidate_in_an_annotation(
    rolling: World, ei: Ei, verb: str, name: str
) -> None:
    assert mentions(verb, NAME).search(ei("rollout", "digits", verb).out)
    assert rolling.service()["metadata"]["annotations"][name] == NAME


def test_pause_and_resume_change_the_spec(rolling: World, ei: Ei) -> None:
    for verb, paused in (("pause", True), ("resume", False)):
        ei("rollout", "digits", verb)
        found = rolling.service()["spec"]["rollout"]
        assert (found["paused"], found["steps"]) == (paused, [{"weight": 10}])


@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_without_a_roll_out_there_is_nothing_to_promote_or_abort(world: World, ei: Ei, verb: str) -> None:
    world.settle()
    done = ei("rollout", "digits", verb)
    assert done.status == ExitStatus.PROBLEM
    assert mentions("default/digits", "spec.model").search(done.err)


def test_a_service_without_spec_rollout_cannot_be_paused(world: World, ei: Ei) -> None:
    done = ei("rollout", "digits", "pause")
    assert done.status == ExitStatus.PROBLEM
    assert mentions("spec.rollout").search(done.err)


def test_rollout_of_an_unknown_service_names_it(world: World, ei: Ei) -> None:
    done = ei("rollout", "letters")
    assert done.status == ExitStatus.PROBLEM
    assert mentions("default/letters").search(done.err)
