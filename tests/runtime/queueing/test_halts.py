"""Runs that never finish end with their client, and waiting requests get a response."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import endless
import stackable
from edge_planning.routing.batches import Experience
from edge_runtime.errors import ModelFailed, NotReady
from edge_runtime.inference import runners
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Halt, Session, shapes_of
from edge_runtime.inference.shape_timing import shapes_determine_duration
from edge_runtime.tensors import Array


def rounds(n: int) -> dict[str, Array]:
    return {"n": np.array([n], np.int64)}


def written(n: int) -> dict[str, Array]:
    return {"n": np.array([str(n)], object)}


def by_contract(model: bytes) -> Session:
    """By onnxruntime's C API."""
    described = Session(model)
    return Session(model, described.inputs, described.outputs)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)


KINDS = {
    "c": (partial(by_contract, endless.looping()), rounds),
    "c with bf16": (partial(by_contract, endless.looping(TensorProto.BFLOAT16)), rounds),
    "python": (partial(Session, endless.looping()), rounds),
    "python with bf16": (partial(Session, endless.looping(TensorProto.BFLOAT16)), rounds),
    "python with text": (partial(Session, endless.looping_on_text()), written),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_leaves_frees_the_thread_for_the_next(kind: str) -> None:
    make, feeds = KINDS[kind]
    session, runner = make(), Runner()
    expected = session.run(feeds(3))[0]
    for _ in range(3):
        gone = asyncio.create_task(runner.run(session, feeds(endless.FOREVER)))
        await until(lambda: runner.running > 0)
        gone.cancel()
        async with asyncio.timeout(60):
            np.testing.assert_array_equal((await runner.run(session, feeds(3)))[0], expected)
        assert gone.cancelled()
    await until(lambda: runner.running == 0)
    runner.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_whose_length_is_in_its_values_keeps_the_event_loop_free(kind: str) -> None:
    """However short it was before."""
    make, feeds = KINDS[kind]
    session, runner = make(), Runner()
    for _ in range(10):
        await runner.run(session, feeds(1))
    session.seconds = 1e-6
    task = asyncio.create_task(runner.run(session, feeds(endless.FOREVER)))
    await until(lambda: runner.running > 0)
    task.cancel()
    runner.close()


async def test_inputs_larger_than_any_that_was_measured_keep_the_event_loop_free() -> None:
    waits: list[Sequence[float]] = []
    session, runner = Session(stackable.dense()), Runner(said=waits.append)
    session.warm()
    one, many = (np.zeros((rows, stackable.WIDTH), np.float32) for rows in (1, 64))
    session.took(shapes_of({"x": one}), 1e-6)
    session.seconds = 1e-6
    await runner.run(session, {"x": one})
    assert waits == []  # one of this size was measured
    await runner.run(session, {"x": many})
    assert len(waits) == 1
    session.seconds = 1e-6
    session.took(
        shapes_of({"x": many}), 10.0
    )  # raises the mean time for such inputs above that of a short run
    session.seconds = 1e-6
    await runner.run(session, {"x": many})
    assert len(waits) == 2
    await runner.run(session, {"x": one})
    assert len(waits) == 2
    runner.close()


@pytest.mark.parametrize("threads", [1, 2])
async def test_a_short_run_whose_thread_was_preempted_stays_short(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """As far as the CPU time of the calling thread shows it, which is not the run's with more threads."""
    waits: list[Sequence[float]] = []
    session, runner = Session(stackable.dense(), threads=threads), Runner(said=waits.append)
    session.warm()
    session.seconds = 1e-6
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(
        runners, "time", SimpleNamespace(perf_counter=clock.__next__, thread_time=lambda: 0.0)
    )
    for _ in range(2):
        await runner.run(session, {"x": np.zeros((1, stackable.WIDTH), np.float32)})
    assert len(waits) == (0 if threads == 1 else 1)
    assert (session.seconds < runners.INLINE) == (threads == 1)
    runner.close()


async def test_a_session_that_could_not_be_warmed_up_is_not_taken_for_a_short_one() -> None:
    waits: list[Sequence[float]] = []
    session, runner = Session(stackable.dense()), Runner(said=waits.append)
    assert session.seconds == 0
    await runner.run(session, {"x": np.zeros((1, stackable.WIDTH), np.float32)})
    assert len(waits) == 1
    runner.close()


OPERATORS = st.sampled_from(
    ["Add", "Relu", "Conv", "MatMul", "Loop", "Scan", "If", "Range", "Expand", "Tile"]
)
NODES = st.lists(st.tuples(OPERATORS, st.sampled_from(["", "", "", "ai.onnx.ml", "of.mine"])), max_size=9)
BY_VALUE = {"Loop", "Scan", "If", "Range", "Expand", "Tile"}


@given(NODES, st.booleans(), st.integers(0, 3), st.text(max_size=200))
def test_one_node_that_values_drive_is_found_wherever_it_stands(
    nodes: list[tuple[str, str]], with_function: bool, weights: int, documentation: str
) -> None:
    made = [
        helper.make_node(kind, ["a", "b"], [f"t{i}"], domain=domain, doc_string=documentation)
        for i, (kind, domain) in enumerate(nodes)
    ]
    constants = [
        helper.make_tensor(f"w{i}", TensorProto.FLOAT, [3], np.arange(3), raw=False) for i in range(weights)
    ]
    graph = helper.make_graph(made, "g", [], [], constants, doc_string=documentation)
    opsets = [helper.make_opsetid(domain, 1) for domain in ("", "ai.onnx.ml", "of.mine")]
    functions = [onnx.FunctionProto(name="f", domain="of.mine")] if with_function else []
    model = helper.make_model(graph, opset_imports=opsets, functions=functions)
    steady = not with_function and all(k not in BY_VALUE and domain != "of.mine" for k, domain in nodes)
    assert shapes_determine_duration(model.SerializeToString()) is steady


SIZED = {
    "Reshape": 1,
    "Slice": 1,
    "Slice of steps": 4,
    "TopK": 1,
    "Split": 1,
    "Squeeze": 1,
    "Unsqueeze": 1,
    "ReduceSum": 1,
    "LSTM": 4,
    "GRU": 4,
    "SplitToSequence": 1,
}


@given(
    st.sampled_from(sorted(SIZED)),
    st.sampled_from(["fixed", "computed", "shape", "data", "random"]),
    st.booleans(),
)
def test_sizes_that_come_from_values_are_found_and_those_from_shapes_are_none(
    kind: str, source: str, copied: bool
) -> None:
    made = {
        "fixed": [],
        "computed": [helper.make_node("Add", ["w", "w"], ["size"])],
        "shape": [helper.make_node("Shape", ["x"], ["size"])],
        "data": [helper.make_node("Cast", ["n"], ["size"], to=TensorProto.INT64)],
        "random": [helper.make_node("RandomUniform", [], ["size"], shape=[1])],
    }[source]
    size = "w" if source == "fixed" else "size"
    if copied:
        made.append(helper.make_node("Identity", [size], ["copy"]))
        size = "copy"
    inputs = ["x", *[""] * (SIZED[kind] - 1), size]
    made.append(helper.make_node(kind.partition(" ")[0], inputs, ["y"]))
    constants = [helper.make_tensor("w", TensorProto.INT64, [1], [1])]
    model = helper.make_model(helper.make_graph(made, "g", [], [], constants))
    steady = source not in ("data", "random")
    assert shapes_determine_duration(model.SerializeToString()) is steady


@pytest.mark.parametrize("kind", ["Compress", "NonZero", "Unique"])
def test_as_many_as_there_are_is_a_matter_of_values(kind: str) -> None:
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "g", [], [])
    assert not shapes_determine_duration(helper.make_model(graph).SerializeToString())


@given(st.binary(max_size=60))
def test_bytes_that_are_not_a_model_prove_nothing_and_raise_no_error(data: bytes) -> None:
    assert shapes_determine_duration(data) in (True, False)


class Stuck(Session):
    """Stays in one operator until it is released, regardless of halts."""

    def __init__(self) -> None:
        super().__init__(stackable.dense())
        self.begun, self.gate = threading.Event(), threading.Event()
        self.seconds = 1.0

    def run(self, feeds: Any, names: Any = None, halt: Halt | None = None) -> list[Array]:
        self.begun.set()
        assert self.gate.wait(60)
        return super().run(feeds, names, halt)


def item() -> dict[str, Array]:
    return {"x": np.zeros((1, stackable.WIDTH), np.float32)}


async def test_a_run_in_one_operator_counts_as_stuck_after_a_while_until_it_returns() -> None:
    now = [100.0]
    session, runner = Stuck(), Runner(clock=lambda: now[0], stuck_after=30.0)
    assert (runner.running, runner.stuck) == (0.0, "")
    gone = asyncio.create_task(runner.run(session, item()))
    await until(session.begun.is_set)
    now[0] = 130.0
    gone.cancel()
    await asyncio.wait([gone])
    assert (runner.running, runner.stuck) == (30.0, "")
    now[0] = 145.0
    assert "more than 30 s" in runner.stuck
    session.gate.set()
    await until(lambda: runner.running == 0)
    assert runner.stuck == ""
    assert len(await runner.run(session, item())) == 1
    runner.close()


async def test_at_the_end_all_waiting_requests_fail_even_if_the_thread_is_stuck() -> None:
    session, runner = Stuck(), Runner()
    tasks = [asyncio.create_task(runner.run(session, item())) for _ in range(4)]
    await until(lambda: session.begun.is_set() and runner.queued == 3)
    runner.end()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [NotReady] * 4
    assert "shutting down" in str(found[0])
    with pytest.raises(NotReady):
        await runner.run(session, item())
    session.gate.set()
    runner.close()


async def test_at_the_end_a_run_that_can_be_ended_is() -> None:
    session, runner = Session(endless.looping()), Runner()
    task = asyncio.create_task(runner.run(session, rounds(endless.FOREVER)))
    await until(lambda: runner.running > 0)
    runner.end()
    with pytest.raises(NotReady):
        await task
    await until(lambda: runner.running == 0)
    runner.close()


class Tried(Session):
    """Never returns for the synthetic inputs of a batch check."""

    def __init__(self) -> None:
        super().__init__(stackable.dense())
        self._endless = Session(endless.looping())
        self.ended: list[ModelFailed] = []

    def run(self, feeds: Any, names: Any = None, halt: Halt | None = None) -> list[Array]:
        if not feeds["x"].any():
            return super().run(feeds, names, halt)
        try:
            return self._endless.run(rounds(endless.FOREVER), None, halt)
        except ModelFailed as error:
            self.ended.append(error)
            raise


async def test_a_trial_on_made_up_inputs_does_not_keep_the_thread() -> None:
    session, runner = Tried(), Runner()
    known = runner.known[session] = Experience(1e-4)
    session.seconds = 1.0
    for _ in range(20):
        async with asyncio.timeout(60):
            await asyncio.gather(*(runner.run(session, item()) for _ in range(4)))
        if session.ended:
            break
    assert len(session.ended) == 1
    assert known.proven is False
    runner.close()


@pytest.mark.parametrize("limit", [0.2, 60.0])
def test_a_model_that_is_endless_on_zeros_ends_its_warm_up(limit: float) -> None:
    """In time, or when it is halted."""
    session, halt = Session(endless.endless_on_zeros()), Halt()
    if limit == 60.0:
        threading.Timer(0.2, halt.now).start()
    with pytest.raises(ModelFailed):
        session.warm(halt=halt, limit=limit)
    assert session.run({"x": np.ones(1, np.float32)})[0] == 1.0
