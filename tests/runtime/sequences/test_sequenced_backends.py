"""The state of a sequence is kept between its requests, apart from all others, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import BadRequest, HopFailed, Overloaded
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.sequences.backends import SequencedBackend
from edge_runtime.sequences.settings import StatePair, StateSettings
from edge_runtime.tensors import Array, Contract, Tensor
from messages import mentions

WHOLE = Contract(
    (Tensor("x", "FP32", (-1, 1)), Tensor("total", "FP32", (1, 1))),
    (Tensor("y", "FP32", (-1, 1)), Tensor("new_total", "FP32", (1, 1))),
)
ZERO = np.zeros((1, 1), np.float32)


def settings(model: str = "sha256:1", most: int = 3, idle: float = 60.0) -> StateSettings:
    return StateSettings(model, (StatePair("new_total", "total", ZERO),), most, idle)


class Summing:
    """Adds the input to the state. `fails` is raised by requests that find it set; `gate` holds them."""

    platform = "test"
    message = ""
    contract: Contract | None = WHOLE
    statistics = ModelStatistics()
    fails: Exception | None = None

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: list[InferenceRequest] = []

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        self.seen.append(request)
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        total = request.inputs["x"] + request.inputs["total"]
        found = {"y": total, "new_total": total}
        return InferenceResponse([found[name] for name in request.outputs], {"route": "local"})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


Ask = Callable[..., Awaitable[float]]


class Site:
    """A sequenced backend over a source, with a clock and settings that a test changes."""

    def __init__(self) -> None:
        self.source, self.clock, self.settings = Summing(), Clock(), settings()
        self.backend = SequencedBackend(self.source, lambda: self.settings, self.clock)

    async def add(self, number: float, to: str, *, starts: bool = False, ends: bool = False) -> float:
        """The sum of a sequence after one more number."""
        x = np.full((1, 1), number, np.float32)
        request = InferenceRequest({"x": x}, ["y"], stream=to, starts=starts, ends=ends)
        response = await self.backend.infer(request)
        (y,) = response.outputs
        return float(y[0, 0])


@pytest.fixture
def site() -> Site:
    return Site()


async def test_each_sequence_has_a_state_of_its_own(site: Site) -> None:
    assert await site.add(1, "a", starts=True) == 1
    assert await site.add(10, "b", starts=True) == 10
    assert [await site.add(2, "a"), await site.add(20, "b"), await site.add(3, "a")] == [3, 30, 6]
    assert site.backend.sequences == 2


async def test_clients_neither_send_nor_receive_the_state(site: Site) -> None:
    contract = site.backend.contract
    assert contract is not None
    assert [t.name for t in contract.inputs] == ["x"]
    assert [t.name for t in contract.outputs] == ["y"]
    assert site.backend.contract is contract, "header caches compare contracts by identity"


async def test_the_source_sees_the_state_as_any_other_tensor(site: Site) -> None:
    await site.add(1, "a", starts=True)
    (seen,) = site.source.seen
    assert seen.inputs.keys() == {"x", "total"}
    assert seen.outputs == ["y", "new_total"]
    assert not seen.stream, "the input filter would compare the frames of a sequence without its state"


async def test_a_sequence_that_did_not_start_is_refused(site: Site) -> None:
    with pytest.raises(BadRequest, match=mentions("parameters.sequence_id", '"a"', "sequence_start")):
        await site.add(1, "a")
    with pytest.raises(BadRequest, match=mentions("parameters.sequence_id", "missing", "sequence_start")):
        await site.add(1, "")
    assert site.source.seen == []


async def test_a_start_begins_again_with_the_initial_state(site: Site) -> None:
    assert await site.add(5, "a", starts=True) == 5
    assert await site.add(1, "a", starts=True) == 1
    assert site.backend.sequences == 1


async def test_an_ended_sequence_is_dropped(site: Site) -> None:
    await site.add(5, "a", starts=True)
    assert await site.add(1, "a", ends=True) == 6
    assert site.backend.sequences == 0
    with pytest.raises(BadRequest, match=mentions("sequence_start")):
        await site.add(1, "a")
    assert await site.add(7, "a", starts=True, ends=True) == 7
    assert site.backend.sequences == 0


async def test_a_request_that_fails_can_be_sent_again(site: Site) -> None:
    await site.add(5, "a", starts=True)
    site.source.fails = HopFailed("the link is down")
    for ends in (False, True):
        with pytest.raises(HopFailed):
            await site.add(1, "a", ends=ends)
    site.source.fails = None
    assert await site.add(1, "a") == 6


async def test_requests_of_one_sequence_follow_one_another(site: Site) -> None:
    """Those that are sent at once have the order of their arrival; other sequences do not wait."""
    await site.add(0, "a", starts=True)
    await site.add(0, "b", starts=True)
    site.source.gate.clear()
    asked = [asyncio.create_task(site.add(2**i, "a")) for i in range(4)]
    other = asyncio.create_task(site.add(100, "b"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(site.source.seen) == 4, "one of each sequence is with the source"
    site.source.gate.set()
    assert await asyncio.gather(*asked) == [1, 3, 7, 15]
    assert await other == 100


async def test_a_request_that_is_cancelled_while_it_waits_changes_nothing(site: Site) -> None:
    await site.add(0, "a", starts=True)
    site.source.gate.clear()
    first, second, third = (asyncio.create_task(site.add(n, "a")) for n in (1, 10, 100))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    site.source.gate.set()
    assert [await first, await third] == [1, 101]
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_the_number_of_sequences_is_bounded(site: Site) -> None:
    for name in "abc":
        await site.add(1, name, starts=True)
    with pytest.raises(Overloaded, match=mentions("3 sequences", "sequence_end")) as caught:
        await site.add(1, "d", starts=True)
    assert caught.value.retry_after == 1
    assert await site.add(1, "a", starts=True) == 1, "a known one may begin again"
    await site.add(1, "b", ends=True)
    assert await site.add(1, "d", starts=True) == 1


async def test_a_sequence_without_requests_expires(site: Site) -> None:
    for name in "abc":
        await site.add(1, name, starts=True)
    site.clock.now += 40
    assert await site.add(1, "b") == 2
    site.clock.now += 40
    assert await site.add(4, "d", starts=True) == 4
    assert site.backend.sequences == 2
    with pytest.raises(BadRequest, match=mentions('"a"', "60 s")):
        await site.add(1, "a")
    assert await site.add(1, "b") == 3


async def test_a_sequence_does_not_expire_while_a_request_is_computed(site: Site) -> None:
    await site.add(1, "a", starts=True)
    site.source.gate.clear()
    asked = asyncio.create_task(site.add(1, "a"))
    await asyncio.sleep(0)
    site.clock.now += 1000
    site.source.gate.set()
    assert await asked == 2
    assert await site.add(1, "a") == 3


async def test_states_outlive_new_tables_of_the_same_model(site: Site) -> None:
    await site.add(5, "a", starts=True)
    site.settings = settings(most=5)
    assert await site.add(1, "a") == 6
    site.settings = settings("sha256:2")
    with pytest.raises(BadRequest, match=mentions("sequence_start")):
        await site.add(1, "a")


async def test_a_kept_state_is_not_a_view_of_a_batch(site: Site) -> None:
    given: list[Array] = []

    async def batched(request: InferenceRequest) -> InferenceResponse:
        given.append(request.inputs["total"])
        batch = np.arange(1000, dtype=np.float32).reshape(1000, 1)
        return InferenceResponse([batch[:1], batch[7:8]], {})

    site.source.infer = batched  # type: ignore[method-assign]
    await site.add(1, "a", starts=True)
    await site.add(1, "a")
    assert given[1].tolist() == [[7]]
    assert given[1].base is None


async def test_a_model_without_state_is_served_unchanged(site: Site) -> None:
    plain: Any = SequencedBackend(site.source, lambda: None)
    assert plain.contract is WHOLE
    request = InferenceRequest({"x": ZERO + 2, "total": ZERO + 3}, ["y"])
    assert (await plain.infer(request)).outputs[0].tolist() == [[5]]
    assert site.source.seen == [request]
