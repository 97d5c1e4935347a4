"""A runtime can report on the Placements of its own node, and change nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.errors import KubectlFailed
from trials import Trial


def runtime_pod(trial: Trial, node: str) -> str:
    """A pod at the node that serves with the namespace's ServiceAccount."""
    selected = ("-n", "default", f"--field-selector=spec.nodeName={node}", "-o", "json")
    pods: list[dict[str, Any]] = json.loads(trial.cluster.kubectl("get", "pods", *selected))["items"]
    return next(
        str(pod["metadata"]["name"])
        for pod in pods
        if pod["spec"]["serviceAccountName"] == "edge-runtime" and "deletionTimestamp" not in pod["metadata"]
    )


@pytest.fixture
def as_runtime(trial: Trial, tmp_path: Path) -> list[str]:
    """Flags of kubectl for requests with a token like that of the runtime at edge-a, and no certificate."""
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={runtime_pod(trial, 'edge-a')}")
    token = trial.cluster.kubectl("create", "token", "edge-runtime", "-n", "default", *bound).strip()
    config = json.loads(trial.cluster.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return [f"--kubeconfig={path}", "-n", "default"]


def write(trial: Trial, flags: list[str], node: str, change: dict[str, Any], *more: str) -> str:
    """Patches the Placement of a node as the runtime."""
    name = trial.placements()[node]["metadata"]["name"]
    patch = ("patch", "placement", name, "--type=merge", "-p", json.dumps(change))
    return trial.cluster.kubectl(*flags, *patch, *more)


def test_a_runtime_reports_on_its_own_node(trial: Trial, as_runtime: list[str]) -> None:
    write(trial, as_runtime, "edge-a", {"status": {"message": ""}}, "--subresource=status")


def test_a_report_on_another_node_is_refused(trial: Trial, as_runtime: list[str]) -> None:
    with pytest.raises(KubectlFailed) as refusal:
        write(trial, as_runtime, "edge-b", {"status": {"message": "forged"}}, "--subresource=status")
    said = str(refusal.value)
    assert all(words in said for words in ("spec.node", '"edge-b"', '"edge-a"', "own node")), said
    assert trial.placements()["edge-b"]["status"].get("message") != "forged"


def test_a_runtime_cannot_change_the_spec_even_at_its_node(trial: Trial, as_runtime: list[str]) -> None:
    with pytest.raises(KubectlFailed, match="forbidden"):
        write(trial, as_runtime, "edge-a", {"spec": {"node": "edge-b"}})


def test_runtimes_keep_reporting(trial: Trial) -> None:
    before = {node: found["status"]["lastUpdated"] for node, found in trial.placements().items()}
    with trial.load("edge-a", rate=2), trial.load("edge-b", rate=2):
        trial.wait(
            "a report of every runtime",
            lambda: all(
                found["status"]["lastUpdated"] != before[node] for node, found in trial.placements().items()
            ),
        )
