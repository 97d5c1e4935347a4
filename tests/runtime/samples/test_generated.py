"""Generated inputs: by datatype and shape, within the range that the model can look up."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime.graph_analysis.index_ranges import index_ranges
from edge_runtime.samples.generating import generated, resized
from edge_runtime.samples.making import make
from edge_runtime.tensors import NUMPY_TYPES, Tensor


@pytest.mark.parametrize("datatype", sorted(NUMPY_TYPES))
def test_every_datatype_is_generated_in_its_shape(datatype: str) -> None:
    found = generated(Tensor("x", datatype, (-1, 7)), (2, 7))
    assert (found.shape, found.dtype) == ((2, 7), NUMPY_TYPES[datatype])


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_numbers_lie_between_0_and_1_and_differ(datatype: str) -> None:
    found = generated(Tensor("x", datatype, (-1,)), (1000,))
    assert 0 <= found.min() < found.max() <= 1


def test_generated_integers_can_divide() -> None:
    assert (generated(Tensor("x", "INT64", (-1,)), (9,)) == 1).all()


def test_indices_stay_within_the_table() -> None:
    found = generated(Tensor("ids", "INT64", (-1,)), (1000,), indices=30)
    assert (found.min(), found.max()) == (0, 29)
    assert generated(Tensor("ids", "INT8", (-1,)), (1000,), indices=30_000).max() <= 127


def test_the_same_input_is_generated_the_same_each_time() -> None:
    x = Tensor("x", "FP32", (-1, 4))
    np.testing.assert_array_equal(generated(x, (3, 4)), generated(x, (3, 4)))


def test_a_sample_is_repeated_or_cropped_to_another_shape() -> None:
    array = np.arange(6).reshape(1, 2, 3)
    np.testing.assert_array_equal(resized(array, (1, 3, 2)), [[[0, 1], [3, 4], [0, 1]]])


def test_samples_at_another_shape_keep_given_values_and_generate_the_rest() -> None:
    inputs = [Tensor("x", "FP32", (-1, -1)), Tensor("ids", "INT64", (-1, -1))]
    samples = make(inputs, {}, ranges={"ids": 5})
    assert samples.values == {"x": "generated", "ids": "generated"}
    assert samples.made == ["x", "ids"]
    larger = samples.at({"x": (1, 8), "ids": (1, 16)}, {"ids": 5})
    assert [feed["ids"].shape for feed in larger.feeds] == [(1, 16)]
    assert larger.feeds[0]["ids"].max() < 5
    assert not larger.assumed


def embedding(*nodes: onnx.NodeProto, table: tuple[int, ...] = (30, 8)) -> onnx.ModelProto:
    weights = helper.make_tensor("table", TensorProto.FLOAT, table, np.zeros(table, np.float32).ravel())
    ids = helper.make_tensor_value_info("ids", TensorProto.INT32, ["N", "L"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(list(nodes), "g", [ids], [y], [weights]))


def test_token_ids_are_indices_of_the_first_gather() -> None:
    model = embedding(
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["y"]),
    )
    assert index_ranges(model) == {"ids": 30}


def test_the_axis_of_the_gather_counts() -> None:
    assert index_ranges(embedding(helper.make_node("Gather", ["table", "ids"], ["y"], axis=-1))) == {"ids": 8}


def test_the_smallest_of_several_tables_counts() -> None:
    model = embedding(
        helper.make_node("Gather", ["table", "ids"], ["y"], axis=0),
        helper.make_node("Gather", ["table", "ids"], ["z"], axis=1),
    )
    assert index_ranges(model) == {"ids": 8}


def test_an_input_of_a_computation_is_not_taken_for_an_index() -> None:
    model = embedding(
        helper.make_node("Mul", ["ids", "ids"], ["more"]),
        helper.make_node("Gather", ["table", "more"], ["y"]),
    )
    assert index_ranges(model) == {}


def test_a_table_that_is_an_activation_has_no_known_size() -> None:
    assert index_ranges(embedding(helper.make_node("Gather", ["ids", "ids"], ["y"]))) == {}


def test_ids_of_a_fused_embedding_are_indices() -> None:
    model = embedding(
        helper.make_node(
            "EmbedLayerNormalization",
            ["ids", "", "table", "table", "", "gamma", "beta"],
            ["y", "mask"],
            domain="com.microsoft",
        )
    )
    assert index_ranges(model) == {"ids": 30}
