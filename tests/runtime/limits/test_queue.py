"""Under overload some requests are rejected immediately, so that the others are in time."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import pytest

from edge_runtime.errors import Overloaded
from edge_runtime.grpc.servicer import guarded
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.service_queues import ServiceQueue
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.requests import InferenceRequest
from edge_runtime.rest.app import RestApp
from edge_runtime.serving import Service
from edge_runtime.tensors import Contract, Tensor
from messages import mentions


def test_a_full_queue_says_when_to_come_back() -> None:
    runner = Runner()
    queue = ServiceQueue(runner, most=3)
    for _ in range(3):
        queue.admit(2.5)
    with pytest.raises(Overloaded) as caught:
        queue.admit(2.5)
    assert caught.value.retry_after == 8
    assert mentions("3 requests", "8 s").search(str(caught.value))
    queue.leave()
    queue.admit(0.001)
    with pytest.raises(Overloaded) as caught:
        queue.admit(0.001)
    assert caught.value.retry_after == 1
    runner.close()


class _Full:
    platform = "test"
    statistics = ModelStatistics()
    message = ""
    contract = Contract([Tensor("x", "FP32", (1,))], [Tensor("y", "FP32", (1,))])

    async def infer(self, request: InferenceRequest) -> Any:
        raise Overloaded("256 requests are waiting: retry in 4 s", 4)


async def test_over_http_that_is_429_with_retry_after() -> None:
    app = RestApp(Service("m", _Full()), lambda: b"")
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.0]}]}'
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://m") as client:
        response = await client.post("/v2/models/m/infer", content=body)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "4"
    assert response.content == b'{"error":"256 requests are waiting: retry in 4 s","reason":"Overloaded"}'


class _AbortedError(Exception):
    """Ends a call."""


class _Context:
    def __init__(self) -> None:
        self.aborted: tuple[Any, ...] = ()

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> None:
        return None

    async def abort(self, *found: Any) -> None:
        self.aborted = found
        raise _AbortedError


async def test_over_grpc_the_trailing_metadata_have_the_reason_and_when_to_come_back() -> None:
    async def full(request: bytes, left: float | None) -> None:
        raise Overloaded("256 requests are waiting: retry in 4 s", 4)

    context: Any = _Context()
    with pytest.raises(_AbortedError):
        await guarded(full)(b"", context)
    assert context.aborted == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "256 requests are waiting: retry in 4 s",
        (("retry-after", "4"), ("reason", "Overloaded")),
    )
