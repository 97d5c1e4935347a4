"""Reads and writes the protocol's gRPC messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest, BadTensor
from edge_runtime.json_values import Json
from edge_runtime.protocol.contents import check_shape, from_bytes, from_values
from edge_runtime.protocol.requests import DecodedRequest, check_output, stream_of, timeout_of
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


def read_request(request: Message, contract: Contract) -> DecodedRequest:
    """Reads a request by the model's contract. Raises BadRequest."""
    wanted: dict[str, bool] = {}
    for i, entry in enumerate(request.outputs):
        check_output(entry.name, wanted, contract, f"outputs[{i}]")
        _refuse(entry.parameters, f"outputs[{i}]")
        wanted[entry.name] = True
    named = bool(wanted)
    if not named:
        wanted = {t.name: True for t in contract.outputs}
    timeout = timeout_of(_parameter(request, "timeout"))
    stream = stream_of(_parameter(request, "sequence_id"))
    inputs = _read_inputs(request, contract)
    return DecodedRequest(inputs, tuple(wanted.items()), request.id, timeout, stream, named)


def _parameter(request: Message, name: str) -> Json:
    """The value of a request's parameter; None if it is missing."""
    if not request.parameters or name not in request.parameters:
        return None
    given = request.parameters[name]
    return getattr(given, given.WhichOneof("parameter_choice") or "int64_param")


def _read_inputs(request: Message, contract: Contract) -> dict[str, Array]:
    expected = contract.inputs_by_name
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadRequest(f"raw_input_contents: {len(raw)} entries for {len(request.inputs)} inputs")
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
        if entry.parameters:
            _refuse(entry.parameters, where)
        if not raw:
            arrays[tensor.name] = _typed(tensor, shape, entry.contents, f"{where}.contents")
            continue
        if entry.HasField("contents"):
            raise BadTensor(f"{where}.contents: given in addition to raw_input_contents: send one of the two")
        arrays[tensor.name] = from_bytes(tensor, shape, raw[i], where)
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


def _refuse(parameters: Message, where: str) -> None:
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise BadRequest(
                f"{where}.parameters.{name}: not supported: send and request the values directly"
            )
