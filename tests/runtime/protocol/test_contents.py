"""Values of every datatype, in each form of the protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_runtime.errors import BadTensor
from edge_runtime.protocol.contents import (
    LARGEST_REQUEST,
    check_shape,
    from_bytes,
    from_json,
    to_json,
    to_raw,
)
from edge_runtime.tensors import NUMPY_TYPES, Tensor
from messages import mentions

NUMBERS = [name for name in NUMPY_TYPES if name not in ("BYTES", "BF16")]


def _tensor(datatype: str, *shape: int) -> Tensor:
    return Tensor("x", datatype, shape)


@pytest.mark.parametrize("datatype", NUMBERS)
@given(data=st.data())
def test_numbers_come_back_from_raw_bytes_and_from_json(datatype: str, data: st.DataObject) -> None:
    made = data.draw(
        arrays.arrays(
            NUMPY_TYPES[datatype],
            arrays.array_shapes(max_dims=3, max_side=4),
            elements=arrays.from_dtype(NUMPY_TYPES[datatype]).filter(np.isfinite),
        )
    )
    tensor = _tensor(datatype, *made.shape)
    raw = from_bytes(tensor, made.shape, bytes(to_raw(datatype, made)), "x")
    np.testing.assert_array_equal(raw, made)
    text = orjson.dumps(to_json(datatype, made), option=orjson.OPT_SERIALIZE_NUMPY)
    back = from_json(tensor, made.shape, orjson.loads(text), "x")
    assert back.dtype == made.dtype
    np.testing.assert_array_equal(back, made)


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_byte_strings_come_back_from_raw_bytes_and_from_json(words: list[str]) -> None:
    tensor, shape = _tensor("BYTES", -1), (len(words),)
    array = from_json(tensor, shape, words, "x")
    raw = to_raw("BYTES", array)
    assert len(raw) == sum(4 + len(w.encode()) for w in words)
    assert list(from_bytes(tensor, shape, raw, "x")) == words
    assert to_json("BYTES", array) == words


def test_bf16_is_the_nearest_to_each_number_ties_to_even() -> None:
    tensor = _tensor("BF16", -1)
    bits = from_json(tensor, (5,), [1.0, -2.5, 1.00390625, 1.01171875, 3.0e38], "x")
    assert [hex(b) for b in bits] == ["0x3f80", "0xc020", "0x3f80", "0x3f82", "0x7f62"]
    assert to_json("BF16", bits)[:2].tolist() == [1.0, -2.5]
    np.testing.assert_array_equal(from_bytes(tensor, (5,), to_raw("BF16", bits), "x"), bits)


def test_any_byte_but_zero_is_true() -> None:
    assert from_bytes(_tensor("BOOL", 3), (3,), b"\x00\x01\xff", "x").tolist() == [False, True, True]


def test_raw_numbers_are_not_copied() -> None:
    raw = bytes(16)
    assert np.shares_memory(from_bytes(_tensor("FP32", 4), (4,), raw, "x"), np.frombuffer(raw, np.uint8))


BAD_JSON: dict[str, tuple[str, Any, str]] = {
    "a fraction for an integer": ("INT8", [1.5, 2], "x.data: not INT8 values (1.5)"),
    "a number that is too large": ("INT8", [300, 2], "x.data: not INT8 values (300 "),
    "a negative number for an unsigned one": (
        "UINT8",
        [-1, 2],
        "x.data: not UINT8 values (-1 ",
    ),
    "a number beyond FP32": ("FP32", [1e300, 2], "x.data: not FP32 values (1e+300 "),
    "a number beyond FP16": ("FP16", [1e6, 2], "x.data: not FP16 values (1000000.0 "),
    "a number that rounds to infinity": (
        "BF16",
        [3.4e38, 2],
        "x.data: not BF16 values (3.4e+38 ",
    ),
    "a word for a number": ("FP32", ["1.5", 2], 'x.data: not FP32 values ("1.5")'),
    "nothing for a number": ("FP32", [None, 2], "x.data: not FP32 values (null)"),
    "true for a number": ("FP32", [True, 2], "x.data: not FP32 values (true)"),
    "a number for a truth": ("BOOL", [1, 0], "x.data: not BOOL values (1)"),
    "a number for a word": ("BYTES", ["a", 1], "x.data: not BYTES values (1)"),
    "an object": ("FP32", [{}, 1], "x.data: not FP32 values ({})"),
    "lists and numbers": ("FP32", [[1.0], 2], "x.data: not FP32 values (nested lists differ"),
    "no list": ("FP32", 1.0, "x.data: 1.0 is not a list"),
    "half a character": ("BYTES", ["a", "\ud800"], "x.data: byte string 1 is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_json_that_is_not_of_the_datatype_is_refused(case: str) -> None:
    datatype, data, sentence = BAD_JSON[case]
    with pytest.raises(BadTensor) as caught:
        from_json(_tensor(datatype, 2), (2,), data, "x")
    assert str(caught.value).startswith(sentence)


BAD_BYTES: dict[str, tuple[bytes, tuple[object, ...]]] = {
    "no room for the lengths": (b"\x01\x00", ("x: 2 bytes", 8)),
    "a word that ends outside": (b"\x01\x00\x00\x00a\xff\xff\xff\xff", ("x: byte string 1", 9)),
    "bytes after the last": (b"\x00\x00\x00\x00\x00\x00\x00\x00a", ("x: 1 bytes", "byte string 1")),
    "what is not UTF-8": (b"\x00\x00\x00\x00\x01\x00\x00\x00\xff", ("x: byte string 1", "UTF-8")),
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_byte_strings_that_do_not_fill_the_shape_are_refused(case: str) -> None:
    raw, parts = BAD_BYTES[case]
    with pytest.raises(BadTensor, match=mentions(*parts)):
        from_bytes(_tensor("BYTES", 2), (2,), raw, "x")


def test_a_shape_that_no_request_could_fill_is_refused() -> None:
    huge = [1 << 40, 1 << 40]
    with pytest.raises(BadTensor, match=rf"x\.shape: .*{LARGEST_REQUEST}"):
        check_shape(_tensor("INT8", -1, -1), huge, "INT8", "x")
    with pytest.raises(BadTensor, match=rf"x\.shape: .*{LARGEST_REQUEST}"):
        check_shape(_tensor("BYTES", -1), [LARGEST_REQUEST // 4 + 1], "BYTES", "x")
    assert check_shape(_tensor("INT8", -1), [LARGEST_REQUEST], "INT8", "x") == (LARGEST_REQUEST,)


@pytest.mark.parametrize("shape", [[2], [2, 3, 4], [3, 4], [2, True], [2, 3.0], "ab", None, [0, 3], [-1, 3]])
def test_a_shape_of_another_model_is_refused(shape: Any) -> None:
    with pytest.raises(BadTensor, match=mentions("x.shape:", "x has [-1, 3]", "1 or more")):
        check_shape(_tensor("FP32", -1, 3), shape, "FP32", "x")


def test_a_tensor_of_any_rank_takes_every_shape_but_an_empty_one() -> None:
    anything = Tensor("x", "FP32", (), any_rank=True)
    assert check_shape(anything, [], "FP32", "x") == ()
    assert check_shape(anything, [2, 3], "FP32", "x") == (2, 3)
    with pytest.raises(BadTensor):
        check_shape(anything, [0], "FP32", "x")
