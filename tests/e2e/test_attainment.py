"""SLO attainment in the status counts what clients sent, over restarts, and switches leave Ready alone."""

import json
from typing import Any

from demo import installation
from trials import Trial

OPERATOR = "deployment/edge-operator"


def requests(trial: Trial) -> int:
    """The requests in the window of one hour."""
    slo: dict[str, Any] = trial.get("inferenceservice", "digits")["status"].get("slo", {})
    windows = {window["window"]: window for window in slo.get("windows", [])}
    return int(windows.get("1h", {}).get("requests", 0))


def events(trial: Trial, condition: str) -> list[tuple[str, int]]:
    """The events of a condition of the example: their messages and counts."""
    fields = "involvedObject.kind=InferenceService,involvedObject.name=digits"
    found = json.loads(trial.cluster.kubectl("get", "events", "--field-selector", fields, "-o", "json"))
    return [
        (item["message"], item.get("count", 1))
        for item in found["items"]
        if item["message"].startswith(f"{condition}:")
    ]


def test_windows_outlive_a_restart_of_the_operator_and_count_the_requests_of_clients(trial: Trial) -> None:
    kubectl = trial.cluster.kubectl
    before = requests(trial)
    for index in range(20):
        trial.ask("edge-a", index=index)
    trial.wait("20 requests in the window", lambda: requests(trial) >= before + 20)
    counted = requests(trial)
    kubectl("rollout", "restart", OPERATOR, "--namespace", installation.NAMESPACE)
    for index in range(20):
        trial.ask("edge-b", index=index)
    kubectl("rollout", "status", OPERATOR, "--namespace", installation.NAMESPACE, "--timeout=180s")
    trial.wait("20 requests more in the window", lambda: requests(trial) >= counted + 20)
    assert requests(trial) <= counted + 40, "nothing is counted twice"


def test_a_switch_of_tables_leaves_ready_and_its_events_as_they_were(trial: Trial) -> None:
    before = trial.condition("digits", "Ready")
    said = events(trial, "Ready")
    with trial.with_fields(mode="LocalOnly"):
        assert trial.condition("digits", "Ready")["status"] == "True"
    installation.wait_ready(trial.cluster, lambda _: None)
    after = trial.condition("digits", "Ready")
    assert (after["status"], after["lastTransitionTime"]) == ("True", before["lastTransitionTime"])
    assert events(trial, "Ready") == said
    assert trial.condition("digits", "Progressing")["reason"] == "UpToDate"


def test_the_status_says_how_many_entries_answer_and_where_inference_runs(trial: Trial) -> None:
    with trial.with_fields(mode="LocalOnly"):
        trial.wait(
            "a level without the cloud",
            lambda: trial.get("inferenceservice", "digits")["status"].get("eiLevel") in (2, 3),
        )
    with trial.with_fields(mode="CloudOnly"):
        trial.wait(
            "the level of the cloud",
            lambda: trial.get("inferenceservice", "digits")["status"].get("eiLevel") == 0,
        )
    status = trial.get("inferenceservice", "digits")["status"]
    total = status["entryCounts"]["total"]
    assert status["readyEntries"] == f"{total}/{total}"
