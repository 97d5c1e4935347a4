"""Inference responses over HTTP: written for clients, read from the next hop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from edge_runtime.json_values import Json
from edge_runtime.protocol.contents import to_json, to_raw
from edge_runtime.protocol.requests import DecodedRequest, decode_tensors, split
from edge_runtime.tensors import Array, Contract, Tensor

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode_response(
    model: str,
    version: str,
    request: DecodedRequest,
    contract: Contract,
    arrays: Sequence[Array],
    parameters: Mapping[str, Json],
    *,
    tensors: Sequence[Tensor] | None = None,
) -> tuple[list[bytes | memoryview], int | None]:
    """The parts of a response's body, and the length of its JSON header if raw bytes follow.

    `arrays` are the requested outputs in the order of `request.outputs`, or none at all. tensors: what they
    are, if the client named none and the exit has others than the model.
    """
    parts: list[bytes | memoryview] = [b""]
    described: list[Json] = []
    wanted, known = request.outputs, contract.outputs_by_name
    if tensors is not None:
        wanted = [(t.name, request.outputs[0][1]) for t in tensors]
        known = {t.name: t for t in tensors}
    for (name, binary), array in zip(wanted if arrays else (), arrays, strict=True):
        datatype = known[name].datatype
        entry: dict[str, Json] = {"name": name, "datatype": datatype, "shape": array.shape}
        if binary:
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


def decode_response(body: bytes, header_length: str | None, outputs: Sequence[Tensor]) -> list[Array]:
    """Outputs of a response in the requested order. Raises BadRequest if they differ from those requested."""
    header, raw = split(body, header_length)
    found = header.get("outputs") if isinstance(header, dict) else None
    arrays = decode_tensors(found, raw, {t.name: t for t in outputs}, "outputs")
    return [arrays[t.name] for t in outputs]
