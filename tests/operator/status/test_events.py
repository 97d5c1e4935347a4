"""Which changes of conditions have events."""

import datetime

import pytest

from edge_api.inferenceservices import InferenceServiceStatus
from edge_operator.pool.reports import changes

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
STEPS = ("ModelReady", "Profiled", "Planned", "Placed")


def status(**conditions: str) -> InferenceServiceStatus:
    found = [
        {
            "type": kind,
            "status": value,
            "reason": f"{kind}Is{value}",
            "message": "",
            "lastTransitionTime": NOW,
            "observedGeneration": 1,
        }
        for kind, value in conditions.items()
    ]
    return InferenceServiceStatus.model_validate({"conditions": found})


def reasons(before: InferenceServiceStatus | None, after: InferenceServiceStatus) -> list[str]:
    return [reason for _, reason, _ in changes(before, after)]


def test_ready_tells_of_the_steps_that_are_done_with_it() -> None:
    assert reasons(None, status(**dict.fromkeys(STEPS, "True"), Ready="True")) == ["ReadyIsTrue"]


def test_the_last_of_several_steps_has_an_event() -> None:
    after = status(ModelReady="True", Profiled="True", Planned="Unknown", Ready="Unknown")
    assert reasons(None, after) == ["ProfiledIsTrue"]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_has_an_event(step: str) -> None:
    before = status(**dict.fromkeys(STEPS, "True"), Ready="True")
    after = status(**dict.fromkeys(STEPS, "True") | {step: "False"}, Ready="False")
    assert reasons(before, after) == [f"{step}IsFalse", "ReadyIsFalse"]


def test_a_step_that_succeeds_again_while_others_did_before_has_an_event() -> None:
    before = status(ModelReady="True", Profiled="True", Planned="False", Placed="True")
    after = status(ModelReady="True", Profiled="True", Planned="True", Placed="True")
    assert reasons(before, after) == ["PlannedIsTrue"]


def test_the_first_revision_of_a_model_has_no_event() -> None:
    assert reasons(None, status(RolledOut="True")) == []
    before = status(RolledOut="Unknown")
    waiting = before.conditions[0].model_copy(update={"reason": "Waiting"})
    before = before.model_copy(update={"conditions": (waiting,)})
    assert reasons(before, status(RolledOut="True")) == []
    assert reasons(status(RolledOut="False"), status(RolledOut="True")) == ["RolledOutIsTrue"]
