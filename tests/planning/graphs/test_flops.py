"""FLOPs of single operators, each against a manual count."""

from math import prod

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_planning.graphs import Graph
from edge_planning.graphs.flops import BY_INPUT, BY_OUTPUT, MOVEMENTS, RULES, flops
from edge_planning.graphs.onnx_reading import read_graph


def single(operator: str, *shapes: tuple[int, ...], outputs: int = 1, **attributes: object) -> Graph:
    """One node; the first shape is an input, the others are parameters (an empty shape omits one)."""
    names = ["x", *(f"w{n}" if shape else "" for n, shape in enumerate(shapes[1:]))]
    node = helper.make_node(operator, names, [f"y{n}" for n in range(outputs)], operator)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    weights = [
        numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in zip(names[1:], shapes[1:], strict=True)
        if name
    ]
    graph = helper.make_graph(
        [node],
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)],
        weights,
    )
    return read_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), name=operator)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        # 8 x 10 x 10 outputs, each 3 x 3 x 4 products and sums, and a bias.
        (single("Conv", (1, 4, 12, 12), (8, 4, 3, 3), (8,)), 800 * 36 * 2 + 800),
        # Two groups: each filter sees half of the maps.
        (single("Conv", (1, 4, 12, 12), (8, 2, 3, 3), group=2), 800 * 18 * 2),
        # Dilated, the kernel spans 5 x 5, which leaves 8 x 8 places.
        (single("Conv", (1, 4, 12, 12), (8, 4, 3, 3), dilations=[2, 2]), 8 * 64 * 36 * 2),
        (single("Conv", (1, 4, 20), (6, 4, 5), strides=[5]), 6 * 4 * 20 * 2),
        # Each of 4 x 6 x 6 inputs is spread over 8 x 2 x 2; then a bias on 8 x 12 x 12.
        (single("ConvTranspose", (1, 4, 6, 6), (4, 8, 2, 2), (8,), strides=[2, 2]), 144 * 32 * 2 + 8 * 144),
        (single("Gemm", (1, 30), (7, 30), (7,), transB=1), 2 * 7 * 30 + 7),
        (single("Gemm", (30, 5), (30, 7), transA=1), 2 * 5 * 7 * 30),
        (single("MatMul", (2, 3, 5, 7), (7, 11)), 2 * 2 * 3 * 5 * 11 * 7),
        (single("Einsum", (2, 3, 5, 7), (2, 3, 7, 11), equation="bhid,bhdj->bhij"), 2 * 2 * 3 * 5 * 11 * 7),
        (single("Einsum", (2, 3, 5, 7), (7, 11), equation="...d,dj->...j"), 2 * 2 * 3 * 5 * 11 * 7),
        (single("MaxPool", (1, 4, 12, 12), kernel_shape=[3, 3], strides=[3, 3]), 64 * 9),
        (single("AveragePool", (1, 4, 12, 12), kernel_shape=[2, 2], strides=[2, 2]), 144 * 4),
        (single("GlobalAveragePool", (1, 4, 12, 12)), 4 * 144),
        (single("Relu", (1, 4, 12, 12)), 4 * 144),
        (single("Softmax", (1, 10)), 50),
        (single("LRN", (1, 4, 12, 12), size=5), 4 * 144 * 14),
        (single("LayerNormalization", (1, 8, 16), (16,), (16,)), 8 * 16 * 7),
        (single("BatchNormalization", (1, 4, 3, 3), (4,), (4,), (4,), (4,)), 4 * 9 * 2),
        (single("ReduceMean", (1, 4, 12), keepdims=0), 48),
        (single("Sum", (1, 4), (1, 4), (1, 4)), 8),
        (single("Transpose", (1, 4, 12), perm=[0, 2, 1]), 0),
        (single("Flatten", (1, 4, 12)), 0),
        # 6 steps of 1 sequence, 4 gates of 8 units over 5 + 8 numbers, biases and the cells' own sums.
        (
            single("LSTM", (6, 1, 5), (1, 32, 5), (1, 32, 8), outputs=3, hidden_size=8),
            6 * (2 * 32 * 13 + 8 * 8 + 18 * 8),
        ),
        (single("GRU", (6, 1, 5), (1, 24, 5), (1, 24, 8), outputs=2, hidden_size=8), 6 * (2 * 24 * 13 + 152)),
    ],
    ids=lambda value: value.layers[0].name if isinstance(value, Graph) else "",
)
def test_an_operator_costs_its_multiplications_and_additions(graph: Graph, expected: float) -> None:
    assert [layer.kind for layer in graph.layers] == [graph.name.lower()]
    assert graph.layers[0].flops == expected
    assert graph.warnings == ()


def test_a_transposed_convolution_costs_what_a_loop_over_its_definition_does() -> None:
    # 3 x 3 kernel, stride 2: kernels overlap, so outputs have different numbers of products.
    maps, filters, side = 2, 3, 4
    products = 0
    for _ in range(maps):
        for _ in np.ndindex(side, side):
            products += sum(1 for _ in np.ndindex(filters, 3, 3))
    graph = single("ConvTranspose", (1, maps, side, side), (maps, filters, 3, 3), strides=[2, 2])
    assert graph.layers[0].flops == 2 * products


def test_linear_resizing_interpolates_along_each_axis_that_changes() -> None:
    graph = resized("linear")
    assert graph.layers[0].flops == prod((1, 4, 8, 8)) * 9
    assert resized("nearest").layers[0].flops == 0


def resized(mode: str) -> Graph:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], "resize", mode=mode)
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 8, 8))],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")],
    )
    return read_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]), name="resize")


def test_attention_is_two_products_and_a_softmax() -> None:
    names, shape = ("q", "k", "v"), (1, 4, 6, 8)
    graph = helper.make_graph(
        [helper.make_node("Attention", names, ["y"], "attention")],
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    layer = read_graph(model, name="attention").layers[0]
    assert layer.flops == 4 * (2 * 6 * 6 * 8 + 5 * 6 * 6 + 2 * 6 * 6 * 8)


def test_every_operator_has_one_rule() -> None:
    tables = [set(MOVEMENTS), set(BY_OUTPUT), set(BY_INPUT), set(RULES)]
    assert sum(map(len, tables)) == len(set().union(*tables)) > 130
    assert flops("Det", [(3, 3)], [()], {}) is None


def test_an_operator_without_a_rule_is_counted_by_its_output_and_named() -> None:
    graph = single("Det", (5, 3, 3))
    assert graph.layers[0].flops == 5
    (warning,) = graph.warnings
    assert warning.startswith("Det (1 of them)")
