"""Requests as JSON and in binary form, valid and invalid."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from edge_runtime.errors import BadRequest
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.requests import decode_request, encode_request
from edge_runtime.protocol.responses import decode_response, encode_response
from edge_runtime.tensors import Contract, Tensor
from messages import mentions

A, B = Tensor("a", "FP32", (-1, 2)), Tensor("b", "INT64", (-1,))
SUM, WORDS = Tensor("sum", "FP32", (-1, 2)), Tensor("words", "BYTES", (-1,))
CONTRACT = Contract([A, B], [SUM, WORDS])
GIVEN: dict[str, Any] = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
ALSO: dict[str, Any] = {"name": "b", "shape": [1], "datatype": "INT64", "data": [7]}
BARE = {name: value for name, value in GIVEN.items() if name != "data"}
IN_MEMORY = {"shared_memory_region": "r", "shared_memory_byte_size": 8}


def _read(header_length: str | None = None, **change: Any) -> DecodedRequest:
    document = {"inputs": [GIVEN, ALSO], **change}
    return decode_request(orjson.dumps(document), header_length, CONTRACT)


def test_several_inputs_are_read_in_any_order() -> None:
    read = _read(inputs=[ALSO, GIVEN], id="r")
    assert read.id == "r"
    assert read.inputs["a"].tolist() == [[1.0, 2.0]]
    assert read.inputs["b"].tolist() == [7]


def test_raw_and_json_inputs_may_be_mixed() -> None:
    raw = {k: v for k, v in GIVEN.items() if k != "data"} | {"parameters": {"binary_data_size": 8}}
    header = orjson.dumps({"inputs": [ALSO, raw]})
    body = header + np.array([3, 4], np.float32).tobytes()
    read = decode_request(body, str(len(header)), CONTRACT)
    assert read.inputs["a"].tolist() == [[3.0, 4.0]]
    assert read.inputs["b"].tolist() == [7]


def test_outputs_are_all_as_json_unless_the_request_says_otherwise() -> None:
    assert list(_read().outputs) == [("sum", False), ("words", False)]
    assert list(_read(outputs=[]).outputs) == [("sum", False), ("words", False)]
    assert list(_read(parameters={"binary_data_output": True}).outputs) == [("sum", True), ("words", True)]
    assert list(_read(outputs=[{"name": "words"}]).outputs) == [("words", False)]
    mixed = [{"name": "words", "parameters": {"binary_data": False}}, {"name": "sum"}]
    read = _read(outputs=mixed, parameters={"binary_data_output": True})
    assert list(read.outputs) == [("words", False), ("sum", True)]


def test_a_timeout_is_in_microseconds() -> None:
    assert _read(parameters={"timeout": 1500}).parameters.timeout == pytest.approx(0.0015)
    assert _read(parameters={"timeout": 0}).parameters.timeout is None


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an invalid id": ({"id": 3}, ("id: 3", "string")),
    "invalid parameters": ({"parameters": []}, ("parameters: []", "JSON object")),
    "an invalid flag": (
        {"parameters": {"binary_data_output": 1}},
        ("parameters.binary_data_output: 1", "true", "false"),
    ),
    "an invalid timeout": (
        {"parameters": {"timeout": "1s"}},
        ('parameters.timeout: "1s"', "number"),
    ),
    "invalid outputs": ({"outputs": {}}, ("outputs: {}", "list")),
    "an unknown output": (
        {"outputs": [{"name": "total"}]},
        ('outputs[0].name: "total"', "sum, words"),
    ),
    "an invalid output": ({"outputs": ["sum"]}, ("outputs[0].name: null", "output")),
    "an output twice": (
        {"outputs": [{"name": "sum"}, {"name": "sum"}]},
        ('outputs[1].name: "sum"', "twice"),
    ),
    "a classification of strings": (
        {"outputs": [{"name": "words", "parameters": {"classification": 2}}]},
        ("outputs[0].parameters.classification: 2", "BYTES"),
    ),
    "a negative number of classes": (
        {"outputs": [{"name": "sum", "parameters": {"classification": -1}}]},
        ("outputs[0].parameters.classification: -1", "1"),
    ),
    "a number of classes in words": (
        {"outputs": [{"name": "sum", "parameters": {"classification": "2"}}]},
        ('outputs[0].parameters.classification: "2"', "number"),
    ),
    "a negative priority": ({"parameters": {"priority": -1}}, ("parameters.priority: -1", "1", "10")),
    "a priority that is true": ({"parameters": {"priority": True}}, ("parameters.priority: true", "1")),
    "shared memory without a size": (
        {"inputs": [{**BARE, "parameters": {"shared_memory_region": "r"}}, ALSO]},
        ("inputs[0].parameters.shared_memory_byte_size:", "number of bytes"),
    ),
    "shared memory that is off": (
        {"inputs": [{**BARE, "parameters": IN_MEMORY}, ALSO]},
        ("inputs[0].parameters.shared_memory_region:", "--shared-memory"),
    ),
    "shared memory and data": (
        {"inputs": [{**GIVEN, "parameters": IN_MEMORY}, ALSO]},
        ("inputs[0]:", "shared_memory_region", "one of the two"),
    ),
    "a region that is a number": (
        {"inputs": [{**BARE, "parameters": {"shared_memory_region": 3}}, ALSO]},
        ("inputs[0].parameters.shared_memory_region:", "3", "name of a region"),
    ),
    "a start that is a number": (
        {"parameters": {"sequence_id": 1, "sequence_start": 1}},
        ("parameters.sequence_start:", "true nor false"),
    ),
    "an input twice": ({"inputs": [GIVEN, GIVEN, ALSO]}, ('inputs[1].name: "a"', "twice")),
    "a missing input": ({"inputs": [GIVEN]}, ("inputs: b", "a, b")),
    "data twice": (
        {"inputs": [{**GIVEN, "parameters": {"binary_data_size": 8}}, ALSO]},
        ("inputs[0].data:", "binary_data_size"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_with_field_value_and_fix(case: str) -> None:
    change, parts = BAD[case]
    with pytest.raises(BadRequest, match=mentions(*parts)):
        _read(**change)


def test_a_body_of_raw_bytes_alone_is_the_only_input() -> None:
    one = Contract([A], [SUM])
    body = np.arange(6, dtype=np.float32).tobytes()
    read = decode_request(body, "0", one)
    assert read.inputs["a"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert list(read.outputs) == [("sum", True)]
    with pytest.raises(BadRequest, match=r"^body: 23 bytes, but FP32\[2, 2\] needs 16"):
        decode_request(body[:-1], "0", one)
    with pytest.raises(BadRequest, match="one input"):
        decode_request(body, "0", CONTRACT)
    with pytest.raises(BadRequest, match=r"^body\.shape: \[0, 2\]"):
        decode_request(b"", "0", one)
    with pytest.raises(BadRequest, match=mentions("bytes", "JSON header")):
        decode_request(body, "0", Contract([Tensor("a", "FP32", (-1, -1))], [SUM]))


@pytest.mark.parametrize("length", ["-1", "1e3", "²", "999", "9" * 5000, " 4", ""])
def test_a_header_length_that_is_invalid_is_refused(length: str) -> None:
    with pytest.raises(BadRequest, match=mentions("inference-header-content-length:", "bytes of the body")):
        _read(header_length=length)


def test_a_response_is_read_unchanged() -> None:
    total, words = np.array([[1.5, 2.5]], np.float32), np.array(["ü"], dtype=object)
    for binary in ((True, True), (True, False), (False, False)):
        asked = DecodedRequest({}, [("sum", binary[0]), ("words", binary[1])], "r-1")
        parts, length = encode_response("m", "1", asked, CONTRACT, [total, words], {"exit": "final"})
        body = b"".join(parts)
        assert (length is None) == (binary == (False, False))
        header = orjson.loads(body[:length])
        assert (header["id"], header["model_name"], header["parameters"]) == ("r-1", "m", {"exit": "final"})
        read = decode_response(body, None if length is None else str(length), [SUM, WORDS])
        assert (read[0].tolist(), read[1].tolist()) == ([[1.5, 2.5]], ["ü"])


def test_a_hop_is_a_request_that_the_next_server_reads() -> None:
    a, b = np.array([[1, 2]], np.float32), np.array([3])
    parts = encode_request([A, B], [a, b], ["sum"])
    read = decode_request(b"".join(parts), str(len(parts[0])), CONTRACT)
    np.testing.assert_array_equal(read.inputs["a"], a)
    np.testing.assert_array_equal(read.inputs["b"], b)
    assert list(read.outputs) == [("sum", True)]
