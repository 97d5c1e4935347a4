"""Concurrent requests in one run or several get the results of single runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import stackable
from edge_planning.routing.batches import Experience
from edge_runtime.errors import ModelFailed
from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.tensors import Array


class Gated(Session):
    """A session whose runs wait until they are released, and which records the rows of each run."""

    def __init__(self, model: bytes, verdict: ProvenProperties | None = None) -> None:
        super().__init__(model, proven=verdict)
        self.gate = threading.Event()
        self.rows: list[int] = []
        self.seconds = 1.0  # too long for the event loop

    def run(self, feeds: Any, names: Any = None, halt: Halt | None = None) -> list[Array]:
        self.rows.append(len(feeds["x"]))
        assert self.gate.wait(20)
        return super().run(feeds, names, halt)


def trusted(runner: Runner, session: Session) -> Experience:
    """Makes the runner assume that eight of the session's items take about as long as one."""
    known = runner.known[session] = Experience(proven=True)
    for rows in (1, 2, 4, 8):
        known.add(rows, 1.0)
    return known


def item(seed: int, rows: int = 1) -> dict[str, Array]:
    values = np.random.default_rng(seed).normal(size=(rows, stackable.WIDTH)).astype(np.float32)
    return {"x": values}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)


async def behind_a_run(
    runner: Runner, session: Gated, asks: Sequence[Any]
) -> tuple[list[asyncio.Task[list[Array]]], asyncio.Task[list[Array]]]:
    """All requests wait while a first run is held."""
    first = asyncio.create_task(runner.run(session, item(999)))
    await until(lambda: session.rows == [1])
    tasks = [asyncio.create_task(ask) for ask in asks]
    await until(lambda: runner.queued == len(asks))
    return tasks, first


async def test_what_waits_is_run_together_and_answered_as_if_alone() -> None:
    waits: list[Sequence[float]] = []
    runner, session, alone = Runner(said=waits.append), Gated(stackable.dense()), Session(stackable.dense())
    trusted(runner, session)
    feeds = [item(seed, 2 if seed == 3 else 1) for seed in range(7)]
    tasks, first = await behind_a_run(runner, session, [runner.run(session, f) for f in feeds])
    session.gate.set()
    for each, found in zip(feeds, await asyncio.gather(*tasks), strict=True):
        np.testing.assert_allclose(found[0], alone.run(each)[0], rtol=1e-5, atol=1e-5)
        assert found[0].shape == each["x"].shape
        assert found[0].base is not None  # a view of the result of one run
    await first
    assert session.rows == [1, 8]
    assert [len(each) for each in waits] == [1, 7]
    runner.close()


async def test_under_load_a_session_is_proven_and_its_results_stay_right() -> None:
    runner, session, alone = Runner(), Gated(stackable.dense()), Session(stackable.dense())
    session.gate.set()
    feeds = [item(seed) for seed in range(12)]

    async def caller(number: int) -> None:
        for turn in range(40):
            each = feeds[(number + turn) % len(feeds)]
            found = await runner.run(session, each)
            np.testing.assert_allclose(found[0], alone.run(each)[0], rtol=1e-5, atol=1e-5)
            session.seconds = 1.0

    known = runner.known[session] = Experience(1.0)
    for rows in (2, 4, 8):
        known.add(rows, 1.0)
    await asyncio.gather(*map(caller, range(12)))
    assert known.proven
    assert max(session.rows) == 8
    runner.close()


async def test_requests_run_between_the_runs_of_a_check_and_one_alone_after_them() -> None:
    """So that none waits for more than one run of a check and one of another request."""
    runner, session = Runner(), Gated(stackable.dense())
    known = runner.known[session] = Experience(1.0)
    known.add(1, 1.0)
    tasks, first = await behind_a_run(runner, session, [runner.run(session, item(i)) for i in range(5)])
    session.gate.set()
    await asyncio.gather(first, *tasks)
    assert known.proven
    # The first request, the one that is checked, its counterpart, a request, both together, a request.
    assert session.rows[:6] == [1, 1, 1, 1, 2, 1]
    runner.close()


async def test_a_check_ends_without_further_requests() -> None:
    runner, session = Runner(), Gated(stackable.dense())
    known = runner.known[session] = Experience(1.0)
    known.add(1, 1.0)
    tasks, first = await behind_a_run(runner, session, [runner.run(session, item(i)) for i in range(2)])
    session.gate.set()
    await asyncio.gather(first, *tasks)
    await until(lambda: not runner.busy)
    assert known.proven
    assert not known.checking
    runner.close()


async def test_everyone_gets_the_outputs_asked_for() -> None:
    runner, session = Runner(), Gated(stackable.two_outputs())
    trusted(runner, session)
    asked = [["less"], None, ["less", "twice"], ["twice"], ["twice", "twice"]]
    asks = [runner.run(session, item(i), names) for i, names in enumerate(asked)]
    tasks, _ = await behind_a_run(runner, session, asks)
    session.gate.set()
    for i, (names, found) in enumerate(zip(asked, await asyncio.gather(*tasks), strict=True)):
        for name, array in zip(names or ["twice", "less"], found, strict=True):
            expected = item(i)["x"] * (2 if name == "twice" else -1)
            np.testing.assert_array_equal(array, expected)
    assert session.rows == [1, 5]
    runner.close()


TEMPERS = pytest.mark.parametrize(
    ("network", "together"),
    [
        (stackable.dense(), True),
        (stackable.two_outputs(), True),
        (stackable.normalising(), False),
        (stackable.attending(), False),
        (stackable.quantising(), False),
        (stackable.folding(), False),
        (stackable.summing(), False),
        (stackable.drawing(), False),
        (stackable.boxes(), False),
        (stackable.dense(1), False),
        (stackable.dense(4), False),
    ],
    ids=[
        *("dense", "two outputs", "normalising", "attending", "quantising", "folding", "summing"),
        *("drawing", "boxes", "one item", "four items"),
    ],
)


async def asked_at_once(session: Gated) -> bool | None:
    """Whether the runner considers the session's items separate after many concurrent requests."""
    runner = Runner()
    session.gate.set()
    same = item(5, 4 if session.inputs[0].shape[0] == 4 else 1)  # this must not hide it
    for _ in range(20):
        await asyncio.gather(*(runner.run(session, same) for _ in range(4)))
        session.seconds = 1.0
    known = runner.known[session]
    runner.close()
    return known.proven


@TEMPERS
async def test_only_a_graph_that_is_proven_to_keep_rows_apart_is_tried(
    network: bytes, together: bool
) -> None:
    session = Gated(network)
    assert await asked_at_once(session) is together
    assert (not session.proven.alone) is together
    assert (len(session.rows) > 80 or max(session.rows) > 1) is together or session.rows == [4] * 80


@TEMPERS
async def test_a_trial_finds_what_a_proof_was_wrong_about(network: bytes, together: bool) -> None:
    session = Gated(network, ProvenProperties())
    rows = 4 if session.inputs[0].shape[0] == 4 else 1
    assert await asked_at_once(session) is together
    if not together:
        assert sorted(session.rows)[-2:] in ([rows, rows], [1, 2], [4, 8])  # at most the batch check


async def test_a_slice_with_a_contract_is_run_in_batches_too() -> None:
    described = Session(stackable.dense())
    session = Session(stackable.dense(), described.inputs, described.outputs)
    assert not session.proven.alone
    session.seconds, runner = 1.0, Runner()
    known = runner.known[session] = Experience(1.0)
    for _ in range(20):
        found = await asyncio.gather(*(runner.run(session, item(i)) for i in range(6)))
        session.seconds = 1.0
        for i, each in enumerate(found):
            np.testing.assert_allclose(each[0], described.run(item(i))[0], rtol=1e-5, atol=1e-5)
    assert known.proven
    assert known.largest > 2  # more than in the batch check
    runner.close()


async def test_whole_numbers_are_tried_with_those_that_came() -> None:
    runner, session = Runner(), Gated(stackable.ids())
    session.gate.set()
    known = runner.known[session] = Experience(1.0)
    alike = np.full((1, stackable.WIDTH), 7, np.int64)  # without information
    mixed = np.arange(stackable.WIDTH, dtype=np.int64).reshape(1, -1) % 16
    verdicts = []
    for values in (alike, mixed):
        for _ in range(20):
            await asyncio.gather(*(runner.run(session, {"x": values}) for _ in range(4)))
            session.seconds = 1.0
        verdicts.append(known.proven)
    assert verdicts == [None, True]
    runner.close()


async def test_one_bad_request_costs_the_others_nothing() -> None:
    runner, session = Runner(), Gated(stackable.picky())
    known = trusted(runner, session)
    rows = np.zeros((5, 1, stackable.WIDTH), np.float32)
    rows[2, 0, 0] = 9.0  # no such row
    session_first = {"x": rows[0]}
    first = asyncio.create_task(runner.run(session, session_first))
    await until(lambda: session.rows == [1])
    tasks = [asyncio.create_task(runner.run(session, {"x": row})) for row in rows]
    await until(lambda: runner.queued == 5)
    session.gate.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["list", "list", "BadTensor", "list", "list"]
    assert session.rows == [1, 5, 1, 1, 1, 1, 1]
    assert known.proven  # the request was invalid
    await first
    runner.close()


async def test_values_that_hide_the_result_prove_nothing() -> None:
    """For any first client, items of a model that mixes them must not be batched."""
    for value, trials in ((np.nan, 0), (3e38, 4)):
        network = stackable.normalising() if trials == 0 else stackable.overflowing()
        runner, session = Runner(), Gated(network, ProvenProperties())
        session.gate.set()
        known = runner.known[session] = Experience(1.0)
        hidden = {"x": np.full((1, stackable.WIDTH), value, np.float32)}
        for _ in range(20):
            await asyncio.gather(*(runner.run(session, hidden) for _ in range(4)))
            session.seconds = 1.0
        assert known.unclear == trials
        assert known.proven is (False if trials else None)
        assert session.rows.count(2) == trials
        assert max(session.rows) == (2 if trials else 1)
        runner.close()


class Crowded(Gated):
    """Only fits one item."""

    def run(self, feeds: Any, names: Any = None, halt: Halt | None = None) -> list[Array]:
        found = super().run(feeds, names, halt)
        if len(feeds["x"]) > 1:
            raise ModelFailed("no room")
        return found


async def test_a_model_that_fails_in_batches_only_is_run_alone_from_then_on() -> None:
    runner, session = Runner(), Crowded(stackable.dense())
    known = trusted(runner, session)
    tasks, first = await behind_a_run(runner, session, [runner.run(session, item(i)) for i in range(3)])
    session.gate.set()
    for i, found in enumerate(await asyncio.gather(*tasks)):
        np.testing.assert_allclose(found[0], Session(stackable.dense()).run(item(i))[0], atol=1e-5)
    await first
    await until(lambda: known.proven is False)
    await asyncio.gather(*(runner.run(session, item(i)) for i in range(3)))
    assert session.rows == [1, 3, *[1] * 6]
    runner.close()


async def test_that_left_while_waiting_is_not_run() -> None:
    runner, session = Runner(largest=1), Gated(stackable.dense())
    asks = [runner.run(session, item(i)) for i in range(3)]
    tasks, first = await behind_a_run(runner, session, asks)
    tasks[0].cancel()
    tasks[1].cancel()
    session.gate.set()
    found = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["list", "CancelledError", "CancelledError", "list"]
    assert session.rows == [1, 1]
    runner.close()


class Slow(Gated):
    """Holds runs of several again, and keeps their halts."""

    def __init__(self, model: bytes) -> None:
        super().__init__(model)
        self.second = threading.Event()
        self.given: Halt | None = None

    def run(self, feeds: Any, names: Any = None, halt: Halt | None = None) -> list[Array]:
        if len(feeds["x"]) > 1:
            self.given = halt
            self.rows.append(len(feeds["x"]))
            assert self.second.wait(20)
            return Session.run(self, feeds, names, halt)
        return super().run(feeds, names, halt)


@pytest.mark.parametrize("everyone", [True, False])
async def test_a_batch_ends_early_only_when_all_its_clients_have_left(everyone: bool) -> None:
    runner, session = Runner(), Slow(stackable.dense())
    trusted(runner, session)
    asks = [runner.run(session, item(i)) for i in range(3)]
    tasks, first = await behind_a_run(runner, session, asks)
    session.gate.set()
    await first
    await until(lambda: session.rows == [1, 3])
    assert session.given is not None
    for task in tasks[: 3 if everyone else 2]:
        task.cancel()
    await asyncio.wait(tasks[:2])
    assert session.given.wanted is everyone
    session.second.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = [asyncio.CancelledError] * 2 + [asyncio.CancelledError if everyone else list]
    assert [type(each) for each in found] == kinds
    assert session.rows == [1, 3]  # none runs again
    runner.close()


async def test_the_earliest_deadline_is_run_first() -> None:
    runner, session = Runner(largest=1), Gated(stackable.dense())
    runner.known[session] = Experience(0.001)
    now, order = time.perf_counter(), list[int]()

    async def ask(number: int, deadline: float | None) -> None:
        await runner.run(session, item(number), deadline=deadline)
        order.append(number)

    first = asyncio.create_task(runner.run(session, item(999)))
    await until(lambda: session.rows == [1])
    deadlines = [None, now + 3000, now + 1000, now + 2000]
    tasks = [asyncio.create_task(ask(i, deadline)) for i, deadline in enumerate(deadlines)]
    await until(lambda: runner.queued == 4)
    session.gate.set()
    await asyncio.gather(first, *tasks)
    assert order == [2, 3, 1, 0]
    runner.close()


async def test_a_short_run_stays_on_the_event_loop_unless_others_wait() -> None:
    waits: list[Sequence[float]] = []
    runner, session, short = (
        Runner(said=waits.append),
        Gated(stackable.dense()),
        Session(stackable.two_outputs()),
    )
    short.warm()
    short.seconds = 1e-5
    await runner.run(short, item(1))
    assert waits == []
    tasks, first = await behind_a_run(runner, session, [runner.run(session, item(2))])
    queued = asyncio.create_task(runner.run(short, item(1)))
    await until(lambda: runner.queued == 2)
    session.gate.set()
    await asyncio.gather(first, queued, *tasks)
    assert len(waits) == 3
    runner.close()
