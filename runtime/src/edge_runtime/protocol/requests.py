"""Inference requests over HTTP: JSON, or JSON followed by raw bytes (the binary tensor extension).

Used on both sides: by the server for clients, by the hop for the next server. Sizes are checked against the
model's contract before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import orjson

from edge_api.words import shown_json
from edge_runtime.errors import BadRequest, BadTensor
from edge_runtime.json_values import Json
from edge_runtime.protocol.classification import class_count
from edge_runtime.protocol.contents import check_shape, from_bytes, from_json, to_raw
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.header_layouts import HeaderCache, layout_of
from edge_runtime.protocol.nonfinite import read
from edge_runtime.protocol.parameters import parameters_of
from edge_runtime.protocol.shared_slots import REGION, slot_of
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory, Slot
from edge_runtime.tensors import Array, Contract, Tensor, width

HEADER_LENGTH: Final = "inference-header-content-length"
_DIGITS: Final = 5


def decode_request(
    body: bytes,
    header_length: str | None,
    contract: Contract,
    header_cache: HeaderCache | None = None,
    memory: SharedMemory = NO_SHARED_MEMORY,
) -> DecodedRequest:
    """Reads a request by the model's contract. Raises BadRequest.

    With a header length of 0, the body is only the raw bytes of the single input. `header_cache` keeps the
    layout of the header for the next request with the same one.
    """
    if header_length == "0":
        return _raw_request(body, contract)
    length = _length(header_length, len(body))
    raw = memoryview(body)[length:]
    header_cache = header_cache if length < len(body) else None
    if header_cache is not None:
        known = decode_known(body, length, contract, header_cache)
        if known is not None:
            return known
    header = read(memoryview(body)[:length])
    if not isinstance(header, dict):
        raise BadRequest(f"body: {shown_json(header)} is not a JSON object")
    identity = header.get("id")
    identity = "" if identity is None else identity
    if not isinstance(identity, str):
        raise BadRequest(f"id: {shown_json(identity)} is not a string")
    parameters = _parameters(header, "")
    arrays = decode_tensors(header.get("inputs"), raw, contract.inputs_by_name, "inputs", memory)
    wanted, classes, slots = _wanted(header.get("outputs"), parameters, contract)
    decoded = DecodedRequest(
        arrays,
        wanted,
        identity,
        parameters_of(parameters.get),
        named=bool(header.get("outputs")),
        classes=classes,
        slots=slots,
        shared=any(REGION in (entry.get("parameters") or ()) for entry in header.get("inputs") or ()),
    )
    if header_cache is not None and all(
        "binary_data_size" in (e.get("parameters") or ()) for e in header.get("inputs") or ()
    ):
        order = [entry["name"] for entry in header.get("inputs") or ()]
        layout = layout_of(decoded, order, contract, request_id=identity)
        if layout is not None:
            header_cache.keep(contract, body[:length], layout)
    return decoded


def decode_known(
    body: bytes | memoryview, length: int, contract: Contract, header_cache: HeaderCache
) -> DecodedRequest | None:
    """Reads a request whose JSON, of this length, is in the cache. None if it is not, or does not match."""
    layout = header_cache.find(contract, bytes(body[:length]))
    if layout is None:
        return None
    parts = layout.split(memoryview(body)[length:])
    arrays = layout.arrays(parts) if parts is not None else None
    if arrays is None:
        return None
    return layout.request(arrays, layout.id)


def timeout_for(seconds: float) -> int:
    """The `timeout` parameter in microseconds: at most the given time, and at most a sixteenth less.

    Rounded to five binary digits, because receivers cache headers by their bytes: the remaining time differs
    for each request, the rounded one rarely (53 values in a decade, 16 in each doubling).
    """
    microseconds = int(seconds * 1e6)
    spare = max(microseconds.bit_length() - _DIGITS, 0)
    return max(microseconds >> spare << spare, 1)


def _parameters(entry: Mapping[str, Json], where: str) -> Mapping[str, Json]:
    found = entry.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadRequest(f"{where}parameters: {shown_json(found)} is not a JSON object")
    return found


def _flag(parameters: Mapping[str, Json], name: str, where: str, *, otherwise: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        raise BadRequest(f"{where}parameters.{name}: {shown_json(value)} is neither true nor false")
    return value


def _wanted(
    entries: Json, parameters: Mapping[str, Json], contract: Contract
) -> tuple[list[tuple[str, bool]], dict[str, int], dict[str, Slot]]:
    """The requested outputs, each with whether it is sent as raw bytes; the classes, and the places in shared
    memory, of some.
    """
    binary = _flag(parameters, "binary_data_output", "", otherwise=False)
    if entries is None or entries == []:
        return [(t.name, binary) for t in contract.outputs], {}, {}
    if not isinstance(entries, list):
        raise BadRequest(f"outputs: {shown_json(entries)} is not a list")
    wanted: dict[str, bool] = {}
    classes: dict[str, int] = {}
    slots: dict[str, Slot] = {}
    for i, entry in enumerate(entries):
        where = f"outputs[{i}]"
        name = check_output(entry.get("name") if isinstance(entry, dict) else None, wanted, contract, where)
        own = _parameters(entry, f"{where}.")
        if count := class_count(own.get("classification"), contract.outputs_by_name[name], where):
            classes[name] = count
        if slot := slot_of(own.get, where):
            slots[name] = slot
        wanted[name] = _flag(own, "binary_data", f"{where}.", otherwise=binary)
    return list(wanted.items()), classes, slots


def check_output(name: Json, before: Mapping[str, bool], contract: Contract, where: str) -> str:
    """Returns the name. Raises BadTensor for an output that the model lacks or that is requested twice."""
    if not isinstance(name, str) or name not in contract.outputs_by_name:
        raise BadTensor(
            f"{where}.name: {shown_json(name)} is not an output of the model: "
            f"request {', '.join(contract.outputs_by_name)}"
        )
    if name in before:
        raise BadTensor(f'{where}.name: "{name}" is requested twice: request it once')
    return name


def _raw_request(body: bytes, contract: Contract) -> DecodedRequest:
    if len(contract.inputs) != 1:
        raise BadRequest(
            f"{HEADER_LENGTH}: 0, but a body of raw bytes only needs a model with one input: "
            f"send a JSON header for {', '.join(contract.inputs_by_name)}"
        )
    (tensor,) = contract.inputs
    shape = _shape_for(tensor, len(body))
    array = from_bytes(tensor, check_shape(tensor, shape, tensor.datatype, "body"), body, "body")
    if not body and -1 in tensor.shape:  # more likely lost than intended
        raise BadRequest(
            f"body: empty, but {HEADER_LENGTH} is 0, so it must contain the values of {tensor.name}: send a "
            f"JSON header for an empty tensor"
        )
    return DecodedRequest({tensor.name: array}, [(t.name, True) for t in contract.outputs], named=False)


def _shape_for(tensor: Tensor, size: int) -> list[int]:
    """The shape for this many bytes, if only one dimension is open."""
    if tensor.any_rank or tensor.datatype == "BYTES" or sum(d < 0 for d in tensor.shape) > 1:
        raise BadRequest(
            f"{HEADER_LENGTH}: 0, but the shape of {tensor.name} ({tensor.datatype}{list(tensor.shape)}) "
            f"does not follow from the number of bytes: send a JSON header"
        )
    item = prod(d for d in tensor.shape if d >= 0) * width(tensor.datatype)
    return [d if d >= 0 else size // item if item else 0 for d in tensor.shape]


def encode_request(
    tensors: Sequence[Tensor], arrays: Sequence[Array], outputs: Sequence[str], within: float | None = None
) -> list[bytes | memoryview]:
    """A request in binary form: the JSON header, then each input's bytes without a copy.

    within: remaining seconds for the response, sent as `timeout_for` rounds it.
    """
    raw = [to_raw(t.datatype, a) for t, a in zip(tensors, arrays, strict=True)]
    header: dict[str, Json] = {
        "inputs": [
            {
                "name": t.name,
                "shape": a.shape,
                "datatype": t.datatype,
                "parameters": {"binary_data_size": len(part)},
            }
            for t, a, part in zip(tensors, arrays, raw, strict=True)
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    if within is not None:
        header["parameters"] = {"timeout": timeout_for(within)}
    return [orjson.dumps(header), *raw]


def split(body: bytes, header_length: str | None) -> tuple[Json, memoryview]:
    """The JSON header and the raw bytes after it."""
    length = _length(header_length, len(body))
    view = memoryview(body)
    return read(view[:length]), view[length:]


def _length(header_length: str | None, size: int) -> int:
    """Length of the header in a body of `size` bytes."""
    if header_length is None:
        return size
    fits = header_length.isascii() and header_length.isdigit() and len(header_length) < 20
    if not fits or int(header_length) > size:
        raise BadRequest(
            f"{HEADER_LENGTH}: {header_length[:40]!r} is not a length within the {size} bytes of the body"
        )
    return int(header_length)


def decode_tensors(
    entries: Json,
    raw: memoryview,
    expected: Mapping[str, Tensor],
    field: str,
    memory: SharedMemory = NO_SHARED_MEMORY,
) -> dict[str, Array]:
    """All `expected` tensors, each from JSON, from the next raw bytes or from shared memory.

    Raises BadRequest.
    """
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        raise BadRequest(f"{field}: {shown_json(entries)} is not a list of tensors")
    arrays: dict[str, Array] = {}
    for i, entry in enumerate(entries):
        where = f"{field}[{i}]"
        if not isinstance(entry, dict):
            raise BadTensor(
                f"{where}: {shown_json(entry)} is not a tensor: write name, shape, datatype and data"
            )
        tensor = expected.get(entry["name"]) if isinstance(entry.get("name"), str) else None
        if tensor is None:
            raise BadTensor(
                f"{where}.name: {shown_json(entry.get('name'))} is not a tensor of the model: "
                f"use {', '.join(expected)}"
            )
        if tensor.name in arrays:
            raise BadTensor(f'{where}.name: "{tensor.name}" is given twice: send each tensor once')
        shape = check_shape(tensor, entry.get("shape"), entry.get("datatype"), where)
        parameters = _parameters(entry, f"{where}.")
        size = parameters.get("binary_data_size")
        if slot := slot_of(parameters.get, where):
            if size is not None or entry.get("data") is not None:
                raise BadTensor(f"{where}: given as data and in {REGION}: send one of the two")
            arrays[tensor.name] = from_bytes(tensor, shape, memory.read(slot, where), where)
            continue
        if size is None:
            arrays[tensor.name] = from_json(tensor, shape, entry.get("data"), where)
            continue
        if entry.get("data") is not None:
            raise BadTensor(f"{where}.data: given in addition to binary_data_size: send one of the two")
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(raw):
            raise BadTensor(
                f"{where}: binary_data_size {shown_json(size)}, but {len(raw)} bytes are left in the body"
            )
        arrays[tensor.name], raw = from_bytes(tensor, shape, raw[:size], where), raw[size:]
    if len(arrays) != len(expected):
        missing = sorted(expected.keys() - arrays.keys())
        raise BadTensor(f"{field}: {', '.join(missing)} is missing: send {', '.join(expected)}")
    if len(raw):
        raise BadRequest(f"body: {len(raw)} bytes after the last tensor: correct binary_data_size")
    return arrays
