"""A span around each inference over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from edge_runtime.tracing.contexts import read
from edge_runtime.tracing.spans import Spans, TracedRequest


class TracedCalls(grpc.aio.ServerInterceptor):
    """Traces ModelInfer and ModelStreamInfer; a stream is one span."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:  # noqa: ANN401 - grpc has no types
        handler = await continuation(details)
        name = details.method.lstrip("/")
        if handler is None or not name.endswith(("/ModelInfer", "/ModelStreamInfer")):
            return handler

        def begun() -> TracedRequest:
            service, method = name.rsplit("/", 1)
            attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
            return self._spans.request(name, read(details.invocation_metadata), attributes)

        async def call(message: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            with begun() as request:
                try:
                    answer: bytes = await handler.unary_unary(message, context)
                    return answer
                finally:
                    request.grpc_status(_number(context.code()))

        async def stream(
            messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[bytes]:
            with begun() as request:
                try:
                    async for answer in handler.stream_stream(messages, context):
                        yield answer
                finally:
                    request.grpc_status(_number(context.code()))

        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(call)
        return grpc.stream_stream_rpc_method_handler(stream)


def _number(code: grpc.StatusCode | int | None) -> int:
    number: int = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0
    return number
