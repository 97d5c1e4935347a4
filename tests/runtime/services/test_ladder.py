"""The ladder of local routes: each request gets the most accurate exit that is in time behind the queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import Overloaded
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.service_queues import ServiceQueue
from edge_runtime.inference.sessions import Halt, Session, shapes_of
from edge_runtime.node_services import NodeServices
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from messages import mentions
from placed import Document, SmallStore, adding, eventually, node, placed_service, placement

SECONDS = {"exit3": 0.05, "exit2": 0.02, "exit1": 0.002}
ACCURACY = {"exit3": 0.9, "exit2": 0.8, "exit1": 0.6}
NAMES = ("first", "second")
NOW = 1000.0


class Node:
    """The services at a node whose runs are held, and its clock. Their warm-ups took SECONDS."""

    def __init__(self, services: NodeServices, monkeypatch: pytest.MonkeyPatch) -> None:
        self.services, self.now = services, NOW
        self._gate, self._begun, whole = threading.Event(), threading.Event(), Session.run

        def run(session: Session, feeds: Any, names: Any = None, halt: Halt | None = None) -> Any:
            self._begun.set()
            assert self._gate.wait(30)
            return whole(session, feeds, names, halt)

        monkeypatch.setattr(Session, "run", run)
        monkeypatch.setattr(Session, "took", lambda session, shapes, seconds: None)

    def ask(self, service: str, rows: int = 1, **request: float) -> asyncio.Task[InferenceResponse]:
        asked: Any = request
        inputs = {"x": np.zeros((rows, 4), np.float32)}

        async def infer() -> InferenceResponse:
            return await self.services.models.ask(service, InferenceRequest(inputs, ["y"], **asked))

        return asyncio.create_task(infer())

    async def running(self) -> None:
        """Waits until the first request runs."""
        await eventually(self._begun.is_set)

    async def waiting(self, service: str, count: int) -> None:
        """Waits until that many requests of a service have no response."""
        queue = placed_service(self.services, service).generations.queue
        await eventually(lambda: queue.waiting == count)

    def release(self) -> None:
        """Lets all runs end."""
        self._gate.set()


Loaded = Callable[..., AbstractAsyncContextManager[Node]]


def ladder(service: str, digests: list[str], **spec: Any) -> Document:
    """A Placement with one local route for each exit, the most accurate first."""
    document = placement(service, digests[0], **spec)
    (local,) = document["spec"]["routes"]
    (stage,) = local["stages"]
    document["spec"]["routes"] = [
        local
        | {"name": f"{exit_}@local", "exit": exit_, "accuracy": ACCURACY[exit_]}
        | {"stages": [stage | {"slice": stage["slice"] | {"digest": digest}}]}
        for exit_, digest in zip(ACCURACY, digests, strict=True)
    ]
    return document


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """A node where two services have loaded ladders; fields of the spec by service."""

    @asynccontextmanager
    async def at_a_node(**specs: Any) -> AsyncIterator[Node]:
        store = SmallStore(*(adding(number) for number in range(6)))

        def warm(session: Session, *_: Any, **__: Any) -> None:
            number = int(session.run({"x": np.zeros((1, 4), np.float32)})[0][0, 0])
            session.seconds = session.warm_seconds = list(SECONDS.values())[number % 3]
            session.warm_shapes = shapes_of({"x": np.zeros((1, 4), np.float32)})

        monkeypatch.setattr(Session, "warm", warm)
        nodes: list[Node] = []
        async with node(tmp_path, store, clock=lambda: nodes[0].now if nodes else NOW) as services:
            split = {"first": store.digests[:3], "second": store.digests[3:]}
            given = {"slo": {"latency": "190ms"}}
            services.replace([ladder(n, split[n], **given | specs.get(n, {})) for n in NAMES])
            await eventually(lambda: len(services.models.index(only_ready=True)) == len(NAMES))
            nodes.append(Node(services, monkeypatch))
            try:
                yield nodes[0]
            finally:
                nodes[0].release()

    return at_a_node


async def _exits(tasks: list[asyncio.Task[InferenceResponse]]) -> list[Any]:
    return [response.parameters["exit"] for response in await asyncio.gather(*tasks)]


async def test_requests_step_down_as_the_queue_grows_and_the_last_is_refused(loaded: Loaded) -> None:
    async with loaded() as at:
        tasks = [at.ask("first")]
        await at.running()
        for number in range(1, 6):
            tasks.append(at.ask(NAMES[number % 2]))
            await at.waiting(NAMES[number % 2], number // 2 + 1)
        # 3 x 50 ms, 20 ms and 2 x 2 ms fit into the 174.8 ms that are left for computing, 2 ms more do not.
        with pytest.raises(Overloaded, match=mentions("174 ms", "2 ms", "175 ms")) as caught:
            await at.ask("first")
        assert (caught.value.reason, caught.value.retry_after) == ("Overloaded", 1)
        at.release()
        assert await _exits(tasks) == ["exit3", "exit3", "exit3", "exit2", "exit1", "exit1"]


async def test_a_request_does_not_step_down_for_those_that_run_after_it(loaded: Loaded) -> None:
    async with loaded(first={"slo": {"latency": "10s"}}) as at:
        tasks = [at.ask("first") for _ in range(20)]
        await at.running()
        await at.waiting("first", 20)
        tasks.append(at.ask("second"))
        await at.waiting("second", 1)
        at.release()
        assert (await _exits(tasks))[-1] == "exit3"


@pytest.mark.parametrize(("ago", "exit_"), [(0.0, "exit3"), (0.16, "exit2"), (0.18, "exit1"), (0.3, "exit1")])
async def test_the_time_since_a_request_arrived_counts(loaded: Loaded, ago: float, exit_: str) -> None:
    async with loaded() as at:
        at.release()
        assert await _exits([at.ask("first", since=at.now - ago)]) == [exit_]


async def test_a_service_that_waits_for_late_responses_is_refused_only_by_the_bound_of_its_queue(
    loaded: Loaded,
) -> None:
    async with loaded(first={"deadline": {"action": "Wait"}}) as at:
        tasks = [at.ask("first")]
        await at.running()
        tasks += [at.ask("first") for _ in range(255)]
        await at.waiting("first", 256)
        with pytest.raises(Overloaded, match=mentions("256 requests")):
            await at.ask("first")
        at.release()
        exits = await _exits(tasks)
    assert exits[:6] == ["exit3", "exit3", "exit3", "exit2", "exit1", "exit1"]
    assert set(exits[6:]) == {"exit1"}  # all late


async def test_a_timeout_of_the_client_bounds_the_wait(loaded: Loaded) -> None:
    async with loaded(first={"deadline": {"action": "Wait"}}) as at:
        tasks = [at.ask("first")]
        await at.running()
        with pytest.raises(Overloaded, match=mentions("50 ms", "37 ms")):
            await at.ask("first", within=0.04)
        tasks.append(at.ask("first", within=0.4))
        await at.waiting("first", 2)
        at.release()
        assert await _exits(tasks) == ["exit3", "exit3"]


async def test_requests_that_wait_though_late_cost_another_service_nothing(loaded: Loaded) -> None:
    async with loaded(first={"deadline": {"action": "Wait"}}) as at:
        late = [at.ask("first") for _ in range(100)]
        await at.running()
        await at.waiting("first", 100)
        at.now += 0.18  # those that wait cannot be in time any more
        fresh = at.ask("second")
        await at.waiting("second", 1)
        at.release()
        assert await _exits([fresh]) == ["exit3"]
        await asyncio.gather(*late)


async def test_a_node_that_is_slower_than_at_the_warm_up_steps_down_and_up_again(loaded: Loaded) -> None:
    async with loaded() as at:
        at.release()
        table = placed_service(at.services, "first").generations.table
        assert table is not None
        runner = placed_service(at.services, "first").generations.resources.runner
        cheapest = table.routes[-1].session
        assert cheapest is not None
        found = []
        for slower in (1.0, 6.0, 1.0, 12.0, 1.0):  # 6 x 50 ms and 12 x 20 ms exceed the SLO
            for _ in range(80):
                at.now += 1.0
                runner.measured(cheapest, slower * SECONDS["exit1"])
            assert runner.slowdown == pytest.approx(slower, rel=0.2)
            found += await _exits([at.ask("first")])
        assert found == ["exit3", "exit2", "exit3", "exit1", "exit3"]


async def test_runs_of_one_item_tell_how_slow_the_node_is(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Session] = []
    monkeypatch.setattr(Runner, "measured", lambda runner, session, seconds: measured.append(session))
    async with loaded() as at:
        at.release()
        for asked in (("first", 1), ("first", 2), ("second", 1)):
            await at.ask(*asked)
        tables = [placed_service(at.services, name).generations.table for name in NAMES]
        assert measured == [table.routes[0].session for table in tables if table is not None]


async def test_requests_beyond_the_planned_rate_run_after_those_of_other_services(loaded: Loaded) -> None:
    async with loaded(first={"rate": 1.0}) as at:  # two at once are within the plan
        noisy = [at.ask("first")]
        await at.running()
        for count in range(2, 6):
            noisy.append(at.ask("first"))
            await at.waiting("first", count)
        quiet = at.ask("second")
        await at.waiting("second", 1)
        done: list[Any] = []
        for task in (*noisy, quiet):
            task.add_done_callback(done.append)
        at.release()
        assert await _exits([*noisy, quiet]) == ["exit3", "exit3", "exit3", "exit2", "exit1", "exit3"]
        assert done == [*noisy[:2], quiet, *noisy[2:]]


async def test_requests_beyond_the_planned_rates_run_by_these_rates(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {"slo": {"latency": "100s"}}
    async with loaded(first={"rate": 1.0} | late, second={"rate": 3.0} | late) as at:
        queues = [placed_service(at.services, name).generations.queue for name in NAMES]
        runner = placed_service(at.services, "first").generations.resources.runner
        found: dict[str, list[float]] = {name: [] for name in NAMES}

        async def run(queue: ServiceQueue, *_: Any, beyond: float = 0.0, **_more: Any) -> Any:
            found[NAMES[queues.index(queue)]].append(beyond)
            raise Overloaded("only the places matter", 1)

        monkeypatch.setattr(ServiceQueue, "run", run)
        at.release()
        for name in NAMES:
            for _ in range(9):
                with pytest.raises(Overloaded):
                    await at.ask(name)
        assert found["first"] == [0.0] * 2 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
        assert found["second"] == pytest.approx([0.0] * 6 + [1.0, 4 / 3, 5 / 3])
        assert runner.next_place(queues[0]) == 8.0


async def test_a_flood_beyond_the_planned_rate_causes_no_refusal_of_others(loaded: Loaded) -> None:
    flooding = {"rate": 1.0, "slo": {"latency": "100s"}}
    async with loaded(first=flooding, second={"slo": {"latency": "200s"}}) as at:
        noisy = [at.ask("first")]
        await at.running()
        noisy += [at.ask("first") for _ in range(200)]
        await at.waiting("first", 201)
        quiet = at.ask("second", within=0.19)
        await at.waiting("second", 1)
        at.release()
        assert await _exits([quiet]) == ["exit3"]
        await asyncio.gather(*noisy)


def _contended(at: Node) -> None:
    """Runs of this process had a processor for a fifth of their time, for as long as it matters."""
    spare = placed_service(at.services, "first").generations.resources.runner.spare_time
    for _ in range(20):
        at.now += 0.25
        spare.ran(0.05, 0.25, at.now)
    assert spare.part(at.now) == 0.02


async def test_at_a_node_that_others_use_requests_beyond_the_rate_step_down_and_are_refused(
    loaded: Loaded,
) -> None:
    async with loaded(first={"rate": 1.0}) as at:  # two at once are within the plan
        _contended(at)
        noisy = [at.ask("first") for _ in range(4)]
        await at.waiting("first", 4)
        with pytest.raises(Overloaded, match=mentions("1 requests/s", "others use the node")) as caught:
            await at.ask("first")
        assert caught.value.retry_after == 1
        at.release()
        assert await _exits(noisy) == ["exit3", "exit3", "exit1", "exit1"]


async def test_at_a_node_that_others_use_requests_within_the_rate_run_as_before(loaded: Loaded) -> None:
    async with loaded(first={"rate": 1.0}, second={"rate": 1.0}) as at:
        _contended(at)
        at.release()
        assert await _exits([at.ask("first"), at.ask("second")]) == ["exit3", "exit3"]


async def test_a_service_that_waits_is_not_refused_beyond_its_rate(loaded: Loaded) -> None:
    async with loaded(first={"rate": 1.0, "deadline": {"action": "Wait"}}) as at:
        _contended(at)
        at.release()
        exits = await _exits([at.ask("first") for _ in range(5)])
        assert exits[:2] == ["exit3", "exit3"]
        assert set(exits[2:]) == {"exit1"}


async def test_a_request_beyond_the_rate_that_gets_no_turn_is_refused_at_twice_its_deadline(
    loaded: Loaded,
) -> None:
    async with loaded(first={"rate": 1.0}) as at:
        within = [at.ask("first") for _ in range(2)]
        await at.running()
        beyond = at.ask("first")
        await at.waiting("first", 3)
        with pytest.raises(Overloaded, match=mentions("1 requests/s", "380 ms")):
            await beyond
        at.release()
        assert await _exits(within) == ["exit3", "exit3"]
