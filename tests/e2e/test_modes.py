"""Changing the mode of a live service and deleting a service lose no request and leave no objects."""

import json
import time
from typing import Any

import pytest
import yaml

from demo import installation
from trials import Trial


def profiling_jobs(trial: Trial) -> set[str]:
    return set(trial.cluster.kubectl("get", "jobs", "-A", "-o", "name").split())


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("LocalOnly", lambda cut, exit_: (cut, exit_) == ("local", "final")),
        ("CloudOnly", lambda cut, exit_: (cut, exit_) == ("image", "final")),
        ("PartitionOnly", lambda cut, exit_: exit_ == "final"),
        ("RightSizingOnly", lambda cut, exit_: cut == "local" and exit_ != "final"),
    ],
)
def test_a_mode_is_switched_under_load_without_losing_a_request(
    trial: Trial, mode: str, expected: Any
) -> None:
    final = trial.exits()[-1]
    measured = profiling_jobs(trial)
    with trial.load("edge-b", rate=3) as load:
        installation.set_mode(trial.cluster, mode)
        # Requests in flight finish with the table that they started with.
        switched = time.monotonic()
        answer = load.wait_for("a start after the switch", lambda a: "cut" in a and a["sent"] > switched)
    load.check_none_lost()
    assert expected(answer["cut"], "final" if answer["exit"] == final else answer["exit"]), answer
    assert profiling_jobs(trial) <= measured, "a change of mode must not profile again"


def test_a_deleted_service_leaves_nothing_behind(trial: Trial) -> None:
    manifest = {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "short", "namespace": "default"},
        "spec": trial.get("inferenceservice", "digits")["spec"],
    }
    kubectl = trial.cluster.kubectl
    kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest))
    trial.wait("Ready", lambda: trial.condition("short", "Ready").get("status") == "True", 180)
    kubectl("delete", "inferenceservice", "short", "--wait", "--timeout=90s")
    label = "edge-intelligence.io/service=short"
    kinds = "deployments,services,placements,modelprofiles,pods"

    def left() -> list[str]:
        found = json.loads(kubectl("get", kinds, "-A", "-l", label, "-o", "json"))["items"]
        return [f"{item['kind']}/{item['metadata']['name']}" for item in found]

    trial.wait("everything of it to be gone", lambda: not left())

    def used() -> set[str]:
        published = json.loads(kubectl("get", "placements", "-A", "-o", "json"))["items"]
        routes = [route for body in published for route in body["spec"]["routes"]]
        stages = [stage for route in routes for stage in route["stages"]]
        return {stage["model"] for stage in stages if stage["runtime"] == "Triton"}

    assert used()
    # What other tests left is unloaded after a grace period.
    trial.wait("Triton to have the tails in use alone", lambda: set(trial.triton_models()) == used())
