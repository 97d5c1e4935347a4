"""The services of a node are planned together: one of lower priority steps down, or is refused."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from edge_api import reasons
from messages import mentions
from trials import GATEWAY, Document, Trial, another_service

SLOW = 0.1  # requests per second, for which there is always room
STEP = 1.3  # from one tried rate to the next
FIRST, SECOND = "preferred", "yielding"
LATENCY = "1m"  # met by any exit, whatever waits


def service(name: str, rate: float, **spec: Any) -> Document:
    """A service at the gateway, by any exit and without a hop."""
    body = another_service(name)
    entries = {"nodeSelector": {"kubernetes.io/hostname": GATEWAY}}
    body["spec"] |= {
        "mode": "RightSizingOnly",
        "entryNodes": entries,
        "slo": {"latency": LATENCY},
        "load": {"rate": rate},
        **spec,
    }
    return body


def exit_of(trial: Trial, name: str) -> str:
    return str(trial.ask(GATEWAY, service=name).parameters["exit"])


def set_spec(trial: Trial, name: str, **spec: Any) -> None:
    change = json.dumps({"spec": spec})
    trial.cluster.kubectl("patch", "inferenceservice", name, "--type", "merge", "-p", change)


def is_serving(trial: Trial, name: str) -> bool:
    return condition(trial, name, reasons.READY) == ("True", reasons.SERVING)


def is_planned(trial: Trial, name: str, generation: int) -> bool:
    return bool(trial.condition(name, reasons.PLANNED).get("observedGeneration") == generation)


def planned_at(trial: Trial, rate: float) -> tuple[str, str]:
    """What the plan says of the second service if both have this rate."""
    for name in (FIRST, SECOND):
        set_spec(trial, name, load={"rate": rate})
    for name in (FIRST, SECOND):
        generation = trial.get("inferenceservice", name)["metadata"]["generation"]
        trial.wait(
            f"a plan for {name} at {rate:g}/s",
            partial(is_planned, trial, name, generation),
        )
    return condition(trial, SECOND, reasons.PLANNED)


@pytest.fixture
def contended(trial: Trial) -> Iterator[Trial]:
    """Two services that require the full model, with rates for which the gateway can run only one of them."""
    kubectl, rate = trial.cluster.kubectl, SLOW
    services = [service(FIRST, rate, slo=full(trial), priority=10), service(SECOND, rate, slo=full(trial))]
    try:
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all(services))
        for name in (FIRST, SECOND):
            trial.wait(f"{name} Ready", partial(is_serving, trial, name))
        while planned_at(trial, rate) == ("True", reasons.PLANNED_AS_ASKED):
            rate *= STEP
        yield trial
    finally:
        for name in (FIRST, SECOND):
            kubectl("delete", "inferenceservice", name, "--ignore-not-found", "--timeout=90s")


def full(trial: Trial) -> Document:
    """An SLO that only the full model meets."""
    return {"latency": LATENCY, "minAccuracy": max(trial.accuracies().values())}


def condition(trial: Trial, name: str, kind: str) -> tuple[str, str]:
    found = trial.condition(name, kind)
    return str(found.get("status", "")), str(found.get("reason", ""))


def test_services_are_refused_by_priority_step_down_and_are_served_once_they_fit(contended: Trial) -> None:
    trial, final, refused = contended, contended.exits()[-1], ("False", reasons.DOES_NOT_FIT)
    planned = ("True", reasons.PLANNED_AS_ASKED)
    assert condition(trial, SECOND, reasons.PLANNED) == refused, trial.state()
    assert condition(trial, FIRST, reasons.PLANNED) == planned, trial.state()
    message = trial.condition(SECOND, reasons.PLANNED)["message"]
    fixes = ("spec.load.rate", "spec.slo.minAccuracy", "spec.priority")
    assert mentions(f"cpu of {GATEWAY}", FIRST, *fixes).search(message), message
    assert exit_of(trial, FIRST) == final

    set_spec(trial, SECOND, slo={"latency": LATENCY, "minAccuracy": None})
    trial.wait("room for an earlier exit", lambda: condition(trial, SECOND, reasons.PLANNED) == planned)
    trial.wait("an earlier exit", lambda: exit_of(trial, SECOND) != final)
    assert exit_of(trial, FIRST) == final

    set_spec(trial, SECOND, slo=full(trial), priority=20)
    trial.wait("the other refusal", lambda: condition(trial, FIRST, reasons.PLANNED) == refused)
    trial.wait("the full model", lambda: exit_of(trial, SECOND) == final)

    set_spec(trial, SECOND, load={"rate": SLOW})
    trial.wait("room for both", lambda: condition(trial, FIRST, reasons.PLANNED) == planned)
    trial.wait(f"{FIRST} Ready", lambda: condition(trial, FIRST, reasons.READY)[0] == "True")
    assert {exit_of(trial, FIRST), exit_of(trial, SECOND)} == {final}
