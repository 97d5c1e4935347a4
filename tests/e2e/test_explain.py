"""`ei explain`, `plan` and `what-if` on the cluster, and `explain` with the rights of one namespace."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import document, ei, kubeconfig
from edge_api import reasons
from edge_api.quantities import parse_duration, parse_quantity
from edge_operator.pool.demands import UNMEASURED_UPLINK
from trials import Trial, another_service

NAME = "strict"
PERSON = "developer"


def explain(trial: Trial, name: str) -> Any:
    """The explanation of a service of the namespace default."""
    return document(trial, "explain", name, "-n", "default")


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
        used = {use["resource"] for use in entry["uses"]}
        assert {"Cpu", "Memory"} <= used
        bandwidth = parse_quantity(entry["bandwidth"]) if entry.get("measured") else UNMEASURED_UPLINK
        now = next((each for each in routes if parse_quantity(each["minBandwidth"]) <= bandwidth), routes[-1])
        remote = any(stage["runtime"] == "Triton" for stage in now["stages"])
        assert ("Triton" in used) == ("Uplink" in used) == remote, "uses are those of the published table"
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
    done = ei(trial, "explain", "digit", "-n", "default")
    assert done.returncode == 1
    assert "InferenceService default/digit" in done.stderr
    assert "digits" in done.stderr


def test_what_if_and_plan_agree_with_what_the_operator_then_publishes(trial: Trial, tmp_path: Path) -> None:
    latency = "20ms"
    supposed = document(trial, "what-if", "digits", "-n", "default", "--latency", latency)
    slo = trial.get("inferenceservice", "digits")["spec"]["slo"]
    manifest = another_service("digits")
    manifest["spec"] |= {"slo": {**slo, "latency": latency}}
    file = tmp_path / "digits.yaml"
    file.write_text(yaml.safe_dump(manifest))
    planned = document(trial, "plan", "-f", str(file), "-n", "default")
    assert [each["change"] for each in planned["objects"]] == ["Update"]
    said = {entry["node"]: entry["after"].get("routes", []) for entry in supposed["entries"]}
    told = {entry["node"]: (entry.get("after") or {}).get("names", []) for entry in planned["entries"]}
    assert {node: told[node] for node in told if node in said} == {n: r for n, r in said.items() if n in told}
    trial.patch({"slo": {"latency": latency}})
    try:
        trial.wait(
            "the tables of the other SLO",
            lambda: all(
                body["spec"]["slo"]["latency"] == latency
                and [route["name"] for route in body["spec"]["routes"]] == said[node]
                for node, body in trial.placements().items()
                if said[node]
            ),
        )
    finally:
        trial.patch({"slo": {"latency": slo["latency"]}})
        trial.wait("the example as before", trial.serves_everywhere, 300)


@pytest.fixture
def tenant(trial: Trial, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a person with the role edit of the namespace, and the chart's role for pools."""
    kubectl, account = trial.cluster.kubectl, f"default:{PERSON}"
    kubectl("create", "serviceaccount", PERSON, "-n", "default")
    try:
        bind = ("create", "rolebinding", PERSON, "-n", "default")
        kubectl(*bind, "--clusterrole=edit", f"--serviceaccount={account}")
        pools = ("--clusterrole=edge-intelligence-edge-pools", f"--serviceaccount={account}")
        kubectl("create", "clusterrolebinding", PERSON, *pools)
        token = kubectl("create", "token", PERSON, "-n", "default").strip()
        yield kubeconfig(trial, tmp_path, token)
    finally:
        kubectl("delete", "clusterrolebinding", PERSON, "--ignore-not-found")
        kubectl("delete", "rolebinding", PERSON, "-n", "default", "--ignore-not-found")
        kubectl("delete", "serviceaccount", PERSON, "-n", "default")


def test_a_person_with_the_role_edit_writes_services_and_explains_them(trial: Trial, tenant: Path) -> None:
    kubectl = trial.cluster.kubectl
    trial.wait(
        "the aggregated role",
        lambda: "inferenceservices" in kubectl("get", "clusterrole", "edit", "-o", "json"),
    )
    may = ("auth", "can-i", "create", "inferenceservices", "-n", "default")
    assert kubectl(*may, f"--as=system:serviceaccount:default:{PERSON}").strip() == "yes"
    found = document(trial, "explain", "digits", "-n", "default", config=tenant)
    assert {entry["node"] for entry in found["entries"]} == set(trial.placements())
    assert any("edge-intelligence-edge-view" in note for note in found["notes"]), found["notes"]
