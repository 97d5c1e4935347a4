"""grpc.health.v1, which Kubernetes and gRPC clients call before they send requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from edge_runtime.errors import BadRequest, NotReady, UnknownModel
from edge_runtime.grpc.messages import Message
from edge_runtime.grpc.servicer import guarded, serialize
from edge_runtime.grpc.wire import parse
from edge_runtime.serving import Models

HEALTH: Final = "grpc.health.v1.Health"
_EVERY: Final = 0.25
_MOST_NAMED: Final = 10
_STATUS: Final = health_pb2.HealthCheckResponse


class Health:
    """Health by name: of the server (empty, or the InferenceService's name) and of each model."""

    def __init__(self, models: Models, inference: str, every: float = _EVERY) -> None:
        """inference: name of the InferenceService. every: seconds between checks of a watched status."""
        self._models, self._names, self._every = models, ("", inference), every

    def status(self, name: str) -> int:
        """SERVING, NOT_SERVING or SERVICE_UNKNOWN."""
        try:
            ready = self._models.ready if name in self._names else self._models.model_ready(name)
        except UnknownModel:
            return int(_STATUS.SERVICE_UNKNOWN)
        except NotReady:
            return int(_STATUS.NOT_SERVING)
        return int(_STATUS.SERVING if ready else _STATUS.NOT_SERVING)

    async def check(self, request: Message) -> Message:
        """The current status. Raises UnknownModel for a name that is not served."""
        status = self.status(request.service)
        if status == _STATUS.SERVICE_UNKNOWN:
            models = [entry["name"] for entry in self._models.index(only_ready=False)]
            names = ", ".join(name for name in (*self._names, *models[:_MOST_NAMED]) if name)
            raise UnknownModel(
                f'service: "{request.service[:80]}" is not served here: request {names}, or leave it empty'
            )
        return _STATUS(status=status)

    async def watch(
        self, message: bytes, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Message]:
        """The status, and again after each change, until the server shuts down."""
        try:
            request = parse(message, health_pb2.HealthCheckRequest)
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        last = None
        while True:
            ends = self._models.draining
            status = self.status(request.service)
            if status != last:
                last = status
                yield _STATUS(status=status)
            if ends:
                return
            await asyncio.sleep(self._every)


def health_handlers(models: Models, inference: str) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Handlers of the methods of the health service."""
    health = Health(models, inference)
    check = guarded(health.check, health_pb2.HealthCheckRequest)
    return {
        "Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=serialize),
        "Watch": grpc.unary_stream_rpc_method_handler(health.watch, response_serializer=serialize),
    }
