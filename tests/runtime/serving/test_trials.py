"""A Placement whose slice crashes or hangs is rejected; the old table keeps serving, also after a restart."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_runtime.errors import TrialCrashed
from edge_runtime.trials import admission
from edge_runtime.trials.child_process import Child
from misbehaving import crashing, endless, harmless

Stack = Any
Document = dict[str, Any]
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The trial processes that were started."""
    found: list[Child] = []

    def start(*arguments: Any) -> Child:
        found.append(Child(*arguments))
        return found[-1]

    monkeypatch.setattr(admission, "Child", start)
    return found


def _placement(stack: Stack, generation: int, *models: bytes, columns: int = 6) -> Document:
    """A placement whose routes run these models here as a whole, the last one with any bandwidth."""
    routes = []
    with httpx.Client(base_url=stack.store, timeout=20) as store:
        for number, data in enumerate(models):
            store.put(f"/v1/files/m{generation}.{number}.onnx", content=data).raise_for_status()
            asked: Document = {"storageUri": f"store://m{generation}.{number}.onnx"}
            asked["exits"] = [{"name": "full", "output": "y", "accuracy": 0.9}]
            metadata = store.post("/v1/models", json=asked).raise_for_status().json()
            cut = {"model": metadata["digest"], "inputs": ["x"], "outputs": ["y"]}
            slice_ = store.post("/v1/slices", json=cut).raise_for_status().json()
            stack.metadata = metadata
            route = stack.local.__func__(_Cut(metadata, slice_), "full")
            routes.append(route | {"name": f"m{number}@local", "minBandwidth": str(len(models) - 1 - number)})
    placement: Document = stack.placement(*routes)
    placement["metadata"]["generation"] = generation
    del placement["spec"]["link"]
    return placement


class _Cut:
    def __init__(self, metadata: Document, slice_: Document) -> None:
        self.metadata, self._slice = metadata, slice_

    def slice(self, start: str, end: str) -> Document:
        return self._slice


def _digests(placement: Document) -> list[str]:
    return [route["stages"][0]["slice"]["digest"] for route in placement["spec"]["routes"]]


def _answers(stack: Stack) -> bool:
    given = {"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [0.5] * 8}
    url = f"http://127.0.0.1:{stack.http}/v2/models/digits/infer"
    return httpx.post(url, json={"inputs": [given]}, timeout=20).status_code == 200


def _refused(stack: Stack, caplog: pytest.LogCaptureFixture, generation: int) -> str:
    """The status of the generation that is not loaded."""

    def said() -> list[str]:
        return [
            record.getMessage()
            for record in list(caplog.records)
            if record.getMessage().startswith(f"digits: generation {generation} is not loaded")
        ]

    stack.wait(lambda: bool(said()), within=60)
    return said()[0]


def test_a_slice_that_crashes_is_named_and_the_table_before_serves_also_after_a_restart(
    stack: Stack, caplog: pytest.LogCaptureFixture, started: list[Child]
) -> None:
    caplog.set_level(logging.INFO)
    stack.start(_placement(stack, 1, harmless()))
    bad = _placement(stack, 2, crashing(), harmless(1))
    stack.place(bad)
    said = _refused(stack, caplog, 2)
    assert TrialCrashed.__name__ in said
    assert f"route m0@local: slice {_digests(bad)[0]}" in said
    assert _digests(bad)[1] not in said
    assert _answers(stack)
    stack.stop_edge()
    tried = len(started)

    caplog.clear()
    stack.start_edge(bad, NOWHERE)
    assert _answers(stack)
    assert _refused(stack, caplog, 1 + 1) == said
    assert _answers(stack)
    assert len(started) == tried, "what is known is tried again"


def test_all_slices_of_a_table_are_tried_and_all_that_fail_are_named(
    stack: Stack, caplog: pytest.LogCaptureFixture, started: list[Child]
) -> None:
    caplog.set_level(logging.INFO)
    stack.start(_placement(stack, 1, harmless()))
    bad = _placement(stack, 2, crashing(1), harmless(1), crashing(2), harmless(2))
    stack.place(bad)
    said = _refused(stack, caplog, 2)
    first, good, second, other = _digests(bad)
    assert first in said
    assert second in said
    passed = [r.getMessage() for r in caplog.records if "passed its trial" in r.getMessage()]
    assert any(good in message for message in passed)
    assert any(other in message for message in passed)
    tried = len(started)
    stack.place(_placement(stack, 3, harmless(1), harmless(2)))
    stack.wait(lambda: any("generation 3 is loaded" in r.getMessage() for r in caplog.records), within=60)
    assert len(started) == tried, "slices that passed in a table that did not are tried again"


def test_a_table_of_tried_slices_starts_no_process_after_a_restart_without_a_store(
    stack: Stack, started: list[Child]
) -> None:
    placement = _placement(stack, 1, harmless(1), harmless(2))
    stack.start(placement)
    assert len(started) == 1
    stack.stop_edge()
    stack.start_edge(placement, NOWHERE)
    assert _answers(stack)
    assert len(started) == 1


def test_a_trial_that_hangs_gives_way_to_a_newer_placement(
    stack: Stack, caplog: pytest.LogCaptureFixture, started: list[Child]
) -> None:
    caplog.set_level(logging.INFO)
    stack.start(_placement(stack, 1, harmless()))
    stack.place(_placement(stack, 2, endless()))
    stack.wait(lambda: len(started) == 2, within=30)
    assert _answers(stack)
    stack.place(_placement(stack, 3, harmless(3)))  # long before the trial's limit of 60 s
    stack.wait(lambda: any("generation 3 is loaded" in r.getMessage() for r in caplog.records), within=30)
    assert _answers(stack)


def test_the_process_outlives_a_placement_that_kills_what_loads_it(stack: Stack, tmp_path: Path) -> None:
    """The command, killed and restarted with a bad placement, serves from its disk."""
    file, log = tmp_path / "p.json", tmp_path / "log"
    argv = [sys.executable, "-m", "edge_runtime.cli", "run", "--service", "digits", "--namespace", "default"]
    argv += ["--node", "edge-a", "--store", stack.store, "--cache-dir", str(tmp_path / "cache")]
    argv += ["--placement-file", str(file), "--host", "127.0.0.1"]
    argv += ["--http-port", str(stack.http), "--grpc-port", str(stack.grpc)]
    file.write_text(json.dumps(_placement(stack, 1, harmless())))
    for placement in (None, _placement(stack, 2, crashing())):
        with log.open("a") as output, subprocess.Popen(argv, stderr=output) as process:
            try:
                _until(lambda: stack.is_ready(), log)
                if placement is not None:
                    file.write_text(json.dumps(placement))
                    _until(lambda: "generation 2 is not loaded: TrialCrashed" in log.read_text(), log)
                    assert _answers(stack)
            finally:
                process.kill()
    log.write_text("")
    with log.open("a") as output, subprocess.Popen(argv, stderr=output) as process:
        try:
            _until(lambda: "generation 2 is not loaded: TrialCrashed" in log.read_text(), log)
            assert process.poll() is None
            assert stack.is_ready()
            assert _answers(stack)
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _until(condition: Any, log: Path) -> None:
    pause = threading.Event()
    for _ in range(2400):
        if condition():
            return
        pause.wait(0.025)
    raise AssertionError(log.read_text())
