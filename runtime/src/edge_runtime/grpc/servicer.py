"""The gRPC methods of the protocol."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2 as pb

from edge_runtime.errors import (
    BadRequest,
    CannotAnswer,
    DeadlinePassed,
    EdgeError,
    Overloaded,
    UnknownModel,
)
from edge_runtime.grpc.forwarding import ForwardedError, GrpcForwarder
from edge_runtime.grpc.messages import Message, read_request
from edge_runtime.grpc.wire import model_name, parse, take_apart, write_response, write_stream_response
from edge_runtime.protocol.header_layouts import HeaderCache, layout_of
from edge_runtime.protocol.requests import DecodedRequest
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.service_nodes import MARKER
from edge_runtime.serving import EXTENSIONS, SERVER, VERSION, Models
from edge_runtime.tensors import Contract
from edge_runtime.tracing.contexts import carry, current

_log = logging.getLogger(__name__)

INFERENCE: Final = "inference.GRPCInferenceService"

_CODES: Final = (
    (UnknownModel, grpc.StatusCode.NOT_FOUND),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlinePassed, grpc.StatusCode.DEADLINE_EXCEEDED),
    (CannotAnswer, grpc.StatusCode.UNAVAILABLE),
)
_FORWARDED: Final = ("ModelReady", "ModelMetadata")
_MOST_MODELS: Final = 1024
_FINAL: Final = "triton_enable_empty_final_response"
_FAILED: Final = "internal error: see the server's log"


class Elsewhere:
    """One method's calls for models that only other nodes serve. A call is forwarded once at most."""

    def __init__(self, models: Models, forwarder: GrpcForwarder, method: str) -> None:
        self._models, self._forwarder, self._method = models, forwarder, f"{INFERENCE}/{method}"

    def concerns(self, message: bytes, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Whether to forward a message with this metadata, whose first field is the name of a model."""
        model = model_name(message)
        return bool(model) and not self._models.serves(model) and all(key != MARKER for key, _ in metadata)

    async def call(self, message: bytes, within: float | None) -> bytes:
        """Returns the other node's response."""
        return await self._forwarder.call(model_name(message), self._method, message, within)


class Servicer:
    """One method for each rpc, from request to response. Errors are raised as EdgeError."""

    def __init__(self, models: Models, elsewhere: Elsewhere | None = None) -> None:
        """elsewhere: forwards requests of streams."""
        self._models, self._elsewhere = models, elsewhere
        self._header_caches: dict[str, HeaderCache] = {}

    async def server_live(self, request: Message) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: Message) -> Message:
        return pb.ServerReadyResponse(ready=self._models.ready)

    async def model_ready(self, request: Message) -> Message:
        return pb.ModelReadyResponse(ready=self._models.model_ready(request.name, request.version))

    async def server_metadata(self, request: Message) -> Message:
        return pb.ServerMetadataResponse(name=SERVER, version=VERSION, extensions=EXTENSIONS)

    async def model_metadata(self, request: Message) -> Message:
        return pb.ModelMetadataResponse(**self._models.metadata(request.name, request.version))

    async def repository_index(self, request: Message) -> Message:
        return pb.RepositoryIndexResponse(models=self._models.index(only_ready=request.ready))

    async def repository_change(self, request: Message) -> Message:
        raise BadRequest("models are loaded and unloaded with the placement, not by request")

    async def model_infer(self, message: bytes, within: float | None = None) -> bytes:
        known = self._known(message)
        if known is not None:
            model, contract, decoded = known
        else:
            request = parse(message, pb.ModelInferRequest)
            model, contract, decoded = self._read(request)
            self._keep(message, request, contract, decoded)
        return write_response(model, decoded, contract, await self._infer(model, decoded, within))

    async def model_stream_infer(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        """Yields responses in the order of the requests. An error is the response to its request only."""
        metadata = context.invocation_metadata() or ()
        carry(metadata)
        async for message in messages:
            identity = ""
            try:
                request = parse(message, pb.ModelInferRequest)
                identity = request.id
                if self._elsewhere is not None and self._elsewhere.concerns(message, metadata):
                    found = await self._elsewhere.call(message, None)
                    yield write_stream_response(_final(found) if _FINAL in request.parameters else found)
                    continue
                model, contract, decoded = self._read(request)
                response = await self._infer(model, decoded)
                if _FINAL in request.parameters:
                    last = {**response.parameters, "triton_final_response": True}
                    response = replace(response, parameters=last)
                yield write_stream_response(write_response(model, decoded, contract, response))
            except EdgeError as error:
                yield _stream_error(identity, str(error))
            except Exception:
                _log.exception("gRPC ModelStreamInfer")
                yield _stream_error(identity, _FAILED)

    def _read(self, request: Message) -> tuple[str, Contract, DecodedRequest]:
        contract = self._models.contract(request.model_name, request.model_version)
        return request.model_name, contract, read_request(request, contract)

    async def _infer(
        self, model: str, decoded: DecodedRequest, within: float | None = None
    ) -> InferenceResponse:
        """Infers within the request's timeout or the call's deadline, whichever is less."""
        limits = [limit for limit in (decoded.timeout, within) if limit is not None]
        within = min(limits, default=None)
        inference_request = InferenceRequest(decoded.inputs, decoded.wanted, within, decoded.stream)
        response = await self._models.ask(model, inference_request)
        current.get().answered(response.parameters)
        return response

    def _known(self, message: bytes) -> tuple[str, Contract, DecodedRequest] | None:
        """Reads a request whose header was seen before, without the generated classes."""
        parts = take_apart(message)
        if parts is None or not parts.id.isascii():
            return None
        model = model_name(parts.header)
        header_cache = self._header_caches.get(model)
        if header_cache is None:
            return None
        contract = self._models.contract(model)
        layout = header_cache.find(contract, parts.header)
        arrays = layout.arrays(parts.raw) if layout is not None else None
        if layout is None or arrays is None:
            return None
        request = DecodedRequest(
            arrays, layout.outputs, parts.id.decode("ascii"), layout.timeout, layout.stream, layout.named
        )
        return model, contract, request

    def _keep(self, message: bytes, request: Message, contract: Contract, decoded: DecodedRequest) -> None:
        parts = take_apart(message)
        if parts is not None:
            order = [entry.name for entry in request.inputs]
            layout = layout_of(
                decoded.inputs,
                order,
                contract,
                outputs=decoded.outputs,
                request_id="",
                timeout=decoded.timeout,
                stream=decoded.stream,
                named=decoded.named,
            )
            if layout is not None and model_name(parts.header) == request.model_name:
                if len(self._header_caches) >= _MOST_MODELS:  # of services and tables that are long gone
                    self._header_caches.clear()
                header_cache = self._header_caches.setdefault(request.model_name, HeaderCache())
                header_cache.keep(contract, parts.header, layout)


def _final(response: bytes) -> bytes:
    """The response of another node, marked as the last one to its request."""
    marked = parse(response, pb.ModelInferResponse)
    marked.parameters["triton_final_response"].bool_param = True
    return serialize(marked)


def _stream_error(identity: str, sentence: str) -> bytes:
    told = pb.ModelStreamInferResponse(error_message=sentence)
    told.infer_response.id = identity
    return serialize(told)


def guarded(
    method: Callable[..., Awaitable[Message]], kind: Message = None, elsewhere: Elsewhere | None = None
) -> Callable[[bytes, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]:
    """Wraps a method so that its errors become gRPC errors.

    `kind` is the request's class; without one the method receives the bytes and the remaining time.
    `elsewhere` forwards calls for models that only other nodes serve.
    """

    async def call(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        try:
            if elsewhere is not None and elsewhere.concerns(request, context.invocation_metadata() or ()):
                carry(context.invocation_metadata() or ())
                return await elsewhere.call(request, context.time_remaining())
            if kind is not None:
                return await method(parse(request, kind))
            carry(context.invocation_metadata() or ())
            return await method(request, context.time_remaining())
        except ForwardedError as error:
            await context.abort(error.code, str(error))
        except EdgeError as error:
            code = next((c for kind, c in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
            trailing = _trailing(error) if isinstance(error, Overloaded) else ()
            await context.abort(code, str(error), trailing)
        except Exception:
            _log.exception("gRPC %s", method.__name__)
            await context.abort(grpc.StatusCode.INTERNAL, _FAILED)
        raise AssertionError("abort raises")

    return call


def _trailing(error: Overloaded) -> tuple[tuple[str, str], ...]:
    """When to send the call again, and why not now."""
    return ("retry-after", str(error.retry_after)), ("reason", error.reason)


def inference_handlers(
    models: Models, forwarder: GrpcForwarder | None = None
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Handlers of the methods of the protocol. forwarder: for models that only other nodes serve."""

    def elsewhere(method: str) -> Elsewhere | None:
        return Elsewhere(models, forwarder, method) if forwarder is not None else None

    servicer = Servicer(models, elsewhere("ModelInfer"))
    methods = {
        "ServerLive": (servicer.server_live, pb.ServerLiveRequest),
        "ServerReady": (servicer.server_ready, pb.ServerReadyRequest),
        "ModelReady": (servicer.model_ready, pb.ModelReadyRequest),
        "ServerMetadata": (servicer.server_metadata, pb.ServerMetadataRequest),
        "ModelMetadata": (servicer.model_metadata, pb.ModelMetadataRequest),
        "RepositoryIndex": (servicer.repository_index, pb.RepositoryIndexRequest),
        "RepositoryModelLoad": (servicer.repository_change, pb.RepositoryModelLoadRequest),
        "RepositoryModelUnload": (servicer.repository_change, pb.RepositoryModelUnloadRequest),
    }
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(
            guarded(method, kind, elsewhere(name) if name in _FORWARDED else None),
            response_serializer=serialize,
        )
        for name, (method, kind) in methods.items()
    }
    # These two take and return bytes: see `wire`.
    handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(
        guarded(servicer.model_infer, None, elsewhere("ModelInfer"))
    )
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(servicer.model_stream_infer)
    return handlers


def serialize(message: Message) -> bytes:
    """The bytes of a message, or of one that another node has serialized."""
    if isinstance(message, bytes):
        return message
    data: bytes = message.SerializeToString()
    return data
