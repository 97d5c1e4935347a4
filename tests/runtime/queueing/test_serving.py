"""A server with many concurrent clients: correct results, batches where allowed, and metrics."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stackable
from edge_planning.routing.deadlines import head_due, usable
from edge_runtime.cli import main
from edge_runtime.inference.cpus import threads
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Session
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from edge_runtime.standalone import StandaloneModel
from edge_runtime.standalone_server import serve_standalone
from edge_runtime.tensors import Array
from messages import mentions

CALLERS = 12


def infer(port: int, rows: Array) -> Array:
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/models/m/infer", json.dumps({"inputs": [tensor]}).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        output = json.loads(response.read())["outputs"][0]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def sizes(port: int) -> tuple[int, int]:
    """Number of requests on the thread, and number of runs."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = [re.search(rf'edge_batch_size_{what}{{service="m"}} (\S+)', text) for what in ("sum", "count")]
    assert 'edge_queue_duration_seconds_count{service="m"}' in text
    requests, runs = (int(float(match[1])) if match else 0 for match in found)
    return requests, runs


@pytest.mark.parametrize("max_batch", [8, 1])
async def test_clients_at_once_get_what_each_would_get_alone(tmp_path: Path, max_batch: int) -> None:
    model = stackable.deep()
    (tmp_path / "m.onnx").write_bytes(model)
    alone = Session(model)
    rng = np.random.default_rng(4)
    rows = [rng.normal(size=(1 + (i == 3), 1024)).astype(np.float32) for i in range(CALLERS)]
    expected = [alone.run({"x": row})[0] for row in rows]
    stop, said = asyncio.Event(), asyncio.get_running_loop().create_future()
    options: dict[str, Any] = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "threads": 1}
    serving = asyncio.create_task(
        serve_standalone(
            tmp_path / "m.onnx", stop, name="m", max_batch=max_batch, say=said.set_result, **options
        )
    )
    port = int((await said).split("HTTP on 127.0.0.1:")[1].split(",")[0])

    async def caller(number: int) -> None:
        for _ in range(4):
            found = await asyncio.to_thread(infer, port, rows[number])
            np.testing.assert_allclose(found, expected[number], rtol=1e-5, atol=1e-5)

    async with asyncio.timeout(60):
        while True:
            await asyncio.gather(*map(caller, range(CALLERS)))
            requests, runs = await asyncio.to_thread(sizes, port)
            if max_batch == 1 or requests > runs:
                break
    assert (requests == runs) is (max_batch == 1)
    stop.set()
    await serving


async def test_what_a_request_allows_is_the_deadline_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []

    async def run(
        self: Runner,
        session: Session,
        feeds: Mapping[str, Array],
        names: Sequence[str],
        *more: Any,
        **_: Any,
    ) -> list[Array]:
        given.append(more[0])
        return session.run(feeds, names)

    monkeypatch.setattr(Runner, "run", run)
    model = StandaloneModel(Session(stackable.dense()), Metrics("m"), clock=lambda: 50.0)
    feeds = {"x": np.zeros((1, stackable.WIDTH), np.float32)}
    await model.infer(InferenceRequest(feeds, ["y"], 0.1))
    await model.infer(InferenceRequest(feeds, ["y"]))
    model.close()
    assert given == [pytest.approx(50.092), None]


def test_a_head_is_due_so_that_what_lies_behind_it_fits() -> None:
    assert usable(1.0) == pytest.approx(0.92)
    assert usable(0.004) == pytest.approx(0.003)
    assert head_due(0.1, 0.03) == pytest.approx(0.062)
    assert head_due(0.1, 0.2) == pytest.approx(0.046)  # cannot fit: half
    assert head_due(0.1, -1.0) == pytest.approx(0.092)


def _tasks() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize(("granted", "more"), [(0.1, 0), (0.9, 0), (1.9, 0), (2.0, 1), (3.5, 2)])
def test_a_session_starts_as_many_threads_as_the_quota_keeps_busy(granted: float, more: int) -> None:
    """The client's own is one of them."""
    model, before = stackable.dense(), _tasks()
    session = Session(model, threads=threads(granted))
    assert _tasks() - before == more
    assert not session.proven.alone


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--max-batch", "0"], ('argument --max-batch: "0"', 1)),
        (["--max-batch", "many"], ('argument --max-batch: "many"', "number")),
        (["--threads", "-2"], ('argument --threads: "-2"', 1)),
        (["--stuck-after", "30"], ("argument --stuck-after: 30", "unit")),
        (["--grace", "2h"], ('argument --grace: "2h"', "3600 s")),
        (["--grace", "0s"], ('argument --grace: "0s"', "3600 s")),
    ],
)
@pytest.mark.parametrize("command", ["run", "serve"])
def test_numbers_that_make_no_sense_are_refused_by_name(
    command: str, arguments: list[str], parts: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    needed = {
        "run": ["--service=s", "--namespace=n", "--node=n", "--store=http://s", "--cache-dir=/tmp"],
        "serve": ["model.onnx"],
    }
    with pytest.raises(SystemExit) as caught:
        main([command, *needed[command], *arguments])
    assert caught.value.code == 2
    assert mentions(*parts).search(capsys.readouterr().err)


def test_the_environment_is_refused_as_the_flag_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_MAX_BATCH", "no")
    with pytest.raises(SystemExit):
        main(["serve", "model.onnx"])
    assert 'argument --max-batch: "no" ' in capsys.readouterr().err
