"""The Open Inference Protocol over gRPC, by tritonclient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as stubs
from tritonclient.utils import InferenceServerException

from messages import mentions

Stack = Any


@pytest.fixture
def client(served: Stack) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{served.grpc}") as client:
        yield client


def _given(images: Any, name: str = "image") -> Any:
    given = triton.InferInput(name, images.shape, "FP32")
    given.set_data_from_numpy(images)
    return given


def test_tritonclient_gets_the_models_answer(
    client: triton.InferenceServerClient, chain_model: bytes, images: Any
) -> None:
    expected = ort.InferenceSession(chain_model).run(["logits"], {"image": images})[0]
    result = client.infer("digits", [_given(images)], request_id="r-2")
    np.testing.assert_allclose(result.as_numpy("logits"), expected, rtol=1e-5)
    response = result.get_response()
    assert response.id == "r-2"
    assert response.parameters["exit"].string_param == "final"
    assert response.parameters["cut"].string_param == "local"
    assert response.parameters["deadline_met"].bool_param is True


def test_typed_contents_are_read_like_raw_ones(served: Stack, chain_model: bytes, images: Any) -> None:
    request = pb.ModelInferRequest(model_name="digits")
    tensor = request.inputs.add(name="image", datatype="FP32", shape=images.shape)
    tensor.contents.fp32_contents.extend(images.ravel().tolist())
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc}") as channel:
        response = stubs.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    expected = ort.InferenceSession(chain_model).run(["logits"], {"image": images})[0]
    found = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(response.outputs[0].shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_health_and_metadata_are_what_clients_ask_for(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    metadata = client.get_model_metadata("digits", as_json=True)
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": ["-1", "1", "16", "16"]}]


@pytest.mark.parametrize(
    ("model", "name", "shape", "code", "parts"),
    [
        ("other", "image", (1, 1, 16, 16), "NOT_FOUND", ('model "other"', "digits")),
        (
            "digits",
            "img",
            (1, 1, 16, 16),
            "INVALID_ARGUMENT",
            ('inputs[0].name: "img"',),
        ),
        ("digits", "image", (1, 1, 8, 8), "INVALID_ARGUMENT", ("inputs[0].shape: [1, 1, 8, 8]", "image has")),
    ],
)
def test_a_bad_request_is_refused_with_the_code_and_a_sentence(
    client: triton.InferenceServerClient, model: str, name: str, shape: Any, code: str, parts: tuple[str, ...]
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [_given(np.zeros(shape, np.float32), name)])
    assert caught.value.status() == f"StatusCode.{code}"
    assert mentions(*parts).search(caught.value.message())


def test_raw_bytes_that_do_not_fill_the_shape_are_refused(served: Stack) -> None:
    request = pb.ModelInferRequest(model_name="digits", raw_input_contents=[b"1234"])
    request.inputs.add(name="image", datatype="FP32", shape=[1, 1, 16, 16])
    channel = grpc.insecure_channel(f"127.0.0.1:{served.grpc}")
    with channel, pytest.raises(grpc.RpcError) as caught:
        stubs.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    assert caught.value.details() == "inputs[0]: 4 bytes, but FP32[1, 1, 16, 16] needs 1024"
