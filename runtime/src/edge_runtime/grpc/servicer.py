"""The protocol's gRPC methods over one service."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from edge_runtime.errors import BadRequest, BadTensor, CannotAnswer, EdgeError, UnknownModel
from edge_runtime.protocol import check_shape, from_bytes
from edge_runtime.serving import LARGEST_REQUEST, MODEL_VERSION, SERVER, VERSION, Service, parameters_of
from edge_runtime.tables import Table
from edge_runtime.tensors import DATATYPES, NUMPY_TYPES, Array

_log = logging.getLogger(__name__)
# The generated messages have no types.
Message = Any

_CODES: Final = (
    (UnknownModel, grpc.StatusCode.NOT_FOUND),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (CannotAnswer, grpc.StatusCode.UNAVAILABLE),
)
_CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


class Servicer:
    """One method for each rpc, request in, response out; errors leave as EdgeError."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def server_live(self, request: Message) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: Message) -> Message:
        return pb.ServerReadyResponse(ready=self._service.ready)

    async def model_ready(self, request: Message) -> Message:
        self._service.table(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._service.ready)

    async def server_metadata(self, request: Message) -> Message:
        return pb.ServerMetadataResponse(name=SERVER, version=VERSION, extensions=["binary_tensor_data"])

    async def model_metadata(self, request: Message) -> Message:
        return pb.ModelMetadataResponse(**self._service.metadata(request.name, request.version))

    async def model_infer(self, request: Message) -> Message:
        table = self._service.table(request.model_name, request.model_version)
        for i, wanted in enumerate(request.outputs):
            if wanted.name != table.output.name:
                raise BadTensor(
                    f'outputs[{i}].name: "{wanted.name}" is not an output of the model; '
                    f"it has {table.output.name}"
                )
        answer = await self._service.dataplane.infer(_read_inputs(request, table))
        response = pb.ModelInferResponse(
            model_name=request.model_name, model_version=MODEL_VERSION, id=request.id
        )
        for key, value in parameters_of(answer).items():
            if isinstance(value, bool):
                response.parameters[key].bool_param = value
            else:
                response.parameters[key].string_param = value
        response.outputs.add(
            name=table.output.name, datatype=DATATYPES[answer.output.dtype], shape=answer.output.shape
        )
        response.raw_output_contents.append(answer.output.tobytes())
        return response


def _read_inputs(request: Message, table: Table) -> dict[str, Array]:
    expected = {t.name: t for t in table.inputs}
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadRequest(f"raw_input_contents: {len(raw)} entries for {len(request.inputs)} inputs")
    arrays: dict[str, Array] = {}
    for i, entry in enumerate(request.inputs):
        where = f"inputs[{i}]"
        tensor = expected.get(entry.name)
        if tensor is None or entry.name in arrays:
            raise BadTensor(
                f'{where}.name: "{entry.name[:80]}" is not one of the model\'s, or is given twice; '
                f"it has {', '.join(expected)}"
            )
        shape = check_shape(tensor, tuple(entry.shape), entry.datatype, where)
        if raw:
            arrays[tensor.name] = from_bytes(tensor, shape, raw[i], where)
            continue
        field = _CONTENTS.get(tensor.datatype)
        values = getattr(entry.contents, field) if field is not None else ()
        if len(values) != int(np.prod(shape)):
            raise BadTensor(
                f"{where}.contents: {len(values)} values, but {list(shape)} takes {np.prod(shape)}"
            )
        try:
            arrays[tensor.name] = np.array(values, dtype=NUMPY_TYPES[tensor.datatype]).reshape(shape)
        except OverflowError as error:
            raise BadTensor(f"{where}.contents: {error}") from error
    missing = expected.keys() - arrays.keys()
    if missing:
        raise BadTensor(
            f"inputs: {', '.join(sorted(missing))} is missing; the model has {', '.join(expected)}"
        )
    return arrays


def _guarded(
    method: Callable[[Message], Awaitable[Message]],
) -> Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message]]:
    async def call(request: Message, context: grpc.aio.ServicerContext) -> Message:
        try:
            return await method(request)
        except EdgeError as error:
            code = next((c for kind, c in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
            await context.abort(code, str(error))
        except Exception:
            _log.exception("gRPC %s", method.__name__)
            await context.abort(
                grpc.StatusCode.INTERNAL, "the server failed on this request; its log says why"
            )
        raise AssertionError("abort raises")

    return call


def grpc_server(service: Service, address: str) -> tuple[grpc.aio.Server, int]:
    """A server that is not started yet, and the port it is bound to."""
    servicer = Servicer(service)
    methods = {
        "ServerLive": (servicer.server_live, pb.ServerLiveRequest),
        "ServerReady": (servicer.server_ready, pb.ServerReadyRequest),
        "ModelReady": (servicer.model_ready, pb.ModelReadyRequest),
        "ServerMetadata": (servicer.server_metadata, pb.ServerMetadataRequest),
        "ModelMetadata": (servicer.model_metadata, pb.ModelMetadataRequest),
        "ModelInfer": (servicer.model_infer, pb.ModelInferRequest),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(method), request_deserializer=kind.FromString, response_serializer=_serialize
        )
        for name, (method, kind) in methods.items()
    }
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", LARGEST_REQUEST),
            ("grpc.max_send_message_length", LARGEST_REQUEST),
            ("grpc.so_reuseport", 0),
        ]
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
    )
    return server, server.add_insecure_port(address)


def _serialize(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data
