"""Codecs next to quantized operators: a slice gives the same results with a codec and without.

onnxruntime fuses quantization patterns, and must not fuse a codec. The optimized slices with a codec are
therefore compared with the optimized slices without one, around the codec's arithmetic in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from edge_runtime.codecs.affine import PerChannel, PerItem
from edge_runtime.codecs.contracts import is_encoded
from edge_runtime.codecs.half import Half
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing import Graph
from edge_runtime.store.codec_checks import decoded
from networks import Array, run
from quantised import FLAT, SQUARE, Block, network

BATCHES = (1, 2, 3, 4)
FP16, INT8, PER_CHANNEL = Half.name, PerItem.name, PerChannel.name
STEP = {FP16: 2.0**-11, INT8: 0.51 / 255, PER_CHANNEL: 0.51 / 255}  # of an item's range


def items(graph: Graph, batch: int, seed: int = 0) -> dict[str, Array]:
    """Noise, each item larger than the one before: one range for all would be wrong for most."""
    found = {}
    for name in graph.inputs:
        shape = graph.tensor(name).shape[1:]
        noise = np.random.default_rng(seed).normal(size=(batch, *shape))
        found[name] = (noise * np.arange(1, batch + 1).reshape(-1, *[1] * len(shape))).astype(np.float32)
    return found


def optimized(model: bytes, feeds: dict[str, Array]) -> dict[str, Array]:
    """The slice as in production, with the inputs that the model has."""
    session = Session(model)
    results = session.run({t.name: feeds[t.name] for t in session.inputs})
    return dict(zip([t.name for t in session.outputs], results, strict=True))


def check_hop(graph: Graph, cut: Sequence[str], output: str, codec: str, batches: Sequence[int]) -> None:
    """Compares head and tail around a hop, as in production, with those without a codec.

    What onnxruntime does with a quantized operator depends on what follows, with or without a codec: with
    DequantizeLinear, MatMul and Relu at the end of a graph it rounds activations that it does not round
    elsewhere. Each may therefore also differ by the error of the optimizer without a codec.
    """
    tensors = [graph.tensor(name) for name in cut]
    if not any(is_encoded(tensor, codec) for tensor in tensors):
        return
    sources, made = graph.needed_inputs(cut), [name for name in cut if name not in graph.inputs]
    head, tail = graph.slice(sources, cut, encode=codec), graph.slice(cut, [output], decode=codec)
    plain = graph.slice(cut, [output])
    for batch in batches:
        feeds = items(graph, batch)
        values = written = {n: feeds[n] for n in cut if n in feeds}
        if made:
            needed = graph.needed_inputs(made)
            part = graph.slice(needed, made)
            values = values | optimized(part, feeds)
            written = written | run(part, {n: feeds[n] for n in needed})
        wire = optimized(head, feeds)
        sent = [wire[t.name] for t in graph.contract(sources, cut, encode=codec)[1]]
        arrived = decoded(tensors, codec, sent)
        for tensor in tensors:
            found, right, other = (v[tensor.name] for v in (arrived, values, written))
            if not is_encoded(tensor, codec):
                assert np.array_equal(found, right) or np.array_equal(found, other)
                continue
            step = STEP[codec] + (2.0**-11 if tensor.datatype == "FP16" else 0)
            for row, exact, before in zip(
                *(a.astype(np.float64) for a in (found, right, other)), strict=True
            ):
                wide = np.clip(exact, -65504, 65504) if codec == FP16 else exact
                span = max(wide.max(), 0) - min(wide.min(), 0) if codec != FP16 else np.abs(wide).max()
                limit = step * span + 2 * np.abs(exact - before).max() + 1e-7
                assert np.abs(row - wide).max() <= limit, (cut, codec, batch)
        answer, expected = optimized(tail, wire)[output], optimized(plain, arrived)[output]
        as_written = run(plain, arrived)[output]
        close = 1e-5 * float(np.ptp(expected)) + 2 * float(np.abs(expected - as_written).max())
        np.testing.assert_allclose(answer, expected, rtol=0, atol=close + 1e-30)
        np.testing.assert_array_equal(run(tail, wire)[output], as_written)


def blocks_of(square: bool) -> st.SearchStrategy[tuple[bool, list[Block]]]:
    """A few items in any order."""
    return st.tuples(
        st.just(square), st.lists(st.sampled_from(SQUARE if square else FLAT), min_size=2, max_size=5)
    )


@settings(max_examples=25, deadline=None)
@given(
    st.booleans().flatmap(blocks_of),
    st.sampled_from([13, 17, 18, 21]),
    st.integers(0, 2**16),
    st.sampled_from([FP16, INT8, PER_CHANNEL]),
)
def test_no_listed_cut_of_a_quantized_network_gives_other_answers_with_a_codec(
    drawn: tuple[bool, list[Block]], opset: int, seed: int, codec: str
) -> None:
    square, blocks = drawn
    graph = Graph(network(seed, opset, blocks, square=square))
    for cut in graph.cuts(["y"], 3):
        check_hop(graph, cut.tensors, "y", codec, BATCHES)


@pytest.mark.parametrize("square", [False, True])
def test_the_optimizer_leaves_every_operator_of_a_codec_and_changes_no_other(
    square: bool, tmp_path: Path
) -> None:
    for seed, block in enumerate(SQUARE if square else FLAT):
        graph = Graph(network(seed, 17, [block], square=square))
        for cut in graph.cuts(["y"])[1:]:
            plain = graph.slice(["x"], cut.tensors), graph.slice(cut.tensors, ["y"])
            right = [of_the_model(optimized_operators(data, tmp_path)) for data in plain]
            for codec in (FP16, INT8, PER_CHANNEL):
                head = graph.slice(["x"], cut.tensors, encode=codec)
                tail = graph.slice(cut.tensors, ["y"], decode=codec)
                for data, expected in zip((head, tail), right, strict=True):
                    found = optimized_operators(data, tmp_path)
                    assert of_the_model(found) == expected
                    written = onnx.load_model_from_string(data).graph.node
                    assert of_the_codec(found) == of_the_codec(written)


def of_the_codec(nodes: Iterable[NodeProto]) -> list[str]:
    """Nodes by the names of their tensors. Constants are in the graph, or outside."""
    return sorted(n.op_type for n in nodes if is_codec(n) and n.op_type != "Constant")


def of_the_model(nodes: Iterable[NodeProto]) -> list[str]:
    """The last node may be a Cast to the same datatype, where an output needs its name."""
    return sorted(n.op_type for n in nodes if not is_codec(n) and n.op_type != "Cast")


def is_codec(node: NodeProto) -> bool:
    """Nodes by the names of their tensors. Equal constants may be shared with the model."""
    return ":" in node.output[0] or (node.op_type == "Max" and ":" in node.input[0])


def optimized_operators(model: bytes, folder: Path) -> list[NodeProto]:
    """The nodes that onnxruntime finally runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(onnx.load(folder / "optimized.onnx").graph.node)


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """Noise for a model, one batch at a time."""

    def __init__(self, graph: Graph) -> None:
        self._left = [items(graph, 4, seed) for seed in range(3)]

    def get_next(self) -> dict[str, Array] | None:
        """The next batch; None at the end."""
        return self._left.pop() if self._left else None


@pytest.fixture(scope="module", params=["QDQ", "QOperator", "QDQ of INT8 by channel", "dynamic"])
def quantised(request: pytest.FixtureRequest, chain_model: bytes, tmp_path_factory: Any) -> Graph:
    """The chain of convolutions, quantized by onnxruntime's own tools."""
    folder = tmp_path_factory.mktemp("quantised")
    (folder / "float.onnx").write_bytes(chain_model)
    paths = str(folder / "float.onnx"), str(folder / "quantised.onnx")
    kind: str = request.param
    if kind == "dynamic":
        quantize_dynamic(*paths, weight_type=QuantType.QUInt8)
    else:
        form = QuantFormat.QOperator if kind == "QOperator" else QuantFormat.QDQ
        types = {"weight_type": QuantType.QInt8}
        types["activation_type"] = QuantType.QInt8 if "INT8" in kind else QuantType.QUInt8
        samples = Samples(Graph(chain_model))
        quantize_static(*paths, samples, form, per_channel="channel" in kind, **types)
    return Graph((folder / "quantised.onnx").read_bytes())


@pytest.mark.parametrize("codec", [FP16, INT8, PER_CHANNEL])
def test_a_model_from_the_tools_of_onnxruntime_is_cut_anywhere_with_any_codec(
    quantised: Graph, codec: str
) -> None:
    found = 0
    for output in quantised.outputs:
        for cut in quantised.cuts([output], 3):
            check_hop(quantised, cut.tensors, output, codec, BATCHES)
            found += 1
    assert found > 10
