"""The work of operators, from the shapes with which an engine ran them; figures are computed by hand."""

import pytest

from edge_planning.costs.operators import BLOCKED, Operator
from edge_planning.errors import BadValueError


def test_a_convolution_does_two_operations_for_each_weight_and_output() -> None:
    conv = Operator("FusedConv", "float", ((1, 3, 8, 8), (16, 3, 3, 3), (16,)), ((1, 16, 4, 4),))
    work = conv.work
    assert work.flops == 2 * 16 * 4 * 4 * 3 * 3 * 3
    assert work.weights == 4 * 16 * 3 * 3 * 3
    assert work.read == 4 * (3 * 8 * 8 + 16)
    assert work.written == 4 * 16 * 4 * 4
    assert (work.depth, work.groups, work.rows, work.window) == (27, 1, 16, 9)


def test_a_depthwise_convolution_has_as_many_groups_as_channels() -> None:
    conv = Operator("Conv" + BLOCKED, "float", ((1, 32, 8, 8), (32, 1, 3, 3)), ((1, 32, 8, 8),))
    assert conv.plain == "Conv"
    assert (conv.work.groups, conv.work.flops) == (32, 2 * 32 * 64 * 9)


def test_a_transposed_convolution_spreads_each_input_over_its_filter() -> None:
    conv = Operator("ConvTranspose", "float", ((1, 8, 4, 4), (8, 2, 2, 2)), ((1, 2, 8, 8),))
    assert conv.work.flops == 2 * 8 * 16 * (2 * 2 * 2)


@pytest.mark.parametrize(
    ("a", "b", "out", "inner"),
    [
        ((5, 7), (7, 3), (5, 3), 7),
        ((7, 5), (7, 3), (5, 3), 7),  # the first is transposed
        ((2, 4, 5, 7), (2, 4, 7, 3), (2, 4, 5, 3), 7),
        ((2, 5, 7), (7, 3), (2, 5, 3), 7),
    ],
)
def test_the_inner_dimension_of_a_product_follows_from_its_shapes(
    a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...], inner: int
) -> None:
    work = Operator("Gemm", "float", (a, b), (out,)).work
    count = 1
    for size in out:
        count *= size
    assert (work.depth, work.flops) == (inner, 2 * count * inner)


def test_a_recurrent_operator_runs_its_weights_at_each_step() -> None:
    lstm = Operator("LSTM", "float", ((10, 2, 8), (1, 64, 8), (1, 64, 16)), ((10, 1, 2, 16),))
    assert lstm.work.steps == 10
    assert lstm.work.flops == 2 * 10 * 2 * (64 * 8 + 64 * 16)
    assert lstm.work.read == 4 * 10 * 2 * 8


def test_weights_of_a_quantized_product_are_its_second_matrix_and_take_a_byte_each() -> None:
    product = Operator("QLinearMatMul", "uint8", ((4, 8), (), (), (8, 2), (), ()), ((4, 2),))
    assert (product.work.weights, product.work.flops) == (16, 2 * 8 * 8)


def test_an_elementwise_operator_reads_and_writes_but_has_no_products() -> None:
    work = Operator("Add", "double", ((2, 3), (3,)), ((2, 3),)).work
    assert (work.flops, work.weights, work.read, work.written) == (0, 0, 72, 48)


def test_an_operator_survives_its_document() -> None:
    pool = Operator("MaxPool", "float", ((1, 2, 8, 8),), ((1, 2, 4, 4),))
    assert Operator.of(pool.document()) == pool
    assert pool.work.depth == 4


@pytest.mark.parametrize("broken", [{}, {"kind": "Add", "datatype": "float", "inputs": [["a"]]}])
def test_a_document_that_is_not_an_operator_is_rejected(broken: dict[str, object]) -> None:
    with pytest.raises(BadValueError, match="operator"):
        Operator.of(broken)
