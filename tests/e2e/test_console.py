"""On the cluster, the console shows a service to accounts that can list it, and none of another namespace."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from trials import Trial, another_service

VIEWER, OTHER = "console-viewer", "console-other"
PROGRAM = Path(__file__).parents[1] / "support" / "ask_console.py"


@dataclass(frozen=True)
class Console:
    """The console, as a client at a node reaches it."""

    trial: Trial
    url: str
    token: str

    def argv(self, path: str, *more: str) -> list[str]:
        return [*self.trial.bed.in_node("cloud"), sys.executable, str(PROGRAM), self.url + path, *more]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TOKEN": self.token}

    def ask(self, path: str, *more: str) -> tuple[int, Any]:
        """Returns the status and the JSON of a response, or the first events of a stream."""
        done = subprocess.run(
            self.argv(path, *more),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return found["status"], found["json"]


@pytest.fixture
def console(trial: Trial) -> Iterator[Console]:
    """The console for an account that may view the example's namespace; another one has a service, too."""
    kubectl, account = trial.cluster.kubectl, f"default:{VIEWER}"
    kubectl("rollout", "status", "deploy/edge-console", "-n", "edge-intelligence", "--timeout=120s")
    kubectl("create", "serviceaccount", VIEWER, "-n", "default")
    kubectl("create", "namespace", OTHER)
    try:
        bind = ("create", "rolebinding", VIEWER, "-n", "default", "--clusterrole=view")
        kubectl(*bind, f"--serviceaccount={account}")
        hidden = another_service(OTHER)
        hidden["metadata"]["namespace"] = OTHER
        kubectl("apply", "-f", "-", text=yaml.safe_dump(hidden))
        token = kubectl("create", "token", VIEWER, "-n", "default").strip()
        where = ("get", "service", "edge-console", "-n", "edge-intelligence", "-o")
        address = kubectl(*where, "jsonpath={.spec.clusterIP}")
        found = Console(trial, f"http://{address}:8080", token)
        seen = ["default"]
        trial.wait("the viewer's rights", lambda: found.ask("/api/viewer")[1].get("namespaces") == seen)
        yield found
    finally:
        kubectl("delete", "inferenceservice", OTHER, "-n", OTHER, "--ignore-not-found", "--timeout=60s")
        kubectl("delete", "namespace", OTHER, "--ignore-not-found", "--wait", "--timeout=120s")
        kubectl("delete", "rolebinding", VIEWER, "-n", "default", "--ignore-not-found")
        kubectl("delete", "serviceaccount", VIEWER, "-n", "default", "--ignore-not-found")


def routes(entry: dict[str, Any]) -> list[str]:
    return [route["name"] for route in entry["routes"]]


def test_a_viewer_sees_the_service_of_its_namespace_with_its_routes_and_no_other(
    trial: Trial, console: Console
) -> None:
    _, found = console.ask("/api/stream?service=default/digits", "--events", "services", "service")
    rows = found["services"]["rows"]
    assert {row["namespace"] for row in rows} == {"default"}
    assert "default/digits" in {row["key"] for row in rows}
    published = {node: routes(body["spec"]) for node, body in trial.placements().items()}
    assert {entry["node"]: routes(entry) for entry in found["service"]["value"]["nodes"]} == published
    _, hidden = console.ask(f"/api/stream?service={OTHER}/{OTHER}", "--events", "service")
    assert hidden["service"] == {"value": None}
    assert console.ask(f"/api/services/{OTHER}/{OTHER}/explanation")[0] == 404


def test_its_explanation_has_the_published_routes(trial: Trial, console: Console) -> None:
    status, found = console.ask("/api/services/default/digits/explanation")
    assert status == 200
    published = {node: routes(body["spec"]) for node, body in trial.placements().items()}
    assert {entry["node"]: routes(entry) for entry in found["entries"]} == published


def test_a_change_of_the_service_reaches_an_open_page(trial: Trial, console: Console) -> None:
    argv = console.argv("/api/stream?service=default/digits", "--text", '"priority":7')
    with subprocess.Popen(
        argv, env=console.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as page:
        assert page.stderr is not None
        assert page.stderr.readline() == "begun\n"
        patch = json.dumps({"spec": {"priority": 7}})
        trial.cluster.kubectl("patch", "inferenceservice", "digits", "--type=merge", "-p", patch)
        page.communicate(timeout=90)
        assert page.returncode == 0


def test_without_a_valid_token_nothing_is_shown(console: Console) -> None:
    wrong = Console(console.trial, console.url, "wrong")
    assert wrong.ask("/api/viewer")[0] == 401
    assert wrong.ask("/api/services/default/digits/explanation")[0] == 401
