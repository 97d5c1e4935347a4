"""The Open Inference Protocol v2 over HTTP, with the binary tensor extension: bytes to values and back.

Used on both sides: by the server for callers, by the hop for the next server. Sizes are checked against the
declared shapes before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import orjson

from edge_runtime.documents import Json
from edge_runtime.errors import BadRequest, BadTensor
from edge_runtime.tensors import DATATYPES, NUMPY_TYPES, Array, Tensor

HEADER_LENGTH: Final = "inference-header-content-length"
_LARGEST_BATCH: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request as it was asked: inputs by name. `binary` is whether each output goes out as raw bytes."""

    inputs: Mapping[str, Array]
    id: str = ""
    binary: bool = False


def decode_request(
    body: bytes, header_length: str | None, inputs: Sequence[Tensor], output: str
) -> InferRequest:
    """Reads a request for a model with these inputs and this output; BadRequest with a sentence."""
    header, raw = split(body, header_length)
    if not isinstance(header, dict):
        raise BadRequest(f"body: a JSON object is expected, not {_short(header)}")
    identity = header.get("id", "")
    if not isinstance(identity, str):
        raise BadRequest(f"id: {_short(identity)} is not a string")
    arrays = _decode_tensors(header.get("inputs"), raw, {t.name: t for t in inputs}, "inputs")
    return InferRequest(arrays, identity, _wants_binary(header, output))


def _wants_binary(header: Json, output: str) -> bool:
    parameters = header.get("parameters") or {}
    binary = isinstance(parameters, dict) and bool(parameters.get("binary_data_output"))
    wanted = header.get("outputs")
    if wanted is None:
        return binary
    if not isinstance(wanted, list):
        raise BadRequest(f"outputs: {_short(wanted)} is not a list")
    for i, entry in enumerate(wanted):
        name = entry.get("name") if isinstance(entry, dict) else None
        if name != output:
            raise BadTensor(
                f"outputs[{i}].name: {_short(name)} is not an output of the model; it has {output}"
            )
        parameters = entry.get("parameters") or {}
        if isinstance(parameters, dict) and "binary_data" in parameters:
            binary = bool(parameters["binary_data"])
    return binary


def encode_request(
    tensors: Sequence[Tensor], arrays: Sequence[Array], outputs: Sequence[str]
) -> list[bytes | memoryview]:
    """A request in the binary form: the JSON header, then each input's bytes without a copy."""
    header = {
        "inputs": [
            {
                "name": t.name,
                "shape": a.shape,
                "datatype": t.datatype,
                "parameters": {"binary_data_size": a.nbytes},
            }
            for t, a in zip(tensors, arrays, strict=True)
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    return [orjson.dumps(header), *(_raw(a) for a in arrays)]


def decode_response(body: bytes, header_length: str | None, outputs: Sequence[Tensor]) -> list[Array]:
    """The outputs of a response in the order asked for; BadRequest when they are not what was asked for."""
    header, raw = split(body, header_length)
    found = header.get("outputs") if isinstance(header, dict) else None
    arrays = _decode_tensors(found, raw, {t.name: t for t in outputs}, "outputs")
    return [arrays[t.name] for t in outputs]


def encode_response(
    model: str, request_id: str, output: str, array: Array, parameters: Mapping[str, Json], binary: bool
) -> tuple[bytes, int | None]:
    """A response's body, and the length of its JSON header where raw bytes follow."""
    described: dict[str, Json] = {"name": output, "datatype": DATATYPES[array.dtype], "shape": array.shape}
    if binary:
        described["parameters"] = {"binary_data_size": array.nbytes}
    else:
        described["data"] = array.ravel().tolist()
    document: dict[str, Json] = {"model_name": model, "model_version": "1"}
    if request_id:
        document["id"] = request_id
    document |= {"parameters": parameters, "outputs": [described]}
    header = orjson.dumps(document)
    return (header + array.tobytes(), len(header)) if binary else (header, None)


def split(body: bytes, header_length: str | None) -> tuple[Json, memoryview]:
    """The JSON header and the raw bytes after it."""
    length = len(body)
    if header_length is not None:
        if not header_length.isascii() or not header_length.isdigit() or int(header_length) > len(body):
            raise BadRequest(
                f"{HEADER_LENGTH}: {header_length[:40]!r} is not a length "
                f"within the {len(body)} bytes of the body"
            )
        length = int(header_length)
    view = memoryview(body)
    try:
        return orjson.loads(view[:length]), view[length:]
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: the header is not JSON ({error})") from error


def _decode_tensors(
    entries: Json, raw: memoryview, expected: Mapping[str, Tensor], field: str
) -> dict[str, Array]:
    if not isinstance(entries, list):
        raise BadRequest(f"{field}: a list of tensors is expected, not {_short(entries)}")
    arrays: dict[str, Array] = {}
    for i, entry in enumerate(entries):
        where = f"{field}[{i}]"
        if not isinstance(entry, dict):
            raise BadTensor(f"{where}: {_short(entry)} is not a tensor; write name, shape, datatype and data")
        tensor = expected.get(entry["name"]) if isinstance(entry.get("name"), str) else None
        if tensor is None:
            raise BadTensor(
                f"{where}.name: {_short(entry.get('name'))} is not one of the model's; "
                f"it has {', '.join(expected)}"
            )
        shape = check_shape(tensor, entry.get("shape"), entry.get("datatype"), where)
        parameters = entry.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            arrays[tensor.name] = _from_json(tensor, shape, entry.get("data"), where)
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(raw):
            raise BadTensor(
                f"{where}: binary_data_size {_short(size)}, but {len(raw)} bytes are left in the body"
            )
        arrays[tensor.name], raw = from_bytes(tensor, shape, raw[:size], where), raw[size:]
    missing = expected.keys() - arrays.keys()
    if missing:
        raise BadTensor(
            f"{field}: {', '.join(sorted(missing))} is missing; the model has {', '.join(expected)}"
        )
    if len(entries) > len(expected):
        raise BadTensor(f"{field}: a tensor is given twice")
    if len(raw):
        raise BadRequest(f"body: {len(raw)} bytes follow the last tensor; correct binary_data_size")
    return arrays


def check_shape(tensor: Tensor, shape: Json, datatype: Json, where: str) -> tuple[int, ...]:
    """The concrete shape, when it and the datatype are the tensor's; BadTensor otherwise."""
    if datatype != tensor.datatype:
        raise BadTensor(f"{where}.datatype: {_short(datatype)}, but {tensor.name} has {tensor.datatype}")
    dims = tuple(shape) if isinstance(shape, list | tuple) else ()
    whole = all(isinstance(d, int) and not isinstance(d, bool) for d in dims)
    if not whole or not tensor.fits(dims) or (dims and dims[0] > _LARGEST_BATCH):
        raise BadTensor(f"{where}.shape: {_short(shape)}, but {tensor.name} has {list(tensor.shape)}")
    return dims


def from_bytes(tensor: Tensor, shape: tuple[int, ...], raw: bytes | memoryview, where: str) -> Array:
    """An array over raw bytes, without a copy; BadTensor when their number is not the shape's."""
    dtype = NUMPY_TYPES[tensor.datatype]
    want = prod(shape) * dtype.itemsize
    if len(raw) != want:
        raise BadTensor(f"{where}: {len(raw)} bytes, but {tensor.datatype}{list(shape)} takes {want}")
    return np.frombuffer(raw, dtype).reshape(shape)


def _from_json(tensor: Tensor, shape: tuple[int, ...], data: Json, where: str) -> Array:
    if not isinstance(data, list):
        raise BadTensor(f"{where}.data: a list of numbers is expected, not {_short(data)}")
    dtype = NUMPY_TYPES[tensor.datatype]
    try:
        array = np.array(data, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadTensor(f"{where}.data: not {tensor.datatype} values ({str(error)[:100]})") from error
    if array.size != prod(shape):
        raise BadTensor(f"{where}.data: {array.size} values, but {list(shape)} takes {prod(shape)}")
    return array.reshape(shape)


def _raw(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _short(value: Json) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 80 else f"{text[:77]}…"
