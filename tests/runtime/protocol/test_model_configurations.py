"""The model configuration that follows from a contract."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2

from edge_runtime.protocol.contents import LARGEST_REQUEST
from edge_runtime.protocol.model_configurations import configuration
from edge_runtime.tensors import Contract, Tensor

IMAGES = Contract([Tensor("image", "FP32", (-1, 3, 8, 8))], [Tensor("scores", "FP32", (-1, 10))])
VOICE = Contract(
    [Tensor("audio", "FP32", (1, 512)), Tensor("rate", "INT64", ())], [Tensor("voice", "FP32", (1, 1))]
)
WORDS = Contract([Tensor("words", "BYTES", (-1,))], [Tensor("flag", "BOOL", (-1,))])


def of(contract: Contract) -> dict[str, Any]:
    return configuration("m", "onnxruntime_onnx", contract)


def test_dimensions_leave_out_the_batch_and_its_limit_is_that_of_a_request() -> None:
    found = of(IMAGES)
    assert (found["name"], found["platform"], found["backend"]) == ("m", "onnxruntime_onnx", "onnxruntime")
    assert found["max_batch_size"] == LARGEST_REQUEST // (3 * 8 * 8 * 4)
    ((image,), (scores,)) = found["input"], found["output"]
    assert (image["name"], image["data_type"], image["dims"]) == ("image", "TYPE_FP32", [3, 8, 8])
    assert (scores["name"], scores["data_type"], scores["dims"]) == ("scores", "TYPE_FP32", [10])


def test_a_model_without_a_batch_has_all_dimensions_and_scalars_are_reshaped() -> None:
    found = of(VOICE)
    assert (found["max_batch_size"], "dynamic_batching" in found) == (0, False)
    audio, rate = found["input"]
    assert (audio["dims"], "reshape" in audio) == ([1, 512], False)
    assert (rate["dims"], rate["reshape"]) == ([1], {"shape": []})


def test_strings_have_tritons_name_and_rows_without_other_dimensions_are_one_value() -> None:
    found = of(WORDS)
    assert (found["input"][0]["data_type"], found["output"][0]["data_type"]) == ("TYPE_STRING", "TYPE_BOOL")
    assert (found["input"][0]["dims"], found["input"][0]["reshape"]) == ([1], {"shape": []})


def test_priorities_and_timeouts_are_those_that_requests_can_set() -> None:
    found = of(IMAGES)["dynamic_batching"]
    assert (found["priority_levels"], found["default_priority_level"]) == (10, 5)
    policy = found["default_queue_policy"]
    assert (policy["timeout_action"], policy["allow_timeout_override"]) == ("REJECT", True)


@pytest.mark.parametrize("contract", [IMAGES, VOICE, WORDS], ids=["batch", "none", "strings"])
def test_it_is_a_valid_message_of_tritons_schema(contract: Contract) -> None:
    message = ParseDict(of(contract), model_config_pb2.ModelConfig())
    assert [tensor.name for tensor in message.input] == [tensor.name for tensor in contract.inputs]
    assert message.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
