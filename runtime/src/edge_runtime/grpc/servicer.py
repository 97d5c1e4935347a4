"""The protocol's gRPC methods over one service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import grpc
from tritonclient.grpc import service_pb2 as pb

from edge_runtime.errors import (
    BadRequest,
    CannotAnswer,
    CannotListen,
    EdgeError,
    QueueFull,
    UnknownModel,
)
from edge_runtime.grpc.messages import Message, read_request, set_parameter, write_response
from edge_runtime.protocol.contents import LARGEST_REQUEST
from edge_runtime.serving import EXTENSIONS, SERVER, VERSION, Service

_log = logging.getLogger(__name__)

_CODES: Final = (
    (UnknownModel, grpc.StatusCode.NOT_FOUND),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (QueueFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (CannotAnswer, grpc.StatusCode.UNAVAILABLE),
)
_FAILED: Final = "the server failed on this request; its log says why"
_LARGEST_MESSAGE: Final = LARGEST_REQUEST + (1 << 20)  # names, shapes and parameters beside the tensors


class Servicer:
    """One method for each rpc, request in, response out; errors leave as EdgeError."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def server_live(self, request: Message) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: Message) -> Message:
        return pb.ServerReadyResponse(ready=self._service.ready)

    async def model_ready(self, request: Message) -> Message:
        self._service.check(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._service.ready)

    async def server_metadata(self, request: Message) -> Message:
        return pb.ServerMetadataResponse(name=SERVER, version=VERSION, extensions=EXTENSIONS)

    async def model_metadata(self, request: Message) -> Message:
        return pb.ModelMetadataResponse(**self._service.metadata(request.name, request.version))

    async def repository_index(self, request: Message) -> Message:
        return pb.RepositoryIndexResponse(models=self._service.index(request.ready))

    async def repository_change(self, request: Message) -> Message:
        raise BadRequest("models come and go with the placement here, not by request")

    async def model_infer(self, request: Message) -> Message:
        contract = self._service.contract(request.model_name, request.model_version)
        asked = read_request(request, contract)
        wanted = [name for name, _ in asked.outputs]
        answer = await self._service.backend.infer(asked.inputs, wanted, asked.timeout)
        return write_response(request.model_name, asked, contract, answer)

    async def model_stream_infer(
        self, requests: AsyncIterator[Message], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Message]:
        """Answers in the order of the requests; an error is the answer to its request and ends nothing."""
        async for request in requests:
            try:
                response = await self.model_infer(request)
            except EdgeError as error:
                yield _stream_error(request, str(error))
            except Exception:
                _log.exception("gRPC ModelStreamInfer")
                yield _stream_error(request, _FAILED)
            else:
                if "triton_enable_empty_final_response" in request.parameters:
                    set_parameter(response, "triton_final_response", True)
                yield pb.ModelStreamInferResponse(infer_response=response)


def _stream_error(request: Message, sentence: str) -> Message:
    told = pb.ModelStreamInferResponse(error_message=sentence)
    told.infer_response.id = request.id
    return told


def _guarded(
    method: Callable[[Message], Awaitable[Message]],
) -> Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message]]:
    async def call(request: Message, context: grpc.aio.ServicerContext) -> Message:
        try:
            return await method(request)
        except EdgeError as error:
            code = next((c for kind, c in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
            trailing = (("retry-after", str(error.retry_after)),) if isinstance(error, QueueFull) else ()
            await context.abort(code, str(error), trailing)
        except Exception:
            _log.exception("gRPC %s", method.__name__)
            await context.abort(grpc.StatusCode.INTERNAL, _FAILED)
        raise AssertionError("abort raises")

    return call


def grpc_server(service: Service, *addresses: str) -> tuple[grpc.aio.Server, list[int]]:
    """A server that is not started yet, and the ports it is bound to; CannotListen when one is taken.

    An address is `host:port`, or `unix:/path` of a socket.
    """
    servicer = Servicer(service)
    methods = {
        "ServerLive": (servicer.server_live, pb.ServerLiveRequest),
        "ServerReady": (servicer.server_ready, pb.ServerReadyRequest),
        "ModelReady": (servicer.model_ready, pb.ModelReadyRequest),
        "ServerMetadata": (servicer.server_metadata, pb.ServerMetadataRequest),
        "ModelMetadata": (servicer.model_metadata, pb.ModelMetadataRequest),
        "ModelInfer": (servicer.model_infer, pb.ModelInferRequest),
        "RepositoryIndex": (servicer.repository_index, pb.RepositoryIndexRequest),
        "RepositoryModelLoad": (servicer.repository_change, pb.RepositoryModelLoadRequest),
        "RepositoryModelUnload": (servicer.repository_change, pb.RepositoryModelUnloadRequest),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(method), request_deserializer=kind.FromString, response_serializer=_serialize
        )
        for name, (method, kind) in methods.items()
    }
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
        servicer.model_stream_infer,
        request_deserializer=pb.ModelInferRequest.FromString,
        response_serializer=_serialize,
    )
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
    )
    ports = []
    for address in addresses:
        try:
            ports.append(server.add_insecure_port(address))
        except RuntimeError as error:
            raise CannotListen(
                f"{address}: gRPC cannot listen there; free the port or name another"
            ) from error
    return server, ports


def _serialize(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data
