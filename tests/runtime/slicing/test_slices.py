"""Composed slices equal the whole model, bit for bit."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edge_runtime.errors import BadRequest, UnknownTensor
from edge_runtime.model_metadata import metadata_of
from edge_runtime.slicing import Graph
from edge_runtime.tensors import Array, Tensor
from messages import mentions

# onnxruntime fuses across borders between slices, which changes rounding: unoptimized, results are bitwise
# equal; optimized, equal within rounding.
AS_WRITTEN = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
OPTIMIZED = ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def _run(model: bytes, feeds: dict[str, Array], output: str, level: Any = AS_WRITTEN) -> Array:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    result: Array = session.run([output], feeds)[0]
    return result


@pytest.mark.parametrize("output", ["exit1_logits", "exit2_logits", "logits"])
def test_the_segments_of_an_exit_compose_to_the_whole_model(
    chain_model: bytes, images: Array, output: str
) -> None:
    _check_composition(chain_model, images, output)


def test_the_segments_of_a_residual_graph_compose_to_the_whole_model(residual_model: bytes) -> None:
    images = np.random.default_rng(5).normal(size=(2, 1, 8, 8)).astype(np.float32)
    _check_composition(residual_model, images, "logits")


def _check_composition(model: bytes, images: Array, output: str) -> None:
    graph = Graph(model)
    whole = _run(model, {"image": images}, output)
    assert np.ptp(whole) > 0.1  # a constant would be equal, too
    assert _composed(graph, images, output, AS_WRITTEN).tobytes() == whole.tobytes()
    np.testing.assert_allclose(_composed(graph, images, output, OPTIMIZED), whole, rtol=1e-4, atol=1e-5)


def _composed(graph: Graph, images: Array, output: str, level: Any) -> Array:
    names = [c.tensor for c in graph.cuts([output])] + [output]
    value = images
    for start, end in pairwise(names):
        value = _run(graph.slice([start], [end]), {start: value}, end, level)
    return value


@pytest.mark.parametrize("cut", ["image", "relu1", "pool1", "pool2"])
def test_head_and_tail_at_any_cut_compose_to_the_whole_model(
    chain_model: bytes, images: Array, cut: str
) -> None:
    graph = Graph(chain_model)
    value = images if cut == "image" else _run(graph.slice(["image"], [cut]), {"image": images}, cut)
    tail = _run(graph.slice([cut], ["logits"]), {cut: value}, "logits")
    assert tail.tobytes() == _run(chain_model, {"image": images}, "logits").tobytes()


def test_a_slice_is_the_same_bytes_each_time(chain_model: bytes) -> None:
    made = {hashlib.sha256(Graph(chain_model).slice(["relu1"], ["logits"])).hexdigest() for _ in range(3)}
    assert len(made) == 1


def test_a_slice_holds_its_own_weights_only_and_keeps_the_versions(chain_model: bytes) -> None:
    whole = onnx.load_model_from_string(chain_model)
    slice_ = onnx.load_model_from_string(Graph(chain_model).slice(["pool1"], ["exit2_logits"]))
    assert {i.name for i in slice_.graph.initializer} == {"w2", "dense2"}
    assert [n.op_type for n in slice_.graph.node] == ["Conv", "Relu", "MaxPool", "Flatten", "MatMul"]
    assert (slice_.ir_version, slice_.opset_import[0].version) == (whole.ir_version, 17)
    onnx.checker.check_model(slice_)


def test_the_model_metadata_has_each_tensor_with_an_open_batch(chain_model: bytes) -> None:
    metadata = metadata_of(Graph(chain_model), len(chain_model))
    assert metadata.inputs == (Tensor("image", "FP32", (-1, 1, 16, 16)),)
    assert [[t.shape for t in exit_.tensors] for exit_ in metadata.exits] == [[(-1, 10)]] * 3


def test_inputs_that_do_not_separate_the_output_are_refused(residual_model: bytes) -> None:
    with pytest.raises(UnknownTensor, match=mentions("bent1", "logits from image", "cuts")):
        Graph(residual_model).slice(["bent1"], ["logits"])


def test_a_tensor_that_does_not_exist_is_refused_by_name(chain_model: bytes) -> None:
    with pytest.raises(UnknownTensor, match=mentions('"pool9"', "image")):
        Graph(chain_model).slice(["pool9"], ["logits"])


def test_an_empty_slice_is_refused(chain_model: bytes) -> None:
    with pytest.raises(BadRequest, match=mentions("from logits to logits")):
        Graph(chain_model).slice(["logits"], ["logits"])
