"""`ei` on the cluster: requests and uploads through the API server, and faults that are planted for real."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experience.faults import (
    FOREIGN,
    IN_OBJECTS,
    PLACE,
    PLANTED,
    SLOW_NODE,
    Cluster,
    Findings,
    found,
    planted,
    planted_objects,
)
from command_line import document, ei
from demo.errors import NotInTime
from trials import GATEWAY, PATIENCE, Trial


def test_a_model_is_uploaded_and_listed_through_the_api_server(trial: Trial, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"x" * 3_000_000)
    stored = document(trial, "put", str(file), "--name", "uploads/weights.bin", "-n", "default")
    assert stored["storageUri"] == "store://uploads/weights.bin"
    assert stored["digest"].startswith("sha256:")
    listed = {each["storageUri"]: each["size"] for each in document(trial, "ls", "-n", "default")}
    assert listed[stored["storageUri"]] == 3_000_000


def test_requests_reach_a_service_through_the_api_server(trial: Trial, tmp_path: Path) -> None:
    reply = trial.ask(GATEWAY)
    form = trial.get("placement", f"digits.{GATEWAY}")["spec"]["model"]["inputs"][0]
    shape = [max(int(size), 1) for size in form["shape"]]
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    found = document(
        trial, "infer", "digits", "-n", "default", "--npy", str(tmp_path / "x.npy"), "--at", GATEWAY
    )
    assert list(found["outputs"]) == [reply.output]
    assert found["parameters"]["route"] in {
        route["name"] for route in trial.placements()[GATEWAY]["spec"]["routes"]
    }
    figures = document(
        trial, "bench", "digits", "-n", "default", "--requests", "10", "-c", "2", "--at", GATEWAY
    )
    assert (figures["requests"], figures["failed"]) == (10, 0)
    assert figures["latencyMs"]["p50"] > 0


def test_status_routes_and_wait_show_what_the_operator_reports(trial: Trial) -> None:
    (one,) = [each for each in document(trial, "status", "-A") if each["service"] == "digits"]
    assert one["ready"] == "True"
    tables = {each["node"]: each["routes"] for each in document(trial, "routes", "digits", "-n", "default")}
    assert {node: [route["name"] for route in table] for node, table in tables.items()} == {
        node: [route["name"] for route in body["spec"]["routes"]] for node, body in trial.placements().items()
    }
    assert ei(trial, "wait", "digits", "-n", "default", "--timeout", "60s").returncode == 0
    assert ei(trial, "wait", "digit", "-n", "default", "--timeout", "1ms").returncode == 5


def test_the_doctor_finds_no_error_in_the_cluster_and_reaches_triton(trial: Trial) -> None:
    report = document(trial, "doctor")
    assert report["healthy"]
    results = {each["code"]: each["result"] for each in report["checks"]}
    for code in (
        "EI0101",
        "EI0201",
        "EI0202",
        "EI0203",
        "EI0204",
        "EI0301",
        "EI0302",
        "EI0303",
        "EI0304",
        "EI0305",
    ):
        assert results[code] == "passed", (code, report)


NAMED = {
    "EI0103": f"node {PLACE}",
    "EI0202": "spec.priorityCeiling",
    "EI0204": "pods/resize",
    "EI0205": "planted-store",
    "EI0301": PLACE,
    "EI0304": FOREIGN,
    "EI0305": "open",
    "EI0402": SLOW_NODE,
    "EI0501": "localhost/none:1",
    "EI0502": "small",
}
"""What a message of a fault has to name."""


def check_found(trial: Trial, look: Callable[[], Findings], codes: Collection[str]) -> None:
    """Waits until the doctor finds all of these; compares its messages."""
    seen: Findings = {}

    def all_found() -> bool:
        seen.clear()
        seen.update(look())
        return seen.keys() >= set(codes)

    try:
        trial.wait("every planted fault", all_found, PATIENCE)
    except NotInTime as error:
        missing = {code: PLANTED[code] for code in codes if code not in seen}
        raise AssertionError(f"not found: {missing}; found: {seen}") from error
    for code in NAMED.keys() & set(codes):
        assert any(NAMED[code] in message for message in seen[code]), (code, seen[code])


def test_the_doctor_finds_each_fault_of_objects(trial: Trial) -> None:
    with planted_objects(Cluster(trial.bed, trial.cluster.kubectl)):
        check_found(trial, lambda: found(trial.bed), IN_OBJECTS)


@pytest.mark.extended
@pytest.mark.timeout(600)
def test_the_doctor_finds_each_planted_fault_while_the_example_serves(trial: Trial) -> None:
    with planted(Cluster(trial.bed, trial.cluster.kubectl)) as look:
        check_found(trial, look, PLANTED)
        assert trial.ask(GATEWAY).ready
