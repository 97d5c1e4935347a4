"""Reads and writes ModelInfer's messages as bytes, without the costly parts of the generated classes.

The generated classes copy a tensor's bytes twice on the way in and twice on the way out, and each access to a
field creates an object. This module leaves raw contents in place, and has the generated class read the rest
once for each new header. Unusual messages are left to the generated classes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from edge_runtime.errors import BadRequest
from edge_runtime.grpc.messages import Message
from edge_runtime.protocol.contents import to_raw
from edge_runtime.protocol.requests import DecodedRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.serving import MODEL_VERSION
from edge_runtime.tensors import Contract, Tensor

_MODEL: Final = 0x0A
_ID: Final = 0x1A
_RAW: Final = 0x3A
_TAGS: Final = frozenset((0x0A, 0x12, _ID, 0x22, 0x2A, 0x32, _RAW))


@dataclass(frozen=True, slots=True)
class MessageParts:
    """A request in parts: the message without id and raw contents, the id, the raw contents."""

    header: bytes
    id: bytes
    raw: Sequence[memoryview]


def take_apart(message: bytes) -> MessageParts | None:
    """Splits a request whose raw contents are last, as all known clients send it; None for others."""
    at, end = 0, len(message)
    found_id: tuple[int, int, int] | None = None
    first_raw = end
    view = memoryview(message)
    raw: list[memoryview] = []
    try:
        while at < end:
            start, tag = at, message[at]
            if tag not in _TAGS:
                return None
            length = message[at + 1]
            at += 2
            if length >= 0x80:
                length &= 0x7F
                shift = 7
                while True:
                    more = message[at]
                    at += 1
                    length |= (more & 0x7F) << shift
                    if more < 0x80:
                        break
                    shift += 7
                    if shift > 28:
                        return None
            begin, at = at, at + length
            if at > end:
                return None
            if tag == _RAW:
                if not raw:
                    first_raw = start
                raw.append(view[begin:at])
            elif raw:
                return None
            elif tag == _ID:
                if found_id is not None:
                    return None
                found_id = (start, begin, at)
    except IndexError:
        return None
    if not raw:
        return None
    if found_id is None:
        return MessageParts(message[:first_raw], b"", raw)
    start, begin, stop = found_id
    return MessageParts(message[:start] + message[stop:first_raw], message[begin:stop], raw)


def model_name(header: bytes) -> str:
    """The model of a request's header, where all known clients write it: in the first field; else empty."""
    if len(header) < 2 or header[0] != _MODEL or header[1] >= 0x80:
        return ""
    return header[2 : 2 + header[1]].decode("utf-8", "replace")


def parse(message: bytes, kind: Message) -> Message:
    """Parses a message of class `kind`. Raises BadRequest if the bytes are not one."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise BadRequest(f"body: the {len(message)} bytes are not a {kind.DESCRIPTOR.name}") from error


def write_response(
    model: str, request: DecodedRequest, contract: Contract, response: InferenceResponse
) -> bytes:
    """A ModelInferResponse with raw outputs, like Triton's; without outputs if the response has none."""
    parts: list[bytes | memoryview] = [_names(model)]
    if request.id:
        parts.append(_field(0x1A, request.id.encode()))
    for key, value in response.parameters.items():
        # A confidence is a new number each time, so the header is not cached.
        make = _parameter.__wrapped__ if isinstance(value, float) else _parameter
        parts.append(make(key, value=value))
    raw: list[bytes | memoryview] = []
    tensors: Sequence[Tensor] = ()
    if response.tensors is not None:
        tensors = response.tensors
    elif response.outputs:
        tensors = [contract.outputs_by_name[name] for name, _ in request.outputs]
    for tensor, array in zip(tensors if response.outputs else (), response.outputs, strict=True):
        parts.append(_output(tensor.name, tensor.datatype, array.shape))
        data = to_raw(tensor.datatype, array)
        raw += (b"\x32" + _varint(len(data)), data)
    return b"".join(parts + raw)


def write_stream_response(response: bytes) -> bytes:
    """A ModelStreamInferResponse that contains a response."""
    return _field(0x12, response)


@lru_cache(maxsize=64)
def _names(model: str) -> bytes:
    return _field(0x0A, model.encode()) + _field(0x12, MODEL_VERSION.encode())


@lru_cache(maxsize=1024, typed=True)
def _parameter(key: str, *, value: str | bool | float) -> bytes:
    if isinstance(value, bool):
        coded = b"\x08\x01" if value else b"\x08\x00"
    elif isinstance(value, float):
        coded = b"\x21" + struct.pack("<d", value)
    else:
        coded = _field(0x1A, value.encode())
    return _field(0x22, _field(0x0A, key.encode()) + _field(0x12, coded))


@lru_cache(maxsize=1024)
def _output(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(map(_varint, shape))
    packed = _field(0x1A, dims) if dims else b""
    return _field(0x2A, _field(0x0A, name.encode()) + _field(0x12, datatype.encode()) + packed)


def _field(tag: int, data: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)
