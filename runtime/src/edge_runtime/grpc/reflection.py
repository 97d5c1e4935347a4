"""Which services there are and what their messages look like, for callers such as grpcurl."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc

from edge_runtime.errors import BadRequest
from edge_runtime.grpc.messages import Message
from edge_runtime.grpc.servicer import serialize
from edge_runtime.grpc.wire import parse

REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"
# The same messages under the name that newer callers ask by; Python has no classes for its description.
REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"


def reflection_handlers(services: Sequence[str]) -> dict[str, grpc.RpcMethodHandler]:
    """What answers for these services, whose descriptions are those of the generated classes."""
    handler: Any = None  # made when somebody asks: importing it would be a tenth of the start

    async def info(
        messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Message]:
        nonlocal handler
        if handler is None:
            handler = await asyncio.to_thread(_handler, services)
        servicer, kind = handler

        async def requests() -> AsyncIterator[Message]:
            async for message in messages:
                yield parse(message, kind)

        try:
            async for answer in servicer.ServerReflectionInfo(requests(), context):
                yield answer
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    return {
        "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(info, response_serializer=serialize)
    }


def _handler(services: Sequence[str]) -> tuple[Any, Any]:
    """GRPC's own servicer, and the class of its requests."""
    from grpc_reflection.v1alpha import reflection, reflection_pb2

    return reflection.aio.ReflectionServicer(services), reflection_pb2.ServerReflectionRequest
