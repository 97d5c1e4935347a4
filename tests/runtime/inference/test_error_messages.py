"""Errors of onnxruntime in conditions: the operator that failed, and why."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from edge_runtime.errors import BadTensor
from edge_runtime.inference.error_messages import told
from edge_runtime.inference.sessions import Session

OUTER = "Non-zero status code returned while running If node. Name:'{}' Status Message: "
INNER = "Non-zero status code returned while running LSTM node. Name:'rnn/LSTM' Status Message: X has 5 axes"


@pytest.mark.parametrize("prefix", ["", "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : "])
def test_an_error_within_other_operators_names_the_innermost(prefix: str) -> None:
    error = RuntimeError(prefix + OUTER.format("If_0") + OUTER.format("If_1") + INNER + "\nmore")
    assert told(error) == 'LSTM "rnn/LSTM": X has 5 axes'


def test_other_errors_are_their_first_line() -> None:
    assert told(RuntimeError("  no such file\nat 0x1")) == "no such file"
    assert told(RuntimeError()) == "no reason given"
    assert len(told(RuntimeError("x" * 1000))) == 300


def test_inputs_that_a_model_rejects_name_the_operator_and_the_cause() -> None:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("at", TensorProto.INT64, [1]),
    ]
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, [1])
    node = helper.make_node("Gather", ["x", "at"], ["found"], name="pick")
    graph = helper.make_graph([node], "picks", inputs, [found])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = Session(model.SerializeToString())
    with pytest.raises(BadTensor, match=r'inputs: rejected by the model: Gather "pick": .*out of'):
        session.run({"x": np.zeros(3, np.float32), "at": np.array([7], np.int64)})
