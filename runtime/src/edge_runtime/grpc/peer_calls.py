"""Refuses gRPC calls over TLS whose client is not admitted at the ports for other nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from edge_runtime.errors import Forbidden
from edge_runtime.tls.peers import NamespacePeers

Context = grpc.aio.ServicerContext[Any, Any]


class PeerCalls(grpc.aio.ServerInterceptor):
    """Admits calls of every service. Those without TLS arrive at the port for clients and always pass."""

    def __init__(self, peers: NamespacePeers) -> None:
        self._peers = peers

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:  # noqa: ANN401 - grpc has no types
        handler = await continuation(details)
        if handler is None:
            return None
        if handler.unary_unary is not None:
            return handler._replace(unary_unary=self._call(handler.unary_unary))
        kind = "unary_stream" if handler.unary_stream is not None else "stream_stream"
        return handler._replace(**{kind: self._stream(getattr(handler, kind))})

    def _call(self, method: Callable[[Any, Context], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as grpc has it
        async def call(message: Any, context: Context) -> Any:  # noqa: ANN401 - as grpc has it
            await self._admit(context)
            return await method(message, context)

        return call

    def _stream(self, method: Callable[[Any, Context], AsyncIterator[Any]]) -> Any:  # noqa: ANN401 - as grpc has it
        async def stream(messages: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - as grpc has it
            await self._admit(context)
            async for answer in method(messages, context):
                yield answer

        return stream

    async def _admit(self, context: Context) -> None:
        shown = context.auth_context()
        if b"ssl" not in shown.get("transport_security_type", ()):
            return
        names = [name.decode("latin-1") for name in shown.get("x509_subject_alternative_name", ())]
        try:
            self._peers.admit("grpc", names)
        except Forbidden as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
