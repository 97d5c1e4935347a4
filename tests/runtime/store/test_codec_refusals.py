"""If a cut cannot carry a codec, the codec is refused with a message, and the others are measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from edge_runtime.codecs import nodes
from edge_runtime.codecs.affine import PerItem, zero_name
from edge_runtime.codecs.contracts import FP32
from edge_runtime.codecs.definitions import scale_name
from edge_runtime.codecs.half import Half
from edge_runtime.errors import CannotLoad
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing import Graph, writing
from edge_runtime.store.codec_accuracies import CodecAccuracy, Refusal, measure_codecs
from edge_runtime.tensors import Tensor
from networks import Array, info, model_of

FP16, INT8 = Half.name, PerItem.name
CODECS = (FP32, FP16, INT8)  # these cuts have no channels
SAMPLES = np.random.default_rng(3).normal(size=(120, 16)).astype(np.float32)


def graph_of(*first: NodeProto, weights: tuple[Any, ...] = ()) -> Graph:
    """x through some operators to h, and through a quantized weight to y."""
    random = np.random.default_rng(4)
    steps = random.integers(-100, 100, (16, 8)).astype(np.int8)
    constants: dict[str, Array] = {
        "steps": steps,
        "scale": np.array(0.02, np.float32),
        "zero": np.array(0, np.int8),
    }
    nodes = [
        *first,
        helper.make_node("DequantizeLinear", ["steps", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    made = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return Graph(model_of(nodes, [info("x", "N", 16)], [info("y", "N", 8)], [*made, *weights]))


def measured(graph: Graph) -> tuple[dict[tuple[str, str], CodecAccuracy], dict[tuple[str, str], str]]:
    """Measured and refused codecs, by cut and codec."""
    refused: list[Refusal] = []
    labels = np.zeros(len(SAMPLES), np.int64)
    found = measure_codecs(graph, {"final": "y"}, {"x": SAMPLES}, labels, refused=refused.append)
    return (
        {("+".join(m.cut), m.codec): m for m in found},
        {("+".join(r.cut), r.codec): r.why for r in refused},
    )


def through(kind: str, *more: str) -> NodeProto:
    return helper.make_node(kind, ["x", *more], ["h"])


def test_every_cut_of_a_quantized_model_carries_every_codec() -> None:
    found, refused = measured(graph_of(through("Tanh")))
    assert set(found) == {(cut, codec) for cut in "xh" for codec in CODECS}
    assert not refused
    for (_, codec), each in found.items():
        assert each.error <= {FP32: 1e-5, FP16: 2e-3, INT8: 2e-2}[codec]


def test_values_beyond_a_codec_are_refused_for_it_alone() -> None:
    large = numpy_helper.from_array(np.array(1e6, np.float32), "large")
    found, refused = measured(graph_of(through("Mul", "large"), weights=(large,)))
    assert set(refused) == {("h", FP16)}
    assert "65504" in refused["h", FP16]
    assert set(found) == {(cut, codec) for cut in "xh" for codec in CODECS} - {("h", FP16)}


def test_values_that_are_not_finite_are_refused_by_all_that_encode() -> None:
    big = numpy_helper.from_array(np.array(3e38, np.float32), "big")
    nodes = [helper.make_node("Mul", ["x", "big"], ["huge"]), helper.make_node("Clip", ["h"], ["bounded"])]
    head = [nodes[0], helper.make_node("Mul", ["huge", "big"], ["h"])]
    graph = graph_of(*head, weights=(big,))
    found, refused = measured(graph)
    assert {key for key in refused if key[0] == "h"} == {("h", FP16), ("h", INT8)}
    assert "not finite" in refused["h", INT8]
    assert ("x", INT8) in found


def fused(tensor: Tensor, wire: str, codec: str, _: int) -> Iterator[NodeProto]:
    """A decoder that onnxruntime fuses with the quantized weight behind it."""
    assert codec == INT8
    yield helper.make_node(
        "Constant", [], [f"{wire}.all"], value=numpy_helper.from_array(np.array([-1]), "all")
    )
    for part in (scale_name(wire), zero_name(wire)):
        yield helper.make_node("Reshape", [part, f"{wire}.all"], [f"{part}s"])
    parts = [wire, f"{scale_name(wire)}s", f"{zero_name(wire)}s"]
    yield helper.make_node("DequantizeLinear", parts, [tensor.name], axis=0)


def halved(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
    """A decoder that returns half of each value."""
    for node in nodes.decoder(tensor, wire, codec, opset):
        if node.output[0] != tensor.name:
            yield node
            continue
        half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
        yield helper.make_node("Constant", [], [f"{wire}.half"], value=half)
        yield helper.make_node("Mul", [*node.input, f"{wire}.half"], [tensor.name])


@pytest.mark.parametrize("decoder", [fused, halved])
def test_a_codec_that_gives_other_answers_at_some_batch_is_refused_at_that_cut(
    monkeypatch: pytest.MonkeyPatch, decoder: Any
) -> None:
    def chosen(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
        wrong = codec == INT8 and tensor.name == "h"
        yield from (decoder if wrong else nodes.decoder)(tensor, wire, codec, opset)

    monkeypatch.setattr(writing, "decoder", chosen)
    found, refused = measured(graph_of(through("Tanh")))
    assert set(refused) == {("h", INT8)}
    assert ("differs after the" if decoder is halved else "the model failed") in refused["h", INT8]
    assert set(found) == {(cut, codec) for cut in "xh" for codec in CODECS} - {("h", INT8)}


def test_one_cut_that_does_not_load_leaves_the_others_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Session.__init__

    def loaded(self: Session, model: bytes, inputs: Any = None, outputs: Any = None) -> None:
        if inputs and inputs[0].name.startswith("h"):
            raise CannotLoad("the slice is broken")
        whole(self, model, inputs, outputs)

    monkeypatch.setattr(Session, "__init__", loaded)
    found, refused = measured(graph_of(through("Tanh")))
    assert refused == {("h", codec): "the slice is broken" for codec in CODECS}
    assert set(found) == {("x", codec) for codec in CODECS}


def test_slices_are_tried_with_one_to_four_items(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, set[int]] = {}
    whole = Session.run

    def counted(self: Session, feeds: dict[str, Array]) -> list[Array]:
        name = self.inputs[0].name
        sizes.setdefault(name, set()).add(len(feeds[name]))
        return whole(self, feeds)

    monkeypatch.setattr(Session, "run", counted)
    measured(graph_of(through("Tanh")))
    for name in ("x", "h", "h:int8", "h:fp16", "x:int8"):
        assert sizes[name] >= {1, 2, 3, 4}, name
