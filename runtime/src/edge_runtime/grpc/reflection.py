"""Server reflection: services and message descriptions for clients such as grpcurl."""

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
# The same messages under the name that newer clients use; Python has no classes for its descriptor.
REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"


def reflection_handlers(services: Sequence[str]) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Reflection handlers for these services, with the descriptors of the generated classes."""
    handler: Any = None  # created on the first call: importing it would take a tenth of the start-up time

    async def info(
        messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
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
    """The servicer of gRPC, and its request class."""
    from grpc_reflection.v1alpha import reflection, reflection_pb2

    return reflection.aio.ReflectionServicer(services), reflection_pb2.ServerReflectionRequest
