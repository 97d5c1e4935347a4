"""Real networks against published figures, an independent tool and onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import onnx_tool
import onnxruntime
import pytest
from onnx import ModelProto

from benchmarks.graphs.catalogue import build
from benchmarks.graphs.transformers import transformer
from edge_planning.graphs import Graph
from edge_planning.graphs.onnx_reading import read_graph

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
LIGHT_NAMES = [
    "light_bvlc_alexnet",
    "light_densenet121",
    "light_inception_v1",
    "light_inception_v2",
    "light_resnet50",
    "light_shufflenet",
    "light_squeezenet",
]
NAMES = ["alexnet", "camera_and_sensors", "inception_v3", "mobilenet_v2", "resnet50", "unet"]
PRODUCTS = {"conv", "convtranspose", "gemm", "matmul"}


def model_called(name: str) -> ModelProto:
    if name.startswith("light_"):
        return onnx.load_model(LIGHT / f"{name}.onnx")
    return transformer(blocks=2) if name == "transformer2" else build(name)


def feeds(model: ModelProto) -> dict[str, np.ndarray]:
    """Ones for each input, a batch of one."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: np.ones(
            [dimension.dim_value or 1 for dimension in value.type.tensor_type.shape.dim],
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in model.graph.input
        if value.name not in weights
    }


def counted(model: ModelProto) -> Any:
    """onnx-tool's count of the same model."""
    graph = onnx_tool.Model(model, {"verbose": False, "constant_folding": True}).graph
    graph.shape_infer(feeds(model))
    graph.profile()
    return graph


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("alexnet", 0.71e9, 61_100_840),
        ("inception_v3", 5.71e9, 23_834_568),
        ("mobilenet_v2", 0.30e9, 3_504_872),
        ("resnet50", 4.09e9, 25_557_032),
        ("light_vgg19", 19.63e9, 143_667_240),
        ("light_squeezenet", 0.35e9, 1_235_496),
    ],
)
def test_macs_and_parameters_are_those_that_torchvision_publishes(
    name: str, macs: float, parameters: int
) -> None:
    layers = read_graph(model_called(name), name=name).layers
    products = sum(layer.flops for layer in layers if layer.kind in PRODUCTS) / 2
    assert products == pytest.approx(macs, rel=0.02)
    # Batch normalization is folded: one number for each channel instead of two.
    assert sum(layer.parameters for layer in layers) / 4 == pytest.approx(parameters, rel=0.006)


def test_a_transformer_of_berts_size_has_berts_figures() -> None:
    layers = read_graph(build("transformer12"), name="bert").layers
    # Devlin et al. 2019 state 110 million parameters; TinyBERT (Jiao et al. 2020) 22.5 GFLOP for 128 tokens.
    assert sum(layer.parameters for layer in layers) / 4e6 == pytest.approx(110, rel=0.01)
    assert sum(layer.flops for layer in layers) / 1e9 == pytest.approx(22.5, rel=0.01)


@pytest.mark.parametrize("name", [*NAMES, "transformer2", *LIGHT_NAMES])
def test_products_and_parameters_agree_with_onnx_tool_layer_by_layer(name: str) -> None:
    model = model_called(name)
    graph = read_graph(model, name=name)
    by_output = {layer.outputs[0]: layer for layer in graph.layers}
    compared = 0
    tool = counted(model)
    for node in tool.nodemap.values():
        layer = by_output.get(node.output[0])
        if layer is None or layer.kind not in PRODUCTS:
            continue
        # onnx-tool counts MACs, and the bias as one of them for each output: here it is one addition.
        made = graph.tensors[layer.outputs[0]].elements
        bias = made if has_bias(node) else 0
        macs = node.macs[0] - bias
        if layer.kind == "convtranspose":
            # It counts the kernel for each output; the multiplication is of the kernel and each input.
            macs *= graph.tensors[layer.inputs[0]].elements / made
        assert layer.flops == pytest.approx(2 * macs + bias), layer.name
        compared += 1
    assert compared == sum(layer.kind in PRODUCTS for layer in graph.layers) > 0
    # onnx-tool counts elements; integers of 8 bytes (target shapes of Reshape) are the difference.
    assert sum(layer.parameters for layer in graph.layers) / 4 == pytest.approx(tool.params, rel=0.01)


def has_bias(node: Any) -> bool:
    return len(node.input) > 2 and bool(node.input[2])


@pytest.mark.parametrize("name", [*NAMES, "transformer2", *LIGHT_NAMES])
def test_shapes_and_bytes_are_those_that_onnxruntime_makes(name: str) -> None:
    model = model_called(name)
    graph = read_graph(model, name=name)
    made = [output for layer in graph.layers for output in layer.outputs]
    exposed = ModelProto()
    exposed.CopyFrom(model)
    stated = {value.name for value in model.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=o) for o in made if o not in stated)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results = session.run(made, feeds(model))
    assert {o: (r.shape, r.nbytes) for o, r in zip(made, results, strict=True)} == {
        o: (graph.tensors[o].shape, graph.tensors[o].size) for o in made
    }


@pytest.mark.parametrize("name", [*NAMES, "transformer12", *LIGHT_NAMES])
def test_a_real_network_needs_no_warning_and_has_no_opaque_layer(name: str) -> None:
    graph = read_graph(model_called(name), name=name)
    assert graph.warnings == ()
    assert "opaque" not in {layer.kind for layer in graph.layers}
    assert connected_in_order(graph)


def connected_in_order(graph: Graph) -> bool:
    """Every layer reads only inputs and outputs of earlier layers."""
    known = set(graph.inputs)
    for layer in graph.layers:
        if not known.issuperset(layer.inputs):
            return False
        known.update(layer.outputs)
    return known.issuperset(graph.outputs)


def test_a_layer_has_its_sizes_and_edgents_variables() -> None:
    graph = read_graph(build("alexnet"), name="alexnet")
    first, _, pool = graph.layers[:3]
    assert (first.kind, pool.kind) == ("conv", "maxpool")
    assert graph.tensors[first.outputs[0]].shape == (1, 64, 55, 55)
    pixels = 64 * 55 * 55
    assert first.flops == 2 * pixels * 3 * 11 * 11 + pixels
    assert first.parameters == 4 * (64 * 3 * 11 * 11 + 64)
    assert first.activations == 4 * pixels
    assert first.memory == first.parameters + first.activations + 4 * 3 * 224 * 224
    assert first.variables == {
        "input": 3 * 224 * 224,
        "output": pixels,
        "input_maps": 3,
        "filter_work": (11 / 4) ** 2 * 64,
    }
    assert pool.variables == {"input": pixels, "output": 64 * 27 * 27}
    assert graph.layers[-1].variables == {"input": 4096, "output": 1000}
