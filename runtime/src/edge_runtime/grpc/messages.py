"""Reads and writes the protocol's gRPC messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, Final

from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as pb

from edge_api.words import shown
from edge_runtime.errors import BadRequest, BadTensor
from edge_runtime.json_values import Json
from edge_runtime.protocol.classification import class_count
from edge_runtime.protocol.contents import check_shape, from_bytes, from_values
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.parameters import parameters_of
from edge_runtime.protocol.requests import check_output
from edge_runtime.protocol.shared_slots import REGION, slot_of
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory, Slot
from edge_runtime.tensors import Array, Contract, Tensor

# The generated messages have no types.
Message = Any

# FP16 and BF16 have no typed field: they are sent raw.
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
    "BYTES": "bytes_contents",
}


def read_request(
    request: Message, contract: Contract, memory: SharedMemory = NO_SHARED_MEMORY
) -> DecodedRequest:
    """Reads a request by the model's contract. Raises BadRequest."""
    wanted: dict[str, bool] = {}
    classes: dict[str, int] = {}
    slots: dict[str, Slot] = {}
    for i, entry in enumerate(request.outputs):
        where = f"outputs[{i}]"
        check_output(entry.name, wanted, contract, where)
        if slot := slot_of(partial(_parameter, entry), where):
            slots[entry.name] = slot
        tensor = contract.outputs_by_name[entry.name]
        if count := class_count(_parameter(entry, "classification"), tensor, where):
            classes[entry.name] = count
        wanted[entry.name] = True
    named = bool(wanted)
    if not named:
        wanted = {t.name: True for t in contract.outputs}
    parameters = parameters_of(partial(_parameter, request))
    inputs = _read_inputs(request, contract, memory)
    shared = any(REGION in entry.parameters for entry in request.inputs)
    outputs = tuple(wanted.items())
    return DecodedRequest(inputs, outputs, request.id, parameters, named, classes, slots, shared)


def config_response(configuration: Mapping[str, Json]) -> Message:
    """The response to ModelConfig."""
    return ParseDict({"config": configuration}, pb.ModelConfigResponse())


def statistics_response(statistics: Sequence[Mapping[str, Json]]) -> Message:
    """The response to ModelStatistics."""
    return ParseDict({"model_stats": statistics}, pb.ModelStatisticsResponse())


def _parameter(entry: Message, name: str) -> Json:
    """The value of a parameter of a request or of one of its outputs; None if it is missing."""
    if not entry.parameters or name not in entry.parameters:
        return None
    given = entry.parameters[name]
    return getattr(given, given.WhichOneof("parameter_choice") or "int64_param")


def _read_inputs(request: Message, contract: Contract, memory: SharedMemory) -> dict[str, Array]:
    expected = contract.inputs_by_name
    raw: Sequence[bytes] = request.raw_input_contents
    sent = sum(REGION not in entry.parameters for entry in request.inputs)
    if raw and len(raw) != sent:
        raise BadRequest(f"raw_input_contents: {len(raw)} entries for {sent} inputs")
    left = iter(raw)
    arrays: dict[str, Array] = {}
    for i, entry in enumerate(request.inputs):
        where = f"inputs[{i}]"
        tensor = expected.get(entry.name)
        if tensor is None:
            raise BadTensor(
                f"{where}.name: {shown(entry.name)} is not an input of the model: use {', '.join(expected)}"
            )
        if tensor.name in arrays:
            raise BadTensor(f'{where}.name: "{tensor.name}" is given twice: send each input once')
        shape = check_shape(tensor, list(entry.shape), entry.datatype, where)
        slot = slot_of(partial(_parameter, entry), where)
        if (raw or slot is not None) and entry.HasField("contents"):
            other = REGION if slot is not None else "raw_input_contents"
            raise BadTensor(f"{where}.contents: given in addition to {other}: send one of the two")
        if slot is not None:
            arrays[tensor.name] = from_bytes(tensor, shape, memory.read(slot, where), where)
        elif raw:
            arrays[tensor.name] = from_bytes(tensor, shape, next(left), where)
        else:
            arrays[tensor.name] = _typed(tensor, shape, entry.contents, f"{where}.contents")
    if len(arrays) != len(expected):
        missing = sorted(expected.keys() - arrays.keys())
        raise BadTensor(f"inputs: {', '.join(missing)} is missing: send {', '.join(expected)}")
    return arrays


def _typed(tensor: Tensor, shape: tuple[int, ...], contents: Message, where: str) -> Array:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise BadTensor(f"{where}: {tensor.datatype} has no typed field: send raw_input_contents")
    values = getattr(contents, field)
    if len(values) != prod(shape):
        raise BadTensor(f"{where}.{field}: {len(values)} values, but shape {list(shape)} needs {prod(shape)}")
    return from_values(tensor, shape, values, f"{where}.{field}")


def register_region(memory: SharedMemory, request: Message) -> Message:
    """Registers the region of a SystemSharedMemoryRegisterRequest; returns the response."""
    memory.register(request.name, request.key, request.offset, request.byte_size)
    return pb.SystemSharedMemoryRegisterResponse()


def regions_response(memory: SharedMemory, name: str) -> Message:
    """The response to SystemSharedMemoryStatus."""
    return ParseDict(
        {"regions": {each["name"]: each for each in memory.status(name)}},
        pb.SystemSharedMemoryStatusResponse(),
    )
