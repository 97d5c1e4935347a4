"""The classes of an output: its highest values with their indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import BadTensor
from edge_runtime.protocol.classification import batches, class_count, classified
from edge_runtime.tensors import Contract, Tensor
from messages import mentions


def rows(*values: list[float], dtype: str = "f4") -> Any:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("output", "count", "batched", "classes"),
    [
        (rows([1, 5, 10, 4]), 2, True, [["10.000000:2", "5.000000:1"]]),
        (rows([0.5, 0.25], [0.125, 2]), 1, True, [["0.500000:0"], ["2.000000:1"]]),
        (rows([1, 5], [10, 4]), 3, False, ["10.000000:2", "5.000000:1", "4.000000:3"]),
        (rows([3, -7, 9], dtype="i4"), 2, True, [["9:2", "3:0"]]),
        (rows([0, 255], dtype="u1"), 1, True, [["255:1"]]),
        (rows([1, 1, 2, 1, 1], dtype="i8"), 3, True, [["2:2", "1:0", "1:1"]]),
        (rows([1, 2]), 100, True, [["2.000000:1", "1.000000:0"]]),
        (rows([np.nan, 1, np.inf, -np.inf]), 4, False, ["inf:2", "1.000000:1", "nan:0", "-inf:3"]),
        (np.zeros((2, 0), "f4"), 3, True, [[], []]),
        (np.zeros((1, 2, 3), "f4"), 1, True, [["0.000000:0"]]),
    ],
    ids=["one", "rows", "no batch", "integers", "bytes", "equal", "all", "not numbers", "empty", "images"],
)
def test_the_highest_values_come_first_with_their_index(
    output: Any, count: int, batched: bool, classes: list[Any]
) -> None:
    assert classified(output, count, batched=batched).tolist() == classes


def test_all_values_are_ordered_like_a_full_sort() -> None:
    output = np.random.default_rng(3).integers(0, 50, (4, 500)).astype("f4")
    for row, found in zip(output, classified(output, 120, batched=True), strict=True):
        order = sorted(range(500), key=lambda i, row=row: (-row[i], i))[:120]  # type: ignore[misc]
        assert found.tolist() == [f"{row[i]:.6f}:{i}" for i in order]


def test_an_output_that_takes_too_long_to_sort_is_refused() -> None:
    with pytest.raises(BadTensor, match=mentions("classification:", "1000001", "1000000")):
        classified(np.zeros((1, 1_000_001), "f4"), 1, batched=True)


@pytest.mark.parametrize("value", [None, 0])
def test_no_number_of_classes_and_zero_request_the_values(value: int | None) -> None:
    assert class_count(value, Tensor("y", "BYTES", (-1, 2)), "outputs[0]") == 0


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL", "FP16", "BF16"])
def test_datatypes_without_classes_are_refused_as_by_triton(datatype: str) -> None:
    with pytest.raises(BadTensor, match=mentions("outputs[0].parameters.classification: 2", datatype, "y")):
        class_count(2, Tensor("y", datatype, (-1, 2)), "outputs[0]")


@pytest.mark.parametrize("value", [-1, 1.5, True, "2", 1 << 32])
def test_a_number_of_classes_is_a_whole_positive_number(value: Any) -> None:
    with pytest.raises(BadTensor, match=mentions("outputs[0].parameters.classification:", "whole number")):
        class_count(value, Tensor("y", "FP32", (-1, 2)), "outputs[0]")


def test_a_model_has_a_batch_if_all_its_tensors_begin_with_it() -> None:
    batch, scalar = Tensor("x", "FP32", (-1, 4)), Tensor("rate", "INT64", ())
    boxes, fixed = Tensor("boxes", "FP32", (-1, 6), batched=False), Tensor("y", "FP32", (1, 8))
    assert batches(Contract([batch], [Tensor("y", "FP32", (-1, 2))]))
    assert not batches(Contract([batch, scalar], [Tensor("y", "FP32", (-1, 2))]))
    assert not batches(Contract([batch], [fixed]))
    assert not batches(Contract([boxes], [Tensor("y", "FP32", (-1, 2))]))
