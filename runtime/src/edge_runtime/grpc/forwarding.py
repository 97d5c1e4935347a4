"""Forwards gRPC calls for services that only other nodes serve, unchanged and at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc

from edge_runtime.errors import DeadlinePassed, EdgeError, NotReady, UnknownModel
from edge_runtime.service_nodes import MARKER, WITHIN, ServiceNodes
from edge_runtime.tls.certificates import Certificates, Material
from edge_runtime.tracing.contexts import current

_CLOSING: Final = 5.0  # seconds for calls in flight on a channel with former certificates
_OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class ForwardedError(EdgeError):
    """The error of another node, with its code."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class GrpcForwarder:
    """Calls the runtimes of other nodes.

    target: the address of the runtime at a node, `host:port`. secured: whether it is called by TLS.
    """

    def __init__(
        self,
        nodes: ServiceNodes,
        target: Callable[[str], str],
        certificates: Certificates | None = None,
        on_end: Callable[[str], None] = lambda _: None,
        secured: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """on_end: called with the outcome of each call: `ok`, `late` or `failed`."""
        self._nodes, self._target, self._certificates, self._on_end = nodes, target, certificates, on_end
        self._secured = secured
        self._channels: dict[str, tuple[grpc.aio.Channel, Material | None]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def call(self, model: str, method: str, message: bytes, within: float | None = None) -> bytes:
        """Returns the response of another node to a message, within the call's deadline.

        A node that does not know the model has not run anything, so another one is tried.
        Raises UnknownModel if no node serves the model, ForwardedError with the other node's error,
        DeadlinePassed, and NotReady if none can be reached.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (WITHIN if within is None else within)
        said, unknown = "", None
        async for node in self._nodes.tries(model):
            try:
                found = await self._ask(node, model, method, message, until - loop.time())
            except grpc.aio.AioRpcError as error:
                code = error.code()
                if code is grpc.StatusCode.UNAVAILABLE:
                    self._nodes.unreachable(node)
                    said = f"node {node}: {error.details()}"
                    continue
                if code is grpc.StatusCode.NOT_FOUND:
                    self._nodes.doubt(model)
                    unknown = ForwardedError(code, error.details() or "")
                    continue
                if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    self._on_end("late")
                    raise DeadlinePassed(f"model {model}: node {node}: {error.details()}") from None
                self._on_end("ok")
                raise ForwardedError(code, error.details() or "") from None
            self._on_end("ok")
            return found
        if said:
            self._on_end("failed")
            raise NotReady(f"model {model} is not served here, and another node cannot answer: {said}")
        if unknown is not None:
            self._on_end("ok")
            raise unknown
        raise UnknownModel(
            f'Request for unknown model "{model[:80]}": no node of the namespace serves it: '
            "request a model of the repository index, or check kubectl get placements"
        )

    async def close(self) -> None:
        """Closes the channels."""
        for channel, _ in self._channels.values():
            await channel.close()
        await asyncio.gather(*self._closing)

    async def _ask(self, node: str, model: str, method: str, message: bytes, left: float) -> bytes:
        target = self._target(node)
        with current.get().hop(f"grpc://{target}", node, model) as trace:
            lines = [line.split(": ", 1) for line in trace.lines.splitlines()]
            metadata = ((MARKER, "1"), *((name, value) for name, value in lines))
            call: Any = self._channel(node, target).unary_unary(f"/{method}")
            found: bytes = await call(message, timeout=max(left, 0.001), metadata=metadata)
            return found

    def _channel(self, node: str, target: str) -> grpc.aio.Channel:
        """The channel to a node; a new one after a change of the certificates."""
        certificates = self._certificates if self._secured(node) else None
        material = certificates.current if certificates is not None else None
        known = self._channels.get(node)
        if known is not None and known[1] is material:
            return known[0]
        if known is not None:
            closing = asyncio.create_task(known[0].close(_CLOSING))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        if material is None:
            channel = grpc.aio.insecure_channel(target, _OPTIONS)
        else:
            keys = grpc.ssl_channel_credentials(material.authority, material.key, material.chain)
            channel = grpc.aio.secure_channel(target, keys, _OPTIONS)
        self._channels[node] = (channel, material)
        return channel
