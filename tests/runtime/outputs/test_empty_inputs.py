"""Inputs with an open dimension of 0 other than the batch, such as an empty cache of a decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from callers import CALLERS, Caller, by_json
from edge_runtime.errors import BadRequest, BadTensor
from edge_runtime.memoization.settings import CacheOptions, FilterOptions, MemoizationSettings
from edge_runtime.protocol.contents import LARGEST_REQUEST, check_shape
from edge_runtime.protocol.requests import decode_request
from edge_runtime.tensors import Contract, Tensor
from messages import mentions
from networks import info, model_of, run
from stages import alone

CACHE, NEW = np.zeros((1, 2, 0, 4), np.float32), np.ones((1, 2, 1, 4), np.float32)
SIZES = st.integers(-2, 3)


def decoder(past: str | int = "P", batch: str | int = "B") -> bytes:
    return model_of(
        [helper.make_node("Concat", ["past", "new"], ["present"], axis=2)],
        [info("past", batch, 2, past, 4), info("new", "B", 2, "S", 4)],
        [info("present", "B", 2, "T", 4)],
    )


def second_stage() -> bytes:
    """An image, and the boxes in it: each box by the image's sum."""
    nodes = [
        helper.make_node("ReduceSum", ["picture"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["boxes", "sum"], ["y"]),
    ]
    return model_of(nodes, [info("picture", 1, 3), info("boxes", "K", 4)], [info("y", "K", 4)])


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("decoder")
    (folder / "m.onnx").write_bytes(decoder())
    with alone(folder / "m.onnx", uds=folder):
        yield folder


@pytest.mark.parametrize("caller", CALLERS)
def test_an_empty_cache_is_served_in_every_form(sockets: Path, caller: Caller) -> None:
    for past in (CACHE, np.ones((1, 2, 3, 4), np.float32)):
        feeds = {"past": past, "new": NEW}
        np.testing.assert_array_equal(
            caller(sockets, "m", feeds)["present"], run(decoder(), feeds)["present"]
        )
    feeds = {"past": CACHE, "new": CACHE}
    assert caller(sockets, "m", feeds)["present"].shape == (1, 2, 0, 4)


@pytest.mark.parametrize(
    ("model", "feeds"),
    [
        (decoder(past=0), {"past": CACHE, "new": NEW}),
        (second_stage(), {"picture": np.ones((1, 3), np.float32), "boxes": np.zeros((0, 4), np.float32)}),
    ],
    ids=["a cache that the file fixes at 0", "no boxes, which are not a batch"],
)
def test_other_inputs_without_values_are_served(model: bytes, feeds: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model)
    with alone(tmp_path / "m.onnx", uds=tmp_path):
        for name, right in run(model, feeds).items():
            answer = by_json(tmp_path, "m", feeds)[name]
            assert answer.shape == right.shape
            np.testing.assert_array_equal(answer, right)


@pytest.mark.parametrize(
    "memoization",
    [MemoizationSettings(cache=CacheOptions()), MemoizationSettings(filter=FilterOptions(max_age=600.0))],
    ids=["cache", "filter"],
)
def test_a_response_without_values_is_returned_again(
    memoization: MemoizationSettings, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(decoder())
    feeds = {"past": CACHE, "new": CACHE}
    with alone(tmp_path / "m.onnx", uds=tmp_path, memoization=memoization):
        shapes = {by_json(tmp_path, "m", feeds)["present"].shape for _ in range(3)}
        longer = by_json(tmp_path, "m", feeds | {"new": NEW})["present"]
    assert shapes == {(1, 2, 0, 4)}
    np.testing.assert_array_equal(longer, NEW)


def test_a_scalar_can_be_sent_as_one_element_as_triton_has_it() -> None:
    rate = Tensor("sr", "INT64", ())
    assert check_shape(rate, [], "INT64", "sr") == check_shape(rate, [1], "INT64", "sr") == ()
    with pytest.raises(BadTensor, match=r"^sr\.shape: \[2\]"):
        check_shape(rate, [2], "INT64", "sr")


@given(want=st.lists(st.sampled_from([-1, 0, 1, 3]), max_size=4), batched=st.booleans(), data=st.data())
def test_an_open_dimension_takes_any_size_and_a_batch_at_least_one(
    want: list[int], batched: bool, data: st.DataObject
) -> None:
    tensor = Tensor("x", "FP32", tuple(want), batched=batched)
    shape = data.draw(st.tuples(*(st.one_of(SIZES, st.just(d)) for d in want)))
    least = [1 if axis == 0 and batched else 0 for axis in range(len(want))]
    right = all(d == w if w >= 0 else d >= n for d, w, n in zip(shape, want, least, strict=True))
    assert tensor.fits(shape) == right
    assert not tensor.fits((*shape, 1))
    if right:
        assert check_shape(tensor, list(shape), "FP32", "x") == shape
    else:
        with pytest.raises(BadTensor, match=r"^x\.shape: "):
            check_shape(tensor, list(shape), "FP32", "x")


@pytest.mark.parametrize(
    ("tensor", "hints"),
    [
        (Tensor("x", "FP32", (-1, 3)), ("1 or more",)),
        (
            Tensor("x", "FP32", (-1, -1)),
            ("1 or more for the batch", "0 or more for others"),
        ),
        (Tensor("x", "FP32", (2, -1)), ("0 or more",)),
    ],
)
def test_a_refusal_says_which_sizes_may_be_0(tensor: Tensor, hints: tuple[str, ...]) -> None:
    with pytest.raises(BadTensor, match=mentions(*hints)):
        check_shape(tensor, [7], "FP32", "x")


@pytest.mark.parametrize("shape", [[1, 0, 1 << 62], [1, 0, 1 << 20, 1 << 20], [1, 1 << 40, 0]])
def test_a_tensor_without_values_has_sizes_that_could_have_some(shape: list[int]) -> None:
    tensor = Tensor("x", "FP32", (1,) + (-1,) * (len(shape) - 1))
    with pytest.raises(BadTensor, match=rf"^x\.shape: .*{LARGEST_REQUEST}"):
        check_shape(tensor, shape, "FP32", "x")


def test_a_body_that_was_lost_is_not_taken_for_an_empty_tensor() -> None:
    contract = Contract([Tensor("x", "FP32", (2, -1))], [Tensor("y", "FP32", (2, -1))])
    with pytest.raises(BadRequest, match=mentions("body: empty", "JSON")):
        decode_request(b"", "0", contract)
