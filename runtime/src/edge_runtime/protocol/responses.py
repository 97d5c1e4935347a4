"""Inference responses over HTTP: written for clients, read from the next hop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from edge_runtime.json_values import Json
from edge_runtime.protocol.classification import batches, classified
from edge_runtime.protocol.contents import to_json, to_raw
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.requests import decode_tensors, split
from edge_runtime.protocol.shared_slots import put
from edge_runtime.responses import InferenceResponse
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory
from edge_runtime.tensors import Array, Contract, Tensor

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def as_requested(
    request: DecodedRequest,
    contract: Contract,
    arrays: Sequence[Array],
    tensors: Sequence[Tensor] | None = None,
) -> Iterator[tuple[str, bool, str, Array]]:
    """The outputs of a response: each one's name, whether it is sent as raw bytes, its datatype and values.

    `arrays` are the requested outputs in the order of `request.outputs`, or none at all. tensors: as in
    `encode_response`. Raises BadTensor.
    """
    wanted, known = request.outputs, contract.outputs_by_name
    if tensors is not None:
        wanted = [(t.name, request.outputs[0][1]) for t in tensors]
        known = {t.name: t for t in tensors}
    for (name, binary), array in zip(wanted if arrays else (), arrays, strict=True):
        count = request.classes.get(name)
        if count is None:
            yield name, binary, known[name].datatype, array
        else:
            yield name, binary, "BYTES", classified(array, count, batched=batches(contract))


def encode_response(
    model: str,
    version: str,
    request: DecodedRequest,
    contract: Contract,
    arrays: Sequence[Array],
    parameters: Mapping[str, Json],
    *,
    tensors: Sequence[Tensor] | None = None,
    memory: SharedMemory = NO_SHARED_MEMORY,
) -> tuple[list[bytes | memoryview], int | None]:
    """The parts of a response's body, and the length of its JSON header if raw bytes follow.

    `arrays` are the requested outputs in the order of `request.outputs`, or none at all. tensors: what they
    are, if the client named none and the exit has others than the model. Raises BadRequest for an output that
    does not fit into its place in shared memory.
    """
    parts: list[bytes | memoryview] = [b""]
    described: list[Json] = []
    for name, binary, datatype, array in as_requested(request, contract, arrays, tensors):
        entry: dict[str, Json] = {"name": name, "datatype": datatype, "shape": array.shape}
        if (slot := request.slots.get(name)) is not None:
            entry["parameters"] = put(slot, to_raw(datatype, array), memory, name)
        elif binary:
            raw = to_raw(datatype, array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            parts.append(raw)
        else:
            entry["data"] = to_json(datatype, array)
        described.append(entry)
    document: dict[str, Json] = {"model_name": model, "model_version": version}
    if request.id:
        document["id"] = request.id
    document["parameters"] = parameters
    document["outputs"] = described
    parts[0] = orjson.dumps(document, option=_OPTIONS)
    return parts, len(parts[0]) if len(parts) > 1 else None


@dataclass(frozen=True, slots=True)
class _Header:
    """A header with raw outputs, and all that it was made from."""

    text: bytes
    contract: Contract
    id: str
    outputs: Sequence[tuple[str, bool]]
    datatypes: Sequence[str]
    shapes: Sequence[tuple[int, ...]]
    parameters: Mapping[str, Json]


class RepeatedHeader:
    """The last header of responses of one model: most clients repeat their request, and get it again."""

    def __init__(self, model: str, version: str) -> None:
        self._model, self._version = model, version
        self._last: _Header | None = None

    def encode(
        self, request: DecodedRequest, contract: Contract, response: InferenceResponse
    ) -> tuple[list[bytes | memoryview], int | None]:
        """The same as `encode_response`, for a request without outputs in shared memory."""
        arrays, last = response.outputs, self._last
        plain = response.tensors is None and not request.classes
        shapes = [array.shape for array in arrays]
        if (
            last is not None
            and plain
            and last.outputs is request.outputs
            and last.contract is contract
            and last.shapes == shapes
            and last.id == request.id
            and last.parameters == response.parameters
        ):
            parts: list[bytes | memoryview] = [last.text]
            parts += map(to_raw, last.datatypes, arrays)
            return parts, len(last.text)
        given = response.parameters
        parts, length = encode_response(
            self._model, self._version, request, contract, arrays, given, tensors=response.tensors
        )
        if plain and length is not None and all(binary for _, binary in request.outputs):
            kinds = [contract.outputs_by_name[name].datatype for name, _ in request.outputs]
            text = bytes(parts[0])
            self._last = _Header(text, contract, request.id, request.outputs, kinds, shapes, given)
        return parts, length


def decode_response(body: bytes, header_length: str | None, outputs: Sequence[Tensor]) -> list[Array]:
    """Outputs of a response in the requested order. Raises BadRequest if they differ from those requested."""
    header, raw = split(body, header_length)
    found = header.get("outputs") if isinstance(header, dict) else None
    arrays = decode_tensors(found, raw, {t.name: t for t in outputs}, "outputs")
    return [arrays[t.name] for t in outputs]
