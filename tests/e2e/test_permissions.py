"""A runtime can report on the Placements of its own node, and change nothing else."""

import json

import pytest

from runtime_tokens import Write, write_as
from trials import Trial


@pytest.fixture
def write(trial: Trial) -> Write:
    """Patches the Placement of a node with a token like that of edge-a's runtime; returns the response."""
    return write_as(trial, "edge-a", "edge-runtime")


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
