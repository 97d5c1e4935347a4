"""Inferences of a placement: with the granted threads, by deadlines, in batches."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixing
import stackable
from edge_runtime.assignment import parse_placement
from edge_runtime.connections import Resolver
from edge_runtime.dataplane import Dataplane
from edge_runtime.inference import runners
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Session
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.requests import InferenceRequest
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.slicing import digest_of
from edge_runtime.tensors import Array


def _placement(folder: Path, model: bytes, item: tuple[int, ...] = (1024,), output: str = "y") -> Any:
    digest = digest_of(model)
    (folder / digest.removeprefix("sha256:")).write_bytes(model)
    x, y = ({"name": name, "datatype": "FP32", "shape": [-1, *item]} for name in ("x", output))
    local = {"place": "a", "runtime": "Edge", "slice": {"digest": digest, "inputs": [x], "outputs": [y]}}
    route = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 0.9,
        "minBandwidth": "0",
        "predictedLatency": "10ms",
        "stages": [local],
    }
    return parse_placement(
        {
            "metadata": {"name": "m-a"},
            "spec": {
                "service": "m",
                "node": "a",
                "mode": "PartitionOnly",
                "model": {"digest": f"sha256:{0:064}", "inputs": [x], "outputs": [y]},
                "slo": {"latency": "50s"},
                "routes": [route],
            },
        }
    )


def _session_threads() -> set[int]:
    """The threads of this process that Python did not start."""
    tasks = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    return tasks - {thread.native_id for thread in threading.enumerate() if thread.native_id is not None}


async def test_a_route_here_is_run_as_it_was_granted_and_answers_as_if_alone(tmp_path: Path) -> None:
    model, metrics, resolver = stackable.deep(), Metrics("m"), Resolver()
    cache = SliceCache(tmp_path, ModelStore("http://127.0.0.1:1", resolver))
    placement = _placement(tmp_path, model)
    first = Generations(Metrics("m"), NodeResources(SliceLoader(cache, None), resolver))
    assert await first.use(placement), first.message
    generations = Generations(
        metrics, NodeResources(SliceLoader(cache, None, threads=3), resolver, max_batch=4)
    )
    plane = Dataplane(generations, metrics)
    before = _session_threads()
    assert await generations.use(placement), generations.message
    assert len(_session_threads() - before) == 2  # with the caller's, three
    first.close()
    await first.resources.close()
    alone = Session(model)
    rows = [np.random.default_rng(i).normal(size=(1, 1024)).astype(np.float32) for i in range(11)]
    async with asyncio.timeout(60):
        while True:
            answers = await asyncio.gather(
                *(plane.infer(InferenceRequest({"x": row}, ["y"])) for row in rows)
            )
            for row, result in zip(rows, answers, strict=True):
                np.testing.assert_allclose(result.outputs[0], alone.run({"x": row})[0], rtol=1e-5, atol=1e-5)
            text = metrics.exposition().decode()
            buckets = dict(re.findall(r'edge_batch_size_bucket\{le="([\d.]+)",service="m"\} (\S+)', text))
            if buckets["4.0"] != buckets["2.0"]:
                break
    assert buckets["64.0"] == buckets["4.0"]  # no batch exceeds the limit
    generations.close()
    await generations.resources.close()


async def test_an_inference_waits_with_the_deadline_of_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    async def run(
        self: Runner, session: Session, feeds: Any, names: Any, due: Any, said: Any, **_: Any
    ) -> list[Array]:
        given.append(due)
        return session.run(feeds)

    monkeypatch.setattr(Runner, "run", run)
    resolver = Resolver()
    cache = SliceCache(tmp_path, ModelStore("http://127.0.0.1:1", resolver))
    metrics = Metrics("m")
    generations = Generations(
        metrics, NodeResources(SliceLoader(cache, None), resolver, clock=lambda: 1000.0)
    )
    plane = Dataplane(generations, metrics, clock=lambda: 1000.0)
    assert await generations.use(_placement(tmp_path, stackable.deep())), generations.message
    row = np.zeros((1, 1024), np.float32)
    await plane.infer(InferenceRequest({"x": row}, ["y"]))
    await plane.infer(InferenceRequest({"x": row}, ["y"], within=1.0))
    generations.close()
    await generations.resources.close()
    assert given == [pytest.approx(1046.0), pytest.approx(1000.92)]  # less what is kept for the way back


@pytest.mark.parametrize("parts", [["found"], ["less the most over 0"], ["attention in a row"]], ids=str)
async def test_clients_at_a_node_get_their_own_rows_whatever_the_slice_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The batch check accepts everything, so the graph alone decides; also after a restart from the disk."""
    caplog.set_level("INFO")
    monkeypatch.setattr(runners, "same_results", lambda apart, together: True)
    monkeypatch.setattr(runners, "INLINE", 0.0)
    model, resolver, metrics = mixing.network(parts), Resolver(), Metrics("m")
    (output,) = Session(model).outputs
    cache = SliceCache(tmp_path, ModelStore("http://127.0.0.1:1", resolver))
    generations = Generations(metrics, NodeResources(SliceLoader(cache, None), resolver))
    plane = Dataplane(generations, metrics)
    placement = _placement(tmp_path, model, (mixing.HEIGHT, mixing.WIDTH), output.name)
    assert await generations.use(placement, at_hand=True), generations.message
    keeps = parts[0] in mixing.KEEPING
    text = metrics.exposition().decode()
    assert f'edge_sessions{{requests="alone",service="m"}} {0 if keeps else 1}.0' in text
    said = [r.getMessage() for r in caplog.records if "requests are not batched" in r.getMessage()]
    assert len(said) == (0 if keeps else 1)
    alone = Session(model)
    rows = [
        np.random.default_rng(i).normal(size=(1 + i % 2, mixing.HEIGHT, mixing.WIDTH)).astype(np.float32)
        for i in range(8)
    ]
    for _ in range(10):
        answers = await asyncio.gather(
            *(plane.infer(InferenceRequest({"x": row}, [output.name])) for row in rows)
        )
        for row, result in zip(rows, answers, strict=True):
            (expected,) = alone.run({"x": row})
            assert result.outputs[0].shape == expected.shape
            np.testing.assert_allclose(result.outputs[0], expected, rtol=1e-4, atol=1e-5)
    generations.close()
    await generations.resources.close()
