"""Many concurrent clients get the results of their own runs, for networks of any kind.

The batch check accepts everything here, so that the proof from the graph is tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import mixing
from edge_planning.routing.batches import Experience
from edge_planning.routing.latency_stats import LatencyStats
from edge_runtime.inference import runners
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.memoization.backends import MemoizingBackend
from edge_runtime.memoization.settings import CacheOptions, MemoizationSettings
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from edge_runtime.routing.early_exits import run_until_confident
from edge_runtime.routing.response_outputs import ResponseOutputs
from edge_runtime.standalone import StandaloneModel
from edge_runtime.tensors import Array, Tensor
from networks import info, model_of

CALLERS, TURNS = 10, 3


class Counted(Session):
    """A session that records the rows of each run."""

    def __init__(self, model: bytes, given: str = "x") -> None:
        super().__init__(model)
        self.rows: list[int] = []
        self._given = given
        self.seconds = 1.0  # too long for the event loop

    def run(self, feeds: Any, names: Any = None, halt: Halt | None = None) -> list[Array]:
        self.rows.append(len(feeds[self._given]))
        return super().run(feeds, names, halt)


@pytest.fixture(autouse=True)
def credulous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "same_results", lambda apart, together: True)


def answers(
    model: bytes, sizes: Sequence[int], names: Sequence[str] | None = None
) -> tuple[list[list[Array]], list[list[Array]], list[int]]:
    """Results of concurrent clients with so many rows each, their results alone, and the rows of each run."""
    session, alone = Counted(model), Session(model)
    feeds = [
        {"x": np.random.default_rng(i).normal(size=(size, 4, 6)).astype(np.float32)}
        for i, size in enumerate(sizes)
    ]
    expected = [alone.run(each, names) for each in feeds]

    async def ask() -> list[list[Array]]:
        runner = Runner()
        known = runner.known[session] = Experience(1.0, proven=False if session.proven.alone else None)
        for rows in (2, 4, 8):
            known.add(rows, 1.0)  # as if several rows took as long as one
        found: list[list[Array]] = []
        for _ in range(TURNS):
            found = await asyncio.gather(*(runner.run(session, each, names) for each in feeds))
            session.seconds = 1.0
        runner.close()
        return found

    return asyncio.run(ask()), expected, session.rows


def same(found: Sequence[Array], expected: Sequence[Array]) -> bool:
    """Integers bitwise, floats up to the effect of the batch size."""
    return all(
        f.shape == e.shape
        and f.dtype == e.dtype
        and (np.allclose(f, e, 1e-3, 2e-3) if e.dtype.kind == "f" else np.array_equal(f, e))
        for f, e in zip(found, expected, strict=True)
    )


@given(mixing.mixed(), st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=6, max_size=CALLERS))
@settings(max_examples=60, deadline=None)
def test_clients_of_a_network_that_mixes_rows_are_run_one_by_one(
    network: tuple[list[str], bytes], sizes: list[int]
) -> None:
    parts, model = network
    found, expected, rows = answers(model, sizes)
    assert sorted(rows) == sorted(sizes * TURNS)
    assert "noise" in parts or all(map(same, found, expected))


@given(mixing.kept(), st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=6, max_size=CALLERS))
@settings(max_examples=40, deadline=None)
def test_clients_of_a_network_that_keeps_rows_apart_share_runs_and_get_their_own(
    network: tuple[list[str], bytes], sizes: list[int]
) -> None:
    _, model = network
    found, expected, rows = answers(model, sizes)
    assert max(rows) > max(sizes)
    assert len(rows) < TURNS * len(sizes)
    assert all(map(same, found, expected))


@pytest.mark.parametrize("part", mixing.MIXING)
def test_a_part_that_mixes_rows_is_run_alone_with_outputs_of_both_kinds(part: str) -> None:
    """The batch check would accept, and each output's first dimension has the name of the inputs'."""
    sizes = [1, 2, 1, 1, 3, 1]
    found, expected, rows = answers(mixing.network([part], numbered=True), sizes)
    assert sorted(rows) == sorted(sizes * TURNS)
    assert part == "noise" or all(map(same, found, expected))


def test_requests_without_rows_are_run_alone() -> None:
    found, expected, rows = answers(mixing.network(["branches"]), [1, 0, 1, 2, 0, 1])
    assert rows.count(0) == 2 * TURNS
    assert max(rows) > 2
    assert all(map(same, found, expected))


def layer(start: str, end: str, seed: int) -> bytes:
    """[N, 8] to [N, 8] with an activation."""
    weight = numpy_helper.from_array(
        np.random.default_rng(seed).normal(scale=2, size=(8, 8)).astype(np.float32), "w"
    )
    nodes = [
        helper.make_node("MatMul", [start, "w"], ["h"]),
        helper.make_node("Mul", ["h", start], [end]),
    ]
    return model_of(nodes, [info(start, "N", 8)], [info(end, "N", 8)], [weight])


async def test_requests_batched_together_leave_at_the_exits_that_they_would_alone() -> None:
    """The confidence is that of the client's own rows, the minimum of them, whatever shares the batch."""
    sessions = {
        "trunk": Counted(layer("x", "t", 1), "x"),
        "branch": Counted(layer("t", "early", 2), "t"),
        "rest": Counted(layer("t", "late", 3), "t"),
    }
    loaded = {
        name: SimpleNamespace(session=session, stats=LatencyStats(0.0), name=name)
        for name, session in sessions.items()
    }
    loaded["branch"].outputs = ResponseOutputs([Tensor("early", "FP32", (-1, 8))], [0])
    branched: Any = SimpleNamespace(
        points=(SimpleNamespace(trunk=loaded["trunk"], branch=loaded["branch"]),), rest=loaded["rest"]
    )
    rng = np.random.default_rng(3)
    feeds = [{"x": rng.normal(size=(1 + i % 3, 8)).astype(np.float32)} for i in range(12)]

    async def run_alone(runner: Runner, each: dict[str, Array]) -> tuple[Array, str]:
        async def run(part: Any, known: Any) -> list[Array]:
            part.session.seconds = 1.0
            return await runner.run(part.session, {t.name: known[t.name] for t in part.session.inputs})

        (output,), part = await run_until_confident(branched, each, 0.9, run, lambda: 1000.0)
        return output, part.name  # type: ignore[attr-defined]

    one_by_one = Runner(largest=1)
    expected = [await run_alone(one_by_one, each) for each in feeds]
    assert {name for _, name in expected} == {"branch", "rest"}
    runner = Runner()
    for session in sessions.values():
        known = runner.known[session] = Experience(1.0)
        for rows in (2, 4, 8):
            known.add(rows, 1.0)
        session.rows.clear()
    for _ in range(4):
        found = await asyncio.gather(*(run_alone(runner, each) for each in feeds))
    for (output, name), (right, exit_) in zip(found, expected, strict=True):
        assert name == exit_
        np.testing.assert_allclose(output, right, rtol=1e-4, atol=1e-4)
    assert max(sessions["trunk"].rows) > 3
    one_by_one.close()
    runner.close()


@given(
    st.one_of(mixing.kept(), mixing.mixed()),
    st.lists(st.integers(0, 4), min_size=8, max_size=16),
)
@settings(max_examples=30, deadline=None)
def test_cached_results_of_shared_runs_are_those_of_their_clients(
    network: tuple[list[str], bytes], asks: list[int]
) -> None:
    """Concurrent clients, some with equal inputs, in front of a cache."""
    parts, model = network
    session, alone = Counted(model), Session(model)
    names = [t.name for t in session.outputs]
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(1 + i % 3, 4, 6)).astype(np.float32) for i in range(5)]

    async def ask() -> list[Any]:
        metrics = Metrics("m")
        lone = StandaloneModel(session, metrics, memoization=MemoizationSettings(cache=CacheOptions()))
        known = lone.runner.known[session] = Experience(1.0, proven=False if session.proven.alone else None)
        for rows in (2, 4, 8):
            known.add(rows, 1.0)
        front = MemoizingBackend(lone, metrics.registry, "m", b"k")
        found: list[Any] = []
        for _ in range(2):
            session.seconds = 1.0
            found += await asyncio.gather(
                *(front.infer(InferenceRequest({"x": inputs[i]}, names)) for i in asks)
            )
        lone.close()
        return found

    found = asyncio.run(ask())
    again = [bool(result.parameters.get("cached")) for result in found]
    if "noise" in parts:
        assert not any(again)
        return
    assert all(again[len(asks) :])
    for result, i in zip(found, [*asks, *asks], strict=True):
        assert same(result.outputs, alone.run({"x": inputs[i]}))
