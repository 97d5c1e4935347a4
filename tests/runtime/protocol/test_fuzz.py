"""The parsers of both transports accept or reject arbitrary bytes, without other errors.

`EDGE_FUZZ=100000 .venv/bin/pytest tests/runtime/protocol/test_fuzz.py` tries that many of each.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from edge_runtime.errors import BadRequest, TooLarge
from edge_runtime.grpc.messages import read_request
from edge_runtime.grpc.wire import parse, take_apart
from edge_runtime.protocol.compression import inflate
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.header_layouts import HeaderCache, layout_of
from edge_runtime.protocol.requests import decode_request
from edge_runtime.protocol.responses import decode_response
from edge_runtime.tensors import NUMPY_TYPES, Contract, Tensor

FUZZ = settings(
    max_examples=int(os.environ.get("EDGE_FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
CONTRACT = Contract(
    [Tensor("a", "FP32", (-1, 2)), Tensor("w", "BYTES", (-1,)), Tensor("k", "INT8", (-1, -1))],
    [Tensor("y", "FP32", (-1, 2)), Tensor("z", "BYTES", (-1,))],
)
LITTLE = Contract([Tensor("a", "FP32", (-1, 2))], [Tensor("y", "FP32", (-1, 2))])

names = st.sampled_from(["a", "w", "k", "y", "z", "", "inputs"]) | st.text(max_size=3)
numbers = st.integers() | st.floats() | st.booleans() | st.none()
values = st.recursive(
    numbers | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=2),
    max_leaves=8,
)
dims = st.lists(st.sampled_from([1, 2, 0, -1, 3, 1 << 31, 1 << 62]) | st.integers(), max_size=4)
flags = st.dictionaries(
    st.sampled_from(["binary_data_size", "binary_data", "binary_data_output", "timeout", "classification"]),
    st.integers(0, 24) | values,
    max_size=2,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": names | values,
        "shape": dims | values,
        "datatype": st.sampled_from([*NUMPY_TYPES]) | values,
        "data": st.lists(numbers, max_size=8) | st.lists(st.text(max_size=3), max_size=4) | values,
        "parameters": flags | values,
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=3) | values,
        "inputs": st.lists(tensors | values, max_size=4) | values,
        "outputs": st.lists(tensors | values, max_size=3) | values,
        "parameters": flags | values,
    },
)


def _checked(request: DecodedRequest, contract: Contract) -> None:
    """Accepted values match the contract exactly."""
    assert request.inputs.keys() == contract.inputs_by_name.keys()
    for name, array in request.inputs.items():
        tensor = contract.inputs_by_name[name]
        assert tensor.fits(array.shape)
        assert array.dtype == NUMPY_TYPES[tensor.datatype]
    assert {name for name, _ in request.outputs} <= contract.outputs_by_name.keys()


def _try(read: Callable[[Contract], DecodedRequest], contract: Contract) -> None:
    try:
        request = read(contract)
    except BadRequest as error:
        said = str(error)
    else:
        _checked(request, contract)
        return
    assert 0 < len(said) < 500


def _json(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, a lone surrogate
        return repr(document).encode("utf-8", "replace")


@FUZZ
@given(documents, st.binary(max_size=24), st.booleans())
@example({"inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP32", "data": []}]}, b"", False)
def test_json_requests_are_read_or_refused(document: Any, raw: bytes, binary: bool) -> None:
    header = _json(document)
    length = str(len(header)) if binary else None
    body = header + raw if binary else header
    for contract in (CONTRACT, LITTLE):
        _try(partial(decode_request, body, length, header_cache=HeaderCache()), contract)


@FUZZ
@given(st.binary(max_size=80), st.none() | st.integers(0, 90).map(str) | st.text(max_size=4))
def test_any_body_with_any_header_length_is_read_or_refused(body: bytes, length: str | None) -> None:
    for contract in (CONTRACT, LITTLE):
        _try(lambda c: decode_request(body, length, c, HeaderCache()), contract)


@FUZZ
@given(documents, st.binary(max_size=24))
def test_answers_of_the_next_hop_are_read_or_refused(document: Any, raw: bytes) -> None:
    header = _json(document)
    try:
        read = decode_response(header + raw, str(len(header)), CONTRACT.outputs)
    except BadRequest:
        return
    assert all(t.fits(a.shape) for t, a in zip(CONTRACT.outputs, read, strict=True))


contents = st.fixed_dictionaries(
    {},
    optional={
        "fp32_contents": st.lists(st.floats(width=32), max_size=4),
        "int_contents": st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=4),
        "bytes_contents": st.lists(st.binary(max_size=3), max_size=3),
    },
)
inputs = st.builds(
    lambda **fields: pb.ModelInferRequest.InferInputTensor(**fields),
    name=names,
    datatype=st.sampled_from([*NUMPY_TYPES, ""]),
    shape=st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([1, 2]), max_size=3),
    contents=st.none() | contents.map(lambda fields: pb.InferTensorContents(**fields)),
)
messages = st.builds(
    lambda **fields: pb.ModelInferRequest(**fields).SerializeToString(),
    model_name=names,
    id=st.text(max_size=3),
    inputs=st.lists(inputs, max_size=3),
    outputs=st.lists(
        st.builds(lambda name: pb.ModelInferRequest.InferRequestedOutputTensor(name=name), names), max_size=2
    ),
    raw_input_contents=st.lists(st.binary(max_size=24), max_size=3),
)


@FUZZ
@given(messages)
def test_messages_are_read_or_refused(message: bytes) -> None:
    for contract in (CONTRACT, LITTLE):
        _try(lambda c: read_request(parse(message, pb.ModelInferRequest), c), contract)


@FUZZ
@given(messages | st.binary(max_size=60) | st.tuples(messages, messages).map(b"".join))
@example(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x3a")
@example(b"\x3a\x80")
def test_a_message_in_pieces_is_the_message(message: bytes) -> None:
    parts = take_apart(message)
    if parts is None:
        return
    try:
        whole = pb.ModelInferRequest.FromString(message)
        header = pb.ModelInferRequest.FromString(parts.header)
    except DecodeError:
        return  # then the header is rejected when it is read for the first time
    assert whole.id.encode() == parts.id
    assert list(whole.raw_input_contents) == [bytes(raw) for raw in parts.raw]
    del whole.raw_input_contents[:]
    whole.id = ""
    assert whole == header


@FUZZ
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 3), st.integers(-1, 1), st.booleans()
)
def test_a_request_by_its_plan_is_the_request(rows: list[int], seed: int, off: int, binary: bool) -> None:
    """A known header gives the same result as a new one, also with wrong sizes."""
    first = np.random.default_rng(seed).normal(size=(rows[0], 2)).astype(np.float32)
    header = _json(
        {
            "inputs": [
                {
                    "name": "a",
                    "shape": first.shape,
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": first.nbytes},
                }
            ],
            "parameters": {"binary_data_output": binary},
            "id": "r",
        }
    )
    header_cache = HeaderCache()
    decode_request(header + first.tobytes(), str(len(header)), LITTLE, header_cache)
    assert header_cache.find(LITTLE, header) is not None
    body = header + (first * 2).tobytes()[: first.nbytes + min(off, 0)] + b"x" * max(off, 0)
    if off:
        with pytest.raises(BadRequest):
            decode_request(body, str(len(header)), LITTLE, header_cache)
        return
    known, new = (decode_request(body, str(len(header)), LITTLE, p) for p in (header_cache, None))
    np.testing.assert_array_equal(known.inputs["a"], new.inputs["a"])
    assert (list(known.outputs), known.id, known.parameters.timeout) == (
        list(new.outputs),
        new.id,
        new.parameters.timeout,
    )
    assert header_cache.find(CONTRACT, header) is None


@FUZZ
@given(st.binary(max_size=60), st.sampled_from(["gzip", "deflate"]))
def test_any_compressed_body_is_read_or_refused(body: bytes, encoding: str) -> None:
    with suppress(BadRequest, TooLarge):
        assert len(inflate(body, encoding, 1 << 16)) <= 1 << 16


def test_a_plan_is_kept_only_where_sizes_follow_from_shapes() -> None:
    words = Contract([Tensor("w", "BYTES", (-1,))], [Tensor("z", "BYTES", (-1,))])
    assert layout_of(DecodedRequest({"w": np.array(["a"], object)}, [("z", True)]), ["w"], words) is None
