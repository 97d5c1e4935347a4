"""A runtime can report on the Placements of its own node, and change nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from trials import Trial

# Not by kubectl, which reads the status before it patches it: runtimes cannot read it alone.
PATCH = """
import ssl, sys, urllib.error, urllib.request
url, authority, body, token = *sys.argv[1:], sys.stdin.read()
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
request = urllib.request.Request(url, body.encode(), headers, method="PATCH")
context = ssl.create_default_context(cafile=authority)
try:
    response = urllib.request.urlopen(request, context=context, timeout=30)
except urllib.error.HTTPError as error:
    response = error
print(response.status, response.read().decode())
"""
Write = Callable[..., tuple[int, str]]


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
def write(trial: Trial) -> Write:
    """Patches the Placement of a node with a token like that of edge-a's runtime; returns the response."""
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={runtime_pod(trial, 'edge-a')}")
    token = trial.cluster.kubectl("create", "token", "edge-runtime", "-n", "default", *bound).strip()
    config = json.loads(trial.cluster.kubectl("config", "view", "--raw", "-o", "json"))
    server = config["clusters"][0]["cluster"]
    prefix = trial.bed.in_node("cloud")

    def patch(node: str, change: dict[str, Any], subresource: str = "/status") -> tuple[int, str]:
        name = trial.placements()[node]["metadata"]["name"]
        url = f"{server['server']}/apis/edge-intelligence.io/v1alpha1/namespaces/default/placements/{name}"
        argv = [
            *prefix,
            sys.executable,
            "-c",
            PATCH,
            url + subresource,
            server["certificate-authority"],
            json.dumps(change),
        ]
        done = subprocess.run(argv, input=token, capture_output=True, text=True, timeout=60, check=True)
        code, _, text = done.stdout.partition(" ")
        return int(code), text

    return patch


def test_a_runtime_reports_on_its_own_node(write: Write) -> None:
    code, text = write("edge-a", {"status": {"message": ""}})
    assert code == 200, text


def test_a_report_on_another_node_is_refused(trial: Trial, write: Write) -> None:
    code, text = write("edge-b", {"status": {"message": "forged"}})
    assert code == 403, text
    said = json.loads(text)["message"]
    assert all(words in said for words in ("spec.node", '"edge-b"', '"edge-a"', "own node")), said
    assert trial.placements()["edge-b"]["status"].get("message") != "forged"


def test_a_runtime_cannot_change_the_spec_even_at_its_node(write: Write) -> None:
    code, text = write("edge-a", {"spec": {"node": "edge-b"}}, "")
    assert code == 403, text


def test_runtimes_keep_reporting(trial: Trial) -> None:
    before = {node: found["status"]["lastUpdated"] for node, found in trial.placements().items()}
    with trial.load("edge-a", rate=2), trial.load("edge-b", rate=2):
        trial.wait(
            "a report of the runtimes that serve",
            lambda: all(
                trial.placements()[node]["status"]["lastUpdated"] != before[node]
                for node in ("edge-a", "edge-b")
            ),
        )
