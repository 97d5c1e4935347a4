"""NaN and infinities in JSON are read and written as by Python, tritonclient and Triton."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import BadRequest
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.requests import decode_request
from edge_runtime.protocol.responses import encode_response
from edge_runtime.tensors import NUMPY_TYPES, Contract, Tensor
from messages import mentions

FLOATS = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
LIMITS: dict[str, Literal[16, 32, 64]] = {"FP16": 16, "FP32": 32, "FP64": 64}


def _contract(datatype: str) -> Contract:
    return Contract([Tensor("x", datatype, (-1,))], [Tensor("y", datatype, (-1,))])


def _read(datatype: str, data: str, count: int, more: str = "") -> DecodedRequest:
    tensor = f'"name": "x", "shape": [{count}], "datatype": "{datatype}", "data": {data}'
    text = f'{{{more} "inputs": [{{{tensor}}}]}}'
    return decode_request(text.encode(), None, _contract(datatype))


@settings(deadline=None)
@given(st.sampled_from(sorted(FLOATS)), st.data())
def test_every_float_goes_in_and_comes_out_as_pythons_json_has_it(datatype: str, data: Any) -> None:
    values = data.draw(st.lists(st.floats(width=LIMITS[datatype]), min_size=1, max_size=20))
    request = _read(datatype, json.dumps(values), len(values))
    right = np.array(values, FLOATS[datatype])
    np.testing.assert_array_equal(request.inputs["x"], right)
    parts, _ = encode_response("m", "1", request, _contract(datatype), [request.inputs["x"]], {})
    answered = json.loads(b"".join(parts))["outputs"][0]["data"]
    np.testing.assert_array_equal(np.array(answered, FLOATS[datatype]), right)
    if np.isfinite(right).all():
        assert orjson.loads(b"".join(parts))


@settings(deadline=None)
@given(st.lists(st.floats(-1e30, 1e30) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1))
def test_bf16_has_them_too(values: list[float]) -> None:
    request = _read("BF16", json.dumps(values), len(values))
    parts, _ = encode_response("m", "1", request, _contract("BF16"), [request.inputs["x"]], {})
    answered = json.loads(b"".join(parts))["outputs"][0]["data"]
    np.testing.assert_allclose(answered, values, rtol=2**-8, atol=1e-37)


@pytest.mark.parametrize("datatype", sorted(set(NUMPY_TYPES) - {"FP16", "FP32", "FP64", "BF16"}))
def test_what_is_not_a_float_has_none(datatype: str) -> None:
    with pytest.raises(BadRequest, match=rf"inputs\[0\].data: not {datatype} values \((NaN|-Infinity)\)"):
        _read(datatype, "[NaN]", 1)
    with pytest.raises(BadRequest, match=r"not .* values \(-Infinity\)"):
        _read(datatype, "[-Infinity]", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"inputs": [NaN}', "not JSON"),
        ('{"inputs": nan}', "not JSON"),
        ('{"id": NaN}', "id: NaN .*string"),
        ('{"x": NaN, "parameters": {"timeout": Infinity}}', r"parameters\.timeout: Infinity "),
        ('{"x": NaN, "parameters": {"timeout": ' + "9" * 400 + "}}", "parameters.timeout"),
        ('{"x": NaN, "id": "\\ud800"}', "not UTF-8"),
        ('{"x": NaN, "\\udfff": 1}', "not UTF-8"),
        ('{"x": ' + "[" * 100_000 + "NaN", "nested too deeply"),
        ('{"x": NaN, "y": ' + "9" * 10_000 + "}", "not JSON"),
        ('\ufeff{"x": NaN}', "not JSON"),
        ("NaN", "NaN .*JSON object"),
    ],
)
def test_nothing_else_is_let_in_beside_them(text: str, words: str) -> None:
    inputs = '"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}], '
    with pytest.raises(BadRequest, match=words):
        decode_request(text.replace("{", "{" + inputs, 1).encode(), None, _contract("FP32"))
    with pytest.raises(BadRequest):
        decode_request(text.encode(), None, _contract("FP32"))


def test_a_body_in_another_encoding_is_refused_though_it_holds_the_word() -> None:
    with pytest.raises(BadRequest, match=r"not JSON|not UTF-8"):
        decode_request("{}".encode("utf-16") + b"NaN", None, _contract("FP32"))
    with pytest.raises(BadRequest, match="not UTF-8"):
        decode_request(b'{"x": NaN, "y": "\xff"}', None, _contract("FP32"))


@pytest.mark.parametrize("number", ["1e309", "-1e999", "9" * 400])
@pytest.mark.parametrize("beside", ["NaN", "1.0"])
def test_a_number_too_large_for_a_float_is_not_an_infinity(number: str, beside: str) -> None:
    with pytest.raises(BadRequest, match=r"too large|infinity when parsed"):
        _read("FP64", f"[{beside}, {number}]", 2)


def test_a_word_in_a_text_is_a_text() -> None:
    request = _read("BYTES", '["NaN", "Infinity", "\\ud83d\\ude00"]', 3, '"x": NaN,')
    assert request.inputs["x"].tolist() == ["NaN", "Infinity", "😀"]


@pytest.mark.parametrize(
    "more",
    [
        '"id": null,',
        '"parameters": null,',
        '"outputs": null,',
        '"parameters": {"binary_data_output": null, "timeout": null, "sequence_id": null},',
        '"outputs": [{"name": "y", "parameters": {"binary_data": null, "shared_memory_region": null}}],',
    ],
)
def test_a_field_that_is_null_is_one_that_is_not_there(more: str) -> None:
    request = _read("FP32", "[1]", 1, more)
    assert (request.id, request.parameters.timeout, request.parameters.stream, list(request.outputs)) == (
        "",
        None,
        "",
        [("y", False)],
    )


def test_inputs_that_are_null_are_missing() -> None:
    with pytest.raises(BadRequest, match=mentions("inputs: x", "missing")):
        decode_request(b'{"inputs": null}', None, _contract("FP32"))


@pytest.mark.parametrize(
    "value", [None, True, {"a": None}, [True], "x", ["2"], float("nan"), {"a": [[[[[1]]]]]}]
)
def test_a_refused_value_is_shown_as_json_writes_it(value: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        _read("FP32", "[1]", 1, f'"id": {json.dumps([value])},')
    said = str(refusal.value).removeprefix("id: ").removesuffix(" is not a string")
    if "…" not in said:
        np.testing.assert_equal(json.loads(said), [value])
    assert not any(word in said for word in ("None", "True", "'"))
