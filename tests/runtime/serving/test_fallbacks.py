"""Fallbacks of a hop: computed from the existing activation, and dropped if not needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edge_planning.links.estimates import LinkView
from edge_runtime.assignment import parse_placement
from edge_runtime.connections import Resolver
from edge_runtime.dataplane import Dataplane
from edge_runtime.errors import HopLate, ModelFailed
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.requests import InferenceRequest
from edge_runtime.routing.background_loading import BackgroundLoader
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.early_exits import EarlyExitLoader
from edge_runtime.routing.fallbacks.deferred import DeferredFallback
from edge_runtime.routing.fallbacks.local_tails import LocalTails
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from streams import answering

Stack = Any
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


def _known(stack: Stack) -> bool:
    return bool((stack.folder / "cache-digits" / "model-store.json").is_file())


def test_the_exit_behind_the_cut_answers_for_the_hop_also_after_a_start_without_the_store(
    stack: Stack, image: Any, chain_model: bytes
) -> None:
    remote, local = stack.remote("pool2"), stack.local("exit1")
    planned = sum(route["stages"][0]["slice"]["size"] for route in (remote, local))
    stack.start(stack.placement(remote, local))
    stack.wait(lambda: _known(stack), within=10)
    expected = ort.InferenceSession(chain_model).run(["exit2_logits"], {"image": image})[0]
    for again in (False, True):
        if again:
            stack.stop_edge()
            stack.hop.mode = "pass"
            stack.start_edge(None, NOWHERE)
        stack.wait_for_route(image, "final@pool2")
        stack.wait(lambda: stack.metric("edge_sessions_bytes") > planned, within=10)  # the fallback is loaded
        stack.hop.mode = "hang"
        response = stack.infer(image)
        assert (response["parameters"]["exit"], response["parameters"]["cut"]) == ("exit2", "local")
        assert response["parameters"]["deadline_met"] is True
        np.testing.assert_allclose(response["outputs"][0]["data"], expected.ravel(), rtol=1e-4, atol=1e-5)


async def test_a_fallback_starts_in_time_or_when_it_is_needed_and_only_once() -> None:
    begun: list[bool] = []

    async def work() -> Any:
        begun.append(True)
        return [np.zeros(1)]

    early = DeferredFallback(work)
    early.start_in(0.001)
    while not begun:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.001)
    assert (await early.result())[0].shape == (1,)
    late = DeferredFallback(work)
    late.start_in(60)
    await late.result()
    early.cancel()
    late.cancel()
    assert len(begun) == 2


async def test_a_fallback_that_is_not_needed_is_cancelled() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    fallback = DeferredFallback(work)
    fallback.start_in(0)
    async with asyncio.timeout(20):
        await begun.wait()
        fallback.cancel()
        await ended.wait()
    assert fallback.started


def test_a_run_that_is_halted_ends(chain_model: bytes, image: Any) -> None:
    session = Session(chain_model)
    halt = Halt()
    assert len(session.run({"image": image}, None, halt)) == 3
    halt.now()
    with pytest.raises(ModelFailed):
        session.run({"image": image}, None, halt)
    assert len(session.run({"image": image})) == 3


class _Link:
    """A link that is up and fast, by the current estimate."""

    def view(self) -> LinkView:
        return LinkView(True, 1e8)

    async def stop(self) -> None:
        """Nothing runs."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@asynccontextmanager
async def _plane(stack: Stack, folder: Path, wish: dict[str, Any], hang: Any) -> AsyncIterator[Dataplane]:
    """A dataplane whose next hop is a socket that never responds."""
    store = ModelStore(stack.store)
    disk_cache = DiskCache(folder / "model-store.json")
    background = BackgroundLoader(LocalTails(disk_cache, store), EarlyExitLoader(disk_cache, store))
    cache = SliceCache(folder, store)
    metrics = Metrics("digits")
    generations = Generations(
        metrics, NodeResources(SliceLoader(cache, None), Resolver()), background=background
    )

    def document() -> Any:
        remote = stack.remote("pool2")
        remote["stages"][-1]["address"] = hang
        placed = stack.placement(remote, stack.local("exit1"), latency="200ms", link=None)
        placed["spec"] |= wish
        return placed

    placement = parse_placement(await asyncio.to_thread(document))
    assert await generations.use(placement)
    assert generations.table is not None
    async with asyncio.timeout(10):
        while not generations.table.fallbacks:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    link: Any = _Link()
    generations.link = link
    yield Dataplane(generations, metrics)
    generations.link = None
    generations.close()
    await generations.resources.close()
    store.close()


@pytest.fixture
async def silent() -> Any:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with answering(hold) as url:
        yield url


@pytest.mark.parametrize(("threshold", "route"), [(0.0, "ok"), (1.0, "fallback")])
async def test_an_exit_that_is_sure_enough_answers_without_the_hop(
    stack: Stack, tmp_path: Path, image: Any, silent: str, threshold: float, route: str
) -> None:
    wish = {"earlyExit": {"mode": "Confidence", "threshold": threshold}}
    async with _plane(stack, tmp_path, wish, silent) as plane:
        response = await plane.infer(InferenceRequest({"image": image}, ["logits"]))
        assert (response.parameters["exit"], response.parameters["deadline_met"]) == ("exit2", True)
        assert f'outcome="{route}"' in plane.metrics.exposition().decode()


async def test_told_to_fail_a_late_hop_is_an_error_at_the_deadline(
    stack: Stack, tmp_path: Path, image: Any, silent: str
) -> None:
    async with _plane(stack, tmp_path, {"deadline": {"action": "Fail"}}, silent) as plane:
        begin = asyncio.get_running_loop().time()
        with pytest.raises(HopLate):
            await plane.infer(InferenceRequest({"image": image}, ["logits"]))
        assert asyncio.get_running_loop().time() - begin < 0.2


async def test_told_to_wait_a_late_hop_is_waited_for_and_then_replaced(
    stack: Stack, tmp_path: Path, image: Any, silent: str
) -> None:
    async with _plane(stack, tmp_path, {"deadline": {"action": "Wait"}}, silent) as plane:
        response = await plane.infer(InferenceRequest({"image": image}, ["logits"]))
        assert (response.parameters["exit"], response.parameters["deadline_met"]) == ("exit2", False)
