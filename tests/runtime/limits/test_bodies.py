"""Unread bodies hold a bounded amount of memory, and reading one is limited in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from edge_runtime.errors import CallerLeft, Overloaded, TooLarge, TooSlow
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.protocol.contents import LARGEST_REQUEST
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.rest.app import RestApp
from edge_runtime.rest.bodies import Bodies, room
from edge_runtime.serving import Service
from edge_runtime.tensors import Contract, Tensor
from messages import mentions


def arriving(*parts: bytes, ends: bool = True) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A body in parts; an incomplete one sends nothing more."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left) or not ends}

    return receive


async def test_what_requests_hold_together_is_bounded_and_free_again_once_they_are_answered() -> None:
    bodies = Bodies(most=10)
    first = await bodies.read(arriving(b"1234"))
    second = await bodies.read(arriving(b"12", b"3", b"4"))
    assert (first, second, bodies.held) == (b"1234", b"1234", 8)
    for parts in ((b"123",), (b"1", b"23")):
        with pytest.raises(Overloaded) as caught:
            await bodies.read(arriving(*parts))
        assert caught.value.retry_after == 1
    assert bodies.held == 8
    bodies.done(first)
    assert await bodies.read(arriving(b"1", b"23")) == b"123"
    assert bodies.held == 7


async def test_a_body_that_pauses_is_given_up_and_holds_nothing() -> None:
    bodies = Bodies(most=10, patience=0.01)
    with pytest.raises(TooSlow, match=r"body: .* 0\.01 s after 3 bytes"):
        await bodies.read(arriving(b"12", b"3", ends=False))
    assert bodies.held == 0


async def test_a_client_that_leaves_in_mid_body_frees_what_had_come() -> None:
    bodies = Bodies(most=10)
    begun: dict[str, Any] = {"type": "http.request", "body": b"123", "more_body": True}
    messages = [begun, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    with pytest.raises(CallerLeft):
        await bodies.read(receive)
    assert bodies.held == 0


@pytest.mark.parametrize("parts", [(bytes(LARGEST_REQUEST + 1),), (bytes(LARGEST_REQUEST), b"1")])
async def test_a_body_larger_than_any_request_is_refused(parts: tuple[bytes, ...]) -> None:
    bodies = Bodies()
    with pytest.raises(TooLarge, match=mentions("body:", LARGEST_REQUEST)):
        await bodies.read(arriving(*parts))
    assert bodies.held == 0


def test_the_room_is_a_fourth_of_the_memory_and_always_enough_for_one_request() -> None:
    mib = 1 << 20
    assert [room(limit) // mib for limit in (None, 4096 * mib, 512 * mib, 128 * mib)] == [256, 256, 128, 64]


class Doubled:
    """Responds with its input."""

    platform, message = "test", ""
    statistics = ModelStatistics()
    contract = Contract([Tensor("x", "FP32", (1,))], [Tensor("y", "FP32", (1,))])

    async def infer(self, question: InferenceRequest) -> InferenceResponse:
        return InferenceResponse([2 * question.inputs["x"]], {})


async def asked(bodies: Bodies, *parts: bytes, ends: bool = True) -> httpx.Response:
    """The response to a body in parts; an incomplete one sends nothing more."""

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        if not ends:
            await asyncio.Event().wait()

    app = RestApp(Service("m", Doubled()), lambda: b"", bodies)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://m") as client:
        return await client.post("/v2/models/m/infer", content=body())


async def test_a_stalled_body_gets_408_and_ends_the_connection() -> None:
    answer = await asked(Bodies(patience=0.01), b"{", ends=False)
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    error = answer.json()["error"]
    assert error.startswith("body: ")
    assert " 0.01 s after 1 bytes" in error


async def test_an_answered_request_holds_nothing_and_neither_does_a_refused_one() -> None:
    bodies = Bodies(most=1000)
    good = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]}'
    answer = await asked(bodies, good[:20], good[20:])
    assert (answer.status_code, bodies.held) == (200, 0)
    assert answer.json()["outputs"][0]["data"] == [3.0]
    assert ((await asked(bodies, b"{}")).status_code, bodies.held) == (400, 0)
    assert ((await asked(bodies, b" " * 1001)).status_code, bodies.held) == (429, 0)
