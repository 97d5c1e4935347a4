"""`edge-operator explain` on the cluster: in the operator's pod, and with the rights of one namespace."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_api import reasons
from edge_api.quantities import parse_duration
from testbed.errors import KubectlFailed
from trials import Trial, another_service

NAME = "strict"
PERSON = "developer"


def explain(trial: Trial, name: str) -> dict[str, Any]:
    """Runs the command in the operator's pod; raises KubectlFailed with what it wrote to stderr."""
    command = ("edge-operator", "explain", name, "-n", "default", "-o", "json")
    found: dict[str, Any] = json.loads(
        trial.cluster.kubectl("exec", "deploy/edge-operator", "-n", "edge-intelligence", "--", *command)
    )
    return found


def service(**slo: Any) -> dict[str, Any]:
    manifest = another_service(NAME)
    manifest["spec"]["slo"] = slo
    return manifest


def test_it_shows_the_routes_that_are_published(trial: Trial) -> None:
    published = trial.placements()
    found = explain(trial, "digits")
    assert all(parse_duration(entry["requestTime"]) > 0 for entry in found["entries"])
    assert {entry["node"] for entry in found["entries"]} == set(published)
    for entry in found["entries"]:
        routes = published[entry["node"]]["spec"]["routes"]
        assert [route["name"] for route in entry["routes"]] == [route["name"] for route in routes]
        assert entry["table"] in ("Published", "Standing")
        assert {"Cpu", "Memory"} <= {use["resource"] for use in entry["uses"]}
        assert entry["rejected"]
        assert all(each["reason"] for each in entry["rejected"])


def test_an_infeasible_slo_is_explained_as_the_condition_says_and_the_nearest_is_feasible(
    trial: Trial,
) -> None:
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(service(latency="1us", minAccuracy=0.9)))
    try:
        trial.wait(
            reasons.INFEASIBLE,
            lambda: trial.condition(NAME, reasons.PLANNED).get("reason") == reasons.INFEASIBLE,
        )
        condition = trial.condition(NAME, reasons.PLANNED)
        assert condition["message"].startswith('spec.slo.latency: "1µs"')
        found = explain(trial, NAME)
        assert [c["reason"] for c in found["conditions"] if c["type"] == reasons.PLANNED] == [
            reasons.INFEASIBLE
        ]
        nearest = max((entry["nearestFeasibleLatency"] for entry in found["entries"]), key=parse_duration)
        assert parse_duration(nearest) > 1e-6
        assert condition["message"].endswith(f" {nearest}")
        feasible = service(latency=nearest, minAccuracy=0.9)
        trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(feasible))
        trial.wait("the plan", lambda: trial.condition(NAME, reasons.PLANNED).get("status") == "True")
    finally:
        trial.cluster.kubectl("delete", "inferenceservice", NAME, "--wait", "--timeout=60s")


def test_a_service_that_does_not_exist_is_answered_with_those_that_do(trial: Trial) -> None:
    with pytest.raises(KubectlFailed) as failed:
        explain(trial, "digit")
    assert "InferenceService default/digit" in str(failed.value)
    assert "digits" in str(failed.value)


@pytest.fixture
def tenant(trial: Trial, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a person with the role edit of the namespace, and the chart's role for pools."""
    kubectl, account = trial.cluster.kubectl, f"default:{PERSON}"
    kubectl("create", "serviceaccount", PERSON, "-n", "default")
    try:
        bind = ("create", "rolebinding", PERSON, "-n", "default")
        kubectl(*bind, "--clusterrole=edit", f"--serviceaccount={account}")
        pools = ("--clusterrole=edge-intelligence-edge-pools", f"--serviceaccount={account}")
        kubectl("create", "clusterrolebinding", PERSON, *pools)
        config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
        token = kubectl("create", "token", PERSON, "-n", "default").strip()
        for user in config["users"]:
            user["user"] = {"token": token}
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        yield {**os.environ, "KUBECONFIG": str(path)}
    finally:
        kubectl("delete", "clusterrolebinding", PERSON, "--ignore-not-found")
        kubectl("delete", "rolebinding", PERSON, "-n", "default", "--ignore-not-found")
        kubectl("delete", "serviceaccount", PERSON, "-n", "default")


def test_a_person_with_the_role_edit_writes_services_and_explains_them(
    trial: Trial, tenant: dict[str, str]
) -> None:
    kubectl = trial.cluster.kubectl
    trial.wait(
        "the aggregated role",
        lambda: "inferenceservices" in kubectl("get", "clusterrole", "edit", "-o", "json"),
    )
    may = ("auth", "can-i", "create", "inferenceservices", "-n", "default")
    assert kubectl(*may, f"--as=system:serviceaccount:default:{PERSON}").strip() == "yes"
    command = [sys.executable, "-m", "edge_operator.cli", "explain", "digits", "-o", "json"]
    argv = [*trial.bed.in_node("cloud"), *command]
    done = subprocess.run(argv, env=tenant, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {entry["node"] for entry in found["entries"]} == set(trial.placements())
    assert any("edge-intelligence-edge-view" in note for note in found["notes"]), found["notes"]
