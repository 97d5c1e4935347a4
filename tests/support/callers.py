"""The same request in every form of the protocol."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2 as pb

from edge_runtime.tensors import NUMPY_TYPES

Array = npt.NDArray[Any]
Caller = Callable[[Path, str, Mapping[str, Array]], dict[str, Array]]

_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
_FIELDS: Final = {"f": "fp32_contents", "l": "int64_contents"}
_NAMES: Final = {np.dtype(t): name for name, t in NUMPY_TYPES.items() if name != "BF16"}


def by_json(sockets: Path, model: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Lists in, lists out."""
    described = [{**_described(name, a), "data": a.ravel().tolist()} for name, a in inputs.items()]
    with _client(sockets) as client:
        reply = client.post(f"/v2/models/{model}/infer", json={"inputs": described})
    assert reply.status_code == 200, reply.text
    return {
        o["name"]: np.array(o["data"], NUMPY_TYPES[o["datatype"]]).reshape(o["shape"])
        for o in reply.json()["outputs"]
    }


def by_bytes(sockets: Path, model: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The binary tensor extension both ways."""
    described = [
        {**_described(name, a), "parameters": {"binary_data_size": a.nbytes}} for name, a in inputs.items()
    ]
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    length = "Inference-Header-Content-Length"
    with _client(sockets) as client:
        body = head + b"".join(a.tobytes() for a in inputs.values())
        reply = client.post(f"/v2/models/{model}/infer", content=body, headers={length: str(len(head))})
    assert reply.status_code == 200, reply.text
    size = int(reply.headers.get(length, len(reply.content)))
    rest, found = reply.content[size:], {}
    for output in json.loads(reply.content[:size])["outputs"]:
        end = output["parameters"]["binary_data_size"]
        found[output["name"]] = _read(output["datatype"], output["shape"], rest[:end])
        rest = rest[end:]
    assert rest == b""
    return found


def by_raw_grpc(sockets: Path, model: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """gRPC with raw contents."""
    request = pb.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        request.inputs.add(**_described(name, array))
        request.raw_input_contents.append(array.tobytes())
    return _asked(sockets, request)


def by_typed_grpc(sockets: Path, model: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """gRPC with a field for each datatype."""
    request = pb.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        contents = {_FIELDS[array.dtype.char]: array.ravel().tolist()}
        request.inputs.add(**_described(name, array), contents=pb.InferTensorContents(**contents))
    return _asked(sockets, request)


CALLERS: Final[tuple[Caller, ...]] = (by_json, by_bytes, by_raw_grpc, by_typed_grpc)


def _asked(sockets: Path, request: Any) -> dict[str, Array]:
    with grpc.insecure_channel(f"unix:{sockets}/grpc.sock") as channel:
        call: grpc.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
            _INFER, lambda m: m.SerializeToString(), pb.ModelInferResponse.FromString
        )
        reply = call(request, timeout=20)
    return {
        o.name: _read(o.datatype, o.shape, raw)
        for o, raw in zip(reply.outputs, reply.raw_output_contents, strict=True)
    }


def _client(sockets: Path) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(sockets / "http.sock"))
    return httpx.Client(transport=transport, base_url="http://node", timeout=20)


def _described(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": _NAMES[array.dtype]}


def _read(datatype: str, shape: Any, raw: bytes) -> Array:
    if datatype != "BYTES":
        return np.frombuffer(raw, NUMPY_TYPES[datatype]).reshape(shape)
    words = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        words.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return np.array(words, object).reshape(shape)
