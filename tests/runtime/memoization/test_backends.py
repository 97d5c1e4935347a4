"""The filter and the cache in front of a backend: computed requests, metrics and parameters."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from edge_runtime.errors import HopFailed, NotReady
from edge_runtime.memoization.backends import MemoizingBackend
from edge_runtime.memoization.settings import OFF, CacheOptions, FilterOptions, MemoizationSettings
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.tensors import Array, Contract, Tensor

IMAGE = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))[None, None]
LARGE = np.zeros((1, 3, 1200, 1200), np.float32)  # compared on a thread


class Counting:
    """Responds with the number of requests so far; `hold` delays responses."""

    platform = "test"
    statistics = ModelStatistics()
    message = ""

    def __init__(self, memoization: MemoizationSettings = OFF, target: float | None = None) -> None:
        self.memoization, self.target, self.accuracy = memoization, target, 0.9
        self.answers = 0.9  # the accuracy of responses
        self.contract: Contract | None = Contract([Tensor("image", "FP32", (-1, -1, -1, -1))], [])
        self.asked: list[tuple[float | None, str]] = []
        self.since: list[float | None] = []
        self.told: list[tuple[str, bool]] = []
        self.hold: asyncio.Event | None = None
        self.first_fails = False

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        self.asked.append((request.within, request.stream))
        self.since.append(request.since)
        count = len(self.asked)
        if self.hold is not None:
            await self.hold.wait()
        if self.first_fails and count == 1:
            raise HopFailed("no")
        arrays = [np.array([[count]], np.float32) for _ in request.outputs]
        parameters = {"exit": "final", "route": "final@local", "cut": "local"}
        return InferenceResponse(arrays, {**parameters, "deadline_met": True}, self.answers)

    def repeated(
        self, response: InferenceResponse, outcome: str, seconds: float, within: float | None
    ) -> None:
        self.told.append((outcome, within is None or seconds <= within))


class Setup:
    """A source with a filter and a cache in front, and a manual clock."""

    def __init__(self, memoization: MemoizationSettings = OFF, target: float | None = None) -> None:
        self.source, self.registry, self.now = Counting(memoization, target), CollectorRegistry(), 0.0
        self.front = MemoizingBackend(self.source, self.registry, "m", b"k", lambda: self.now)

    async def ask(
        self, image: Array = IMAGE, within: float | None = None, stream: str = ""
    ) -> InferenceResponse:
        return await self.front.infer(InferenceRequest({"image": image}, ["y"], within, stream))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"service": "m", **labels})


FILTER = MemoizationSettings(filter=FilterOptions())
CACHE = MemoizationSettings(cache=CacheOptions())


async def test_what_is_off_costs_nothing_and_counts_nothing() -> None:
    setup = Setup()
    for i in range(3):
        response = await setup.ask(within=0.5, stream="7")
        assert response.outputs[0] == [[i + 1]]
    assert setup.source.asked == [(0.5, "7")] * 3
    assert setup.source.since == [None] * 3
    assert list(setup.registry.collect()) == []
    assert setup.front.contract is setup.source.contract
    assert (setup.front.platform, setup.front.message) == ("test", "")


@pytest.mark.parametrize("image", [IMAGE, LARGE])
async def test_a_still_camera_gets_the_last_result_until_it_is_too_old(image: Array) -> None:
    setup = Setup(FILTER)
    assert "filtered" not in (await setup.ask(image)).parameters
    setup.now = 0.5
    response = await setup.ask(image)
    assert response.outputs[0] == [[1]]
    assert response.parameters == {
        "exit": "final",
        "route": "final@local",
        "cut": "local",
        "deadline_met": True,
        "filtered": True,
        "distance": 0.0,
    }
    setup.now = 1.5
    assert (await setup.ask(image)).outputs[0] == [[2]]
    assert setup.source.told == [("filtered", True)]
    assert setup.metric("edge_input_filter_total", outcome="computed") == 2
    assert setup.metric("edge_input_filter_total", outcome="repeated") == 1
    assert setup.metric("edge_input_filter_distance_count") == 2
    assert setup.metric("edge_input_filter_distance_bucket", le="0.001") == 2
    assert setup.metric("edge_result_cache_bytes") is None


async def test_a_dropped_input_gets_a_response_without_outputs() -> None:
    setup = Setup(MemoizationSettings(filter=FilterOptions("Drop")))
    await setup.ask()
    response = await setup.ask(IMAGE + np.float32(0.01))
    assert list(response.outputs) == []
    assert response.parameters["filtered"] is True
    assert response.parameters["distance"] == pytest.approx(0.0103, abs=3e-4)
    assert setup.metric("edge_input_filter_total", outcome="dropped") == 1


async def test_streams_do_not_disturb_each_other() -> None:
    setup = Setup(FILTER)
    other = IMAGE[..., ::-1].copy()
    for image, stream in ((IMAGE, "1"), (other, "2"), (IMAGE, "1"), (other, "2")):
        await setup.ask(image, stream=stream)
    assert setup.source.asked == [(None, "1"), (None, "2")]
    for image in (IMAGE, other, IMAGE):  # without a stream they share one, and differ
        await setup.ask(image)
    assert len(setup.source.asked) == 5


async def test_the_same_input_is_computed_once() -> None:
    setup = Setup(CACHE)
    for image in (IMAGE, LARGE, IMAGE, LARGE):
        response = await setup.ask(image)
    assert response.outputs[0] == [[2]]
    assert response.parameters["cached"] is True
    assert len(setup.source.asked) == 2
    assert setup.source.told == [("cached", True)] * 2
    assert setup.metric("edge_result_cache_total", outcome="hit") == 2
    assert setup.metric("edge_result_cache_total", outcome="miss") == 2
    assert 1000 < (setup.metric("edge_result_cache_bytes") or 0) < 2000
    setup.now = 61
    assert "cached" not in (await setup.ask()).parameters
    assert setup.metric("edge_result_cache_total", outcome="stale") == 1


async def test_the_filter_looks_first_and_the_cache_at_what_it_lets_through() -> None:
    setup = Setup(MemoizationSettings(FilterOptions(), CacheOptions()))
    other = IMAGE[..., ::-1].copy()
    for image in (IMAGE, IMAGE, other, IMAGE):
        response = await setup.ask(image)
    assert len(setup.source.asked) == 2
    assert setup.source.told == [("filtered", True), ("cached", True)]
    assert response.parameters["cached"] is True
    assert "filtered" in (await setup.ask()).parameters  # near the input of the cached response


async def test_a_fallbacks_answer_is_not_returned_again_once_a_better_route_answers() -> None:
    for memoization in (FILTER, CACHE):
        setup = Setup(memoization)
        setup.source.answers = 0.7
        await setup.ask()
        await setup.ask()
        assert len(setup.source.asked) == 2
        setup.source.accuracy = 0.7  # the link is down: the local route is the best
        await setup.ask()
        assert len(setup.source.asked) == 2


async def test_another_model_starts_with_nothing_and_the_same_keeps_its_results() -> None:
    setup = Setup(MemoizationSettings(None, CacheOptions(), "sha256:a"))
    await setup.ask()
    setup.source.memoization = MemoizationSettings(None, CacheOptions(max_age=30.0), "sha256:a")
    assert "cached" in (await setup.ask()).parameters
    setup.source.memoization = MemoizationSettings(FilterOptions(), CacheOptions(), "sha256:b")
    assert "cached" not in (await setup.ask()).parameters
    setup.source.memoization = OFF
    assert not {"cached", "filtered"} & (await setup.ask()).parameters.keys()
    assert setup.metric("edge_result_cache_bytes") == 0
    setup.source.memoization = MemoizationSettings(FilterOptions(), None, "sha256:b")
    assert "filtered" not in (await setup.ask()).parameters
    assert "filtered" in (await setup.ask()).parameters


async def test_a_response_of_the_old_model_does_not_reach_the_new_ones_cache() -> None:
    setup = Setup(MemoizationSettings(FilterOptions(), CacheOptions(), "sha256:a"))
    setup.source.hold = asyncio.Event()
    late = asyncio.create_task(setup.ask())
    await until(lambda: len(setup.source.asked) == 1)
    setup.source.memoization = MemoizationSettings(FilterOptions(), CacheOptions(), "sha256:b")
    second = asyncio.create_task(setup.ask())
    await until(lambda: len(setup.source.asked) == 2)
    setup.source.hold.set()
    await asyncio.gather(late, second)
    assert (await setup.ask()).outputs[0] == [[2]]


async def test_a_model_that_was_there_for_a_moment_leaves_nothing_behind() -> None:
    setup = Setup(MemoizationSettings(FilterOptions(), CacheOptions(), "sha256:a"))
    asked = asyncio.create_task(setup.ask(LARGE))
    await asyncio.sleep(0)
    setup.source.memoization = MemoizationSettings(FilterOptions(), CacheOptions(), "sha256:b")
    await asked
    setup.source.memoization = MemoizationSettings(FilterOptions(), CacheOptions(), "sha256:a")
    assert not {"cached", "filtered"} & (await setup.ask(LARGE)).parameters.keys()


async def test_a_concurrent_request_with_equal_inputs_waits_for_the_first_response() -> None:
    setup = Setup(CACHE)
    setup.source.hold = asyncio.Event()
    asked = [asyncio.create_task(setup.ask()) for _ in range(5)]
    await until(lambda: len(setup.source.asked) == 1)
    await asyncio.sleep(0)
    setup.source.hold.set()
    answers = await asyncio.gather(*asked)
    assert [a.outputs[0][0, 0] for a in answers] == [1] * 5
    assert sum("cached" in a.parameters for a in answers) == 4
    assert setup.metric("edge_result_cache_total", outcome="joined") == 4


@pytest.mark.parametrize("leaving", [(0,), (0, 1), (1, 2), (0, 1, 2)])
async def test_who_leaves_takes_nothing_from_those_who_wait_for_the_same(leaving: tuple[int, ...]) -> None:
    """The computation is cancelled only when all requests have left."""
    setup = Setup(CACHE)
    setup.source.hold = asyncio.Event()
    asked = [asyncio.create_task(setup.ask()) for _ in range(3)]
    await until(lambda: len(setup.source.asked) == 1)
    await asyncio.sleep(0)
    for number in leaving:
        asked[number].cancel()
    await asyncio.wait([asked[number] for number in leaving])
    staying = [task for number, task in enumerate(asked) if number not in leaving]
    setup.source.hold.set()
    assert [a.outputs[0][0, 0] for a in await asyncio.gather(*staying)] == [1] * len(staying)
    after = await setup.ask()
    assert after.outputs[0][0, 0] == (1 if staying else 2)
    assert len(setup.source.asked) == (1 if staying else 2)


async def test_a_request_that_waited_without_success_computes_in_the_time_left() -> None:
    setup = Setup(CACHE, target=0.05)
    setup.source.hold = asyncio.Event()
    first = asyncio.create_task(setup.ask())
    await until(lambda: len(setup.source.asked) == 1)
    setup.now = 7.0
    second = asyncio.create_task(setup.ask())
    await asyncio.sleep(0)
    setup.now = 7.02
    await until(lambda: len(setup.source.asked) == 2)
    assert setup.source.since == [0.0, 7.0]  # from the arrival of the request, not from the end of its wait
    setup.source.hold.set()
    await asyncio.gather(first, second)


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_first_that_fails_or_leaves_costs_the_others_nothing(leaves: bool) -> None:
    setup = Setup(CACHE)
    setup.source.hold, setup.source.first_fails = asyncio.Event(), True
    first = asyncio.create_task(setup.ask())
    await until(lambda: len(setup.source.asked) == 1)
    second = asyncio.create_task(setup.ask())
    await asyncio.sleep(0)
    if leaves:
        first.cancel()
    else:
        setup.source.hold.set()
    ended = (await asyncio.gather(first, return_exceptions=True))[0]
    assert isinstance(ended, asyncio.CancelledError if leaves else HopFailed)
    setup.source.hold.set()
    response = await second
    assert response.outputs[0] == [[2]]
    assert "cached" in (await setup.ask()).parameters


async def test_a_request_whose_model_was_replaced_while_it_waited_gets_an_error() -> None:
    setup = Setup(MemoizationSettings(FilterOptions(), CacheOptions()))
    asked = asyncio.create_task(setup.ask(LARGE))
    await asyncio.sleep(0)
    setup.source.contract = Contract([Tensor("image", "FP32", (-1, 3, 8, 8))], [])
    with pytest.raises(NotReady, match="model"):
        await asked
    asked = asyncio.create_task(setup.ask(LARGE))
    await asyncio.sleep(0)
    setup.source.contract = Contract([Tensor("image", "FP32", (-1, 3, 1200, 1200))], [])
    assert (await asked).outputs[0] == [[1]]


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("memoization", [FILTER, CACHE], ids=["filter", "cache"])
async def test_what_may_differ_next_time_is_not_returned_again_until_it_is_known_not_to(
    memoization: MemoizationSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    setup = Setup(replace(memoization, unrepeatable="the tail draws at random"))
    assert [(await setup.ask()).outputs[0] for _ in range(3)] == [[[1]], [[2]], [[3]]]
    assert [r.args for r in caplog.records] == [("the tail draws at random",)]
    setup.source.memoization = memoization  # it became known
    assert [(await setup.ask()).outputs[0] for _ in range(3)] == [[[4]]] * 3


async def test_what_may_differ_next_time_may_be_dropped_all_the_same() -> None:
    setup = Setup(
        MemoizationSettings(
            filter=FilterOptions("Drop"), cache=CacheOptions(), unrepeatable="draws random numbers"
        )
    )
    await setup.ask()
    assert list((await setup.ask()).outputs) == []
    other = IMAGE[..., ::-1].copy()
    assert [(await setup.ask(image, stream=s)).outputs[0] for image, s in ((other, "1"), (other, "2"))] == [
        [[2]],
        [[3]],
    ]


async def test_it_is_said_once_for_a_model_however_often_its_placement_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    setup = Setup(replace(CACHE, unrepeatable="draws random numbers", model="a"))
    for age in (1.0, 2.0, 3.0):
        settings = MemoizationSettings(
            cache=CacheOptions(max_age=age), model="a", unrepeatable="draws random numbers"
        )
        setup.source.memoization = settings
        await setup.ask()
    assert len(caplog.records) == 1
    setup.source.memoization = replace(setup.source.memoization, model="b")
    await setup.ask()
    assert len(caplog.records) == 2
