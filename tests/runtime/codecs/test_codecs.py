"""Encoded cuts: the format that both sides share, and the error of decoded values."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import parser

from benchmarks.graphs.small import camera_and_sensors, unet
from edge_runtime.codecs.affine import PerChannel, PerItem
from edge_runtime.codecs.contracts import FP32, names, wire_bytes, wire_tensors
from edge_runtime.codecs.half import Half
from edge_runtime.errors import BadRequest
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing import Graph
from edge_runtime.tensors import Tensor
from messages import mentions
from networks import AS_WRITTEN, OPTIMIZED, Array, feeds_for, run, with_noise

FP16, INT8, PER_CHANNEL, CODECS = Half.name, PerItem.name, PerChannel.name, names()
POOL = Tensor("pool1", "FP32", (-1, 4, 8, 8))


def _identity(kind: str = "float", rank: str = "N, 3, 4", opset: int = 17) -> Graph:
    text = f"""
    < ir_version: 9, opset_import: ["" : {opset}] >
    same ({kind}[{rank}] x) => ({kind}[{rank}] y) {{ t = Identity(x) y = Identity(t) }}
    """
    return Graph(parser.parse_model(text).SerializeToString())


def _there_and_back(graph: Graph, values: Array, codec: str) -> tuple[Array, dict[str, Array]]:
    wire = run(graph.slice(["x"], ["t"], encode=codec), {"x": values})
    return run(graph.slice(["t"], ["y"], decode=codec), wire)["y"], wire


def test_the_wire_has_its_own_names_and_types() -> None:
    assert wire_tensors([POOL], FP32) == (POOL,)
    assert wire_tensors([POOL], FP16) == (Tensor("pool1:fp16", "FP16", (-1, 4, 8, 8)),)
    assert wire_tensors([POOL], INT8) == (
        Tensor("pool1:int8", "UINT8", (-1, 4, 8, 8)),
        Tensor("pool1:int8.scale", "FP32", (-1, 1)),
        Tensor("pool1:int8.zero", "UINT8", (-1, 1)),
    )
    assert [wire_bytes([POOL], codec) for codec in CODECS] == [1024, 512, 256 + 5, 256 + 4 * 5]


def test_whole_numbers_and_single_rows_are_never_encoded() -> None:
    kept = [Tensor("tokens", "INT64", (-1, 16)), Tensor("scores", "FP32", (-1,))]
    assert all(wire_tensors(kept, codec) == tuple(kept) for codec in CODECS)


def test_names_that_the_graph_has_already_are_avoided() -> None:
    names = [t.name for t in wire_tensors([POOL], INT8, {"pool1:int8.scale", "other"})]
    assert names == ["pool1:int8_", "pool1:int8_.scale", "pool1:int8_.zero"]
    assert wire_tensors([POOL], INT8, {"pool1:int8.value"})[0].name == "pool1:int8_"
    assert wire_tensors([POOL], INT8, {"pool1:int8s"})[0].name == "pool1:int8"


@pytest.mark.parametrize(("decode", "encode"), list(product(CODECS, CODECS)))
def test_head_middle_and_tail_agree_about_every_hop(chain_model: bytes, decode: str, encode: str) -> None:
    graph = Graph(chain_model)
    feeds = {"image": np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)}
    whole = run(chain_model, feeds)["logits"]
    stages = [
        (["image"], ["pool1"], FP32, decode),
        (["pool1"], ["pool2"], decode, encode),
        (["pool2"], ["logits"], encode, FP32),
    ]
    values, sent = feeds, None
    for start, end, before, behind in stages:
        data = graph.slice(start, end, decode=before, encode=behind)
        onnx.checker.check_model(onnx.load_model_from_string(data))
        takes, gives = graph.contract(start, end, decode=before, encode=behind)
        assert sent is None or takes == sent
        session = Session(data, takes, gives)  # rejects a slice whose tensors do not match the contract
        session.warm()
        values, sent = run(data, values, OPTIMIZED), gives
        assert [(v.dtype.name, v.ndim) for v in values.values()] == [
            ({"FP32": "float32", "FP16": "float16", "UINT8": "uint8"}[t.datatype], len(t.shape))
            for t in gives
        ]
    if (decode, encode) == (FP32, FP32):
        np.testing.assert_allclose(values["logits"], whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values["logits"], whole, atol=0.05 * np.ptp(whole))


def test_each_codec_makes_other_bytes_and_each_time_the_same(chain_model: bytes) -> None:
    graph = Graph(chain_model)
    made = {
        (decode, encode): graph.slice(["pool1"], ["pool2"], decode=decode, encode=encode)
        for decode, encode in product(CODECS, CODECS)
    }
    assert len(set(made.values())) == len(CODECS) ** 2
    for (decode, encode), data in made.items():
        assert Graph(chain_model).slice(["pool1"], ["pool2"], decode=decode, encode=encode) == data


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, (2, 3, 4), elements=FLOATS))
def test_int8_is_off_by_less_than_a_step_and_keeps_zero(values: Array) -> None:
    back, wire = _there_and_back(_SAME, values, INT8)
    for row, result, scale in zip(values, back, wire["t:int8.scale"][:, 0], strict=True):
        span = max(float(row.max()), 0) - min(float(row.min()), 0)
        assert scale == pytest.approx(max(span / 255, np.finfo(np.float32).tiny), rel=1e-5)
        assert np.all(result[row == 0] == 0)
        assert np.abs(result.astype(np.float64) - row).max() <= 1.01 * float(scale)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, (2, 3, 4), elements=FLOATS))
def test_fp16_rounds_to_the_nearest_half_and_never_to_infinity(values: Array) -> None:
    back, _ = _there_and_back(_SAME, values, FP16)
    expected = np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(back, expected)


_SAME = _identity()


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-38])
def test_a_tensor_of_one_value_comes_back(value: float) -> None:
    values = np.full((1, 3, 4), value, np.float32)
    back, _ = _there_and_back(_SAME, values, INT8)
    np.testing.assert_allclose(back, values, rtol=1e-2, atol=1e-38)


def test_an_item_is_decoded_to_the_same_in_any_batch() -> None:
    rng = np.random.default_rng(3)
    mine, other = rng.normal(size=(1, 3, 4)).astype(np.float32), np.full((1, 3, 4), 1e4, np.float32)
    alone, _ = _there_and_back(_SAME, mine, INT8)
    together, _ = _there_and_back(_SAME, np.concatenate([other, mine]), INT8)
    assert together[1:].tobytes() == alone.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("level", [AS_WRITTEN, OPTIMIZED])
def test_int8_gives_nothing_for_an_item_that_is_not_finite_and_the_others_as_ever(
    value: float, place: int, level: Any
) -> None:
    values = np.random.default_rng(1).normal(size=(3, 3, 4)).astype(np.float32)
    values[1].flat[place] = value
    wire = run(_SAME.slice(["x"], ["t"], encode=INT8), {"x": values}, level)
    back = run(_SAME.slice(["t"], ["y"], decode=INT8), wire, level)["y"]
    assert np.isnan(wire["t:int8.scale"][:, 0]).tolist() == [False, True, False]
    assert np.isnan(back[1]).all()
    np.testing.assert_allclose(back[[0, 2]], values[[0, 2]], atol=0.02)


def test_each_channel_of_an_item_has_a_range_of_its_own() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(2, 3, 64)).astype(np.float32) * np.array([[[1e-3], [1], [1e3]]], np.float32)
    graph = _identity(rank="N, 3, 64")
    fine, wire = _there_and_back(graph, values, PER_CHANNEL)
    coarse, _ = _there_and_back(graph, values, INT8)
    assert {n: v.shape for n, v in wire.items()} == {
        "t:int8-per-channel": (2, 3, 64),
        "t:int8-per-channel.scale": (2, 3),
        "t:int8-per-channel.zero": (2, 3),
    }
    spans = np.ptp(values, axis=2)
    assert (np.abs(fine - values).max(axis=2) < 0.01 * spans).all()
    assert (np.abs(coarse - values).max(axis=2)[:, 0] > 0.2 * spans[:, 0]).all()


def test_a_channel_that_is_not_finite_leaves_the_other_channels_and_items_as_ever() -> None:
    values = np.random.default_rng(8).normal(size=(2, 3, 4)).astype(np.float32)
    values[1, 2, 0] = np.inf
    back, wire = _there_and_back(_SAME, values, PER_CHANNEL)
    assert np.isnan(wire["t:int8-per-channel.scale"]).tolist() == [[False] * 3, [False, False, True]]
    assert np.isnan(back[1, 2]).all()
    np.testing.assert_allclose(back[0], values[0], atol=0.02)
    np.testing.assert_allclose(back[1, :2], values[1, :2], atol=0.02)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("dense", "FP32", (-1, 512)),
        Tensor("pooled", "FP32", (-1, 512, 1, 1)),
        Tensor("half", "FP16", (-1, 8, 2, 2)),
        Tensor("open", "FP32", (-1, 8, -1, 16)),
    ],
)
def test_channels_too_small_or_of_open_size_cross_as_they_are(tensor: Tensor) -> None:
    assert wire_tensors([tensor], PER_CHANNEL) == (tensor,)


def test_fp16_ends_at_its_largest_value_and_passes_on_what_is_not_a_number() -> None:
    values = np.array([[[np.nan, np.inf, -np.inf, 1e6]] * 3], np.float32)
    back, _ = _there_and_back(_SAME, values, FP16)
    np.testing.assert_array_equal(back[0, 0], [np.nan, 65504, -65504, 65504])


@pytest.mark.parametrize("codec", [FP16, INT8])
@pytest.mark.parametrize("shape", [(2, 0, 4), (0, 3, 4)])
def test_nothing_comes_back_as_nothing(codec: str, shape: tuple[int, ...]) -> None:
    back, wire = _there_and_back(_identity(rank="N, M, 4"), np.zeros(shape, np.float32), codec)
    assert back.shape == shape
    if codec == INT8:
        assert wire["t:int8.scale"].shape == wire["t:int8.zero"].shape == (shape[0], 1)


def test_values_of_no_size_and_those_that_are_whole_already_cross_as_they_are() -> None:
    kept = [Tensor("past", "FP32", (-1, 0, 4)), Tensor("q", "UINT8", (-1, 16)), Tensor("s", "INT8", (-1, 16))]
    assert all(wire_tensors(kept, codec) == tuple(kept) for codec in CODECS)


def test_doubles_beyond_single_precision_do_not_become_other_numbers() -> None:
    graph = _identity("double")
    values = np.full((2, 3, 4), 0.5)
    values[1, 0, 0] = 1e300
    back, _ = _there_and_back(graph, values, INT8)
    np.testing.assert_allclose(back[0], values[0], rtol=0.01)
    assert np.isnan(back[1]).all()


@pytest.mark.parametrize("kind", ["float16", "double"])
@pytest.mark.parametrize("codec", [FP16, INT8])
def test_other_floating_types_come_back_in_their_own(kind: str, codec: str) -> None:
    graph = _identity(kind)
    number = np.dtype({"float16": np.float16, "double": np.float64}[kind])
    values = np.linspace(-1, 1, 24).reshape(2, 3, 4).astype(number)
    back, _ = _there_and_back(graph, values, codec)
    assert back.dtype == number
    np.testing.assert_allclose(back, values, atol=0.01)


@pytest.mark.parametrize("opset", [8, 11, 12, 13, 17, 18, 21])
def test_the_operators_fit_the_models_opset(opset: int) -> None:
    values = np.linspace(-1, 1, 24).reshape(2, 3, 4).astype(np.float32)
    for codec, error in ((FP16, 1e-3), (INT8, 0.01), (PER_CHANNEL, 0.01)):
        back, _ = _there_and_back(_identity(opset=opset), values, codec)
        np.testing.assert_allclose(back, values, atol=error)


def test_an_opset_that_lacks_the_operators_is_refused() -> None:
    for codec in (FP16, INT8, PER_CHANNEL):
        with pytest.raises(BadRequest, match=mentions(f"codec: {codec}", "opset 8", 7)):
            _identity(opset=7).slice(["x"], ["t"], encode=codec)
    with pytest.raises(BadRequest, match=mentions('encode: "int4"', "fp32", "fp16", "int8")):
        _SAME.slice(["x"], ["t"], encode="int4")


def test_a_head_that_only_encodes_the_input_is_a_slice(chain_model: bytes) -> None:
    graph = Graph(chain_model)
    image = np.random.default_rng(0).uniform(size=(2, 1, 16, 16)).astype(np.float32)
    whole = run(chain_model, {"image": image})["logits"]
    wire = run(graph.slice(["image"], ["image"], encode=INT8), {"image": image})
    assert {n: v.nbytes for n, v in wire.items()} == {
        "image:int8": 512, "image:int8.scale": 8, "image:int8.zero": 2
    }  # fmt: skip
    tail = run(graph.slice(["image"], ["logits"], decode=INT8), wire)["logits"]
    np.testing.assert_allclose(tail, whole, atol=0.05 * np.ptp(whole))
    with pytest.raises(BadRequest, match="from image to image"):
        graph.slice(["image"], ["image"], decode=INT8, encode=INT8)


@pytest.mark.parametrize("codec", [FP16, INT8])
def test_several_tensors_are_encoded_separately_and_forwarded_unchanged(codec: str) -> None:
    model = unet(32, 4)
    data, feeds = with_noise(model), feeds_for(model)
    graph = Graph(data)
    cuts = [c.tensors for c in graph.cuts(["mask"], 4)]
    start, end = next((a, b) for a, b in pairwise(cuts) if len(set(a) & set(b)) >= 2)
    first = run(graph.slice(cuts[0], start, encode=codec), feeds)
    second = run(graph.slice(start, end, decode=codec, encode=codec), first)
    for name in set(start) & set(end):
        assert second[f"{name}:{codec}"].tobytes() == first[f"{name}:{codec}"].tobytes()
    mask = run(graph.slice(end, ["mask"], decode=codec), second)["mask"]
    whole = run(data, feeds)["mask"]
    np.testing.assert_allclose(mask, whole, atol=0.05 * np.ptp(whole))


def test_all_inputs_of_a_model_are_encoded() -> None:
    model = camera_and_sensors(16)
    data, feeds = with_noise(model), feeds_for(model)
    graph = Graph(data)
    both = list(graph.inputs)
    wire = run(graph.slice(both, both, encode=INT8), feeds, AS_WRITTEN)
    assert set(wire) == {f"{n}:int8{part}" for n in both for part in ("", ".scale", ".zero")}
    label = run(graph.slice(both, ["label"], decode=INT8), wire)["label"]
    np.testing.assert_allclose(label, run(data, feeds)["label"], atol=0.05)
