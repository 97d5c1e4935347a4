"""The Open Inference Protocol over HTTP, by tritonclient and curl."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.http as triton

from messages import mentions

Stack = Any


@pytest.fixture
def client(served: Stack) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{served.http}") as client:
        yield client


def _expected(model: bytes, images: Any) -> Any:
    return ort.InferenceSession(model).run(["logits"], {"image": images})[0]


def test_tritonclient_gets_the_models_answer_in_every_encoding(
    client: triton.InferenceServerClient, chain_model: bytes, images: Any
) -> None:
    expected = _expected(chain_model, images)
    for binary_in in (True, False):
        for binary_out in (True, False):
            given = triton.InferInput("image", images.shape, "FP32")
            given.set_data_from_numpy(images, binary_data=binary_in)
            wanted = triton.InferRequestedOutput("logits", binary_data=binary_out)
            result = client.infer("digits", [given], outputs=[wanted], request_id="r-1")
            np.testing.assert_allclose(result.as_numpy("logits"), expected, rtol=1e-5)
            assert result.get_response()["id"] == "r-1"


def test_the_response_names_its_exit_route_and_cut(served: Stack, images: Any) -> None:
    answer = served.infer(images)
    parameters = answer["parameters"]
    assert (parameters["exit"], parameters["route"], parameters["cut"]) == ("final", "final@local", "local")
    assert parameters["deadline_met"] is True
    assert answer["outputs"][0]["shape"] == [3, 10]


def test_health_and_metadata_are_what_clients_ask_for(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert not client.is_model_ready("digitz")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("digits")
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 16, 16]}]
    assert metadata["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]


def _post(
    served: Stack, body: bytes, path: str = "/v2/models/digits/infer", **headers: str
) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{served.http}{path}", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["error"]


def _input(**change: Any) -> bytes:
    given = {"name": "image", "shape": [1, 1, 16, 16], "datatype": "FP32", "data": [0.0] * 256, **change}
    return json.dumps({"inputs": [given]}).encode()


BAD: dict[str, tuple[bytes, tuple[object, ...]]] = {
    "not JSON": (b"{", ("body:", "JSON")),
    "no object": (b"[]", ("body: []", "JSON object")),
    "no inputs": (b"{}", ("inputs: image", "send image")),
    "a missing input": (b'{"inputs": []}', ("inputs: image", "send image")),
    "a wrong name": (_input(name="img"), ('inputs[0].name: "img"', "use image")),
    "a wrong datatype": (_input(datatype="INT8"), ('inputs[0].datatype: "INT8"', "image has FP32")),
    "a wrong shape": (
        _input(shape=[1, 16, 16]),
        ("inputs[0].shape: [1, 16, 16]", "image has [-1, 1, 16, 16]"),
    ),
    "an invalid shape": (_input(shape="x"), ('inputs[0].shape: "x"', "image has [-1, 1, 16, 16]")),
    "a huge batch without data": (
        _input(shape=[1 << 40, 1, 16, 16]),
        ("inputs[0].shape: [1099511627776, 1, 16, 16]",),
    ),
    "a large batch without data": (
        _input(shape=[1 << 15, 1, 16, 16], data=[]),
        ("inputs[0].data: 0 values",),
    ),
    "an empty batch": (_input(shape=[0, 1, 16, 16], data=[]), ("inputs[0].shape: [0, 1, 16, 16]",)),
    "too little data": (_input(data=[0.0]), ("inputs[0].data: 1 values", "[1, 1, 16, 16]", 256)),
    "words as data": (_input(data=["x"] * 256), ("inputs[0].data:", "FP32")),
    "ragged data": (_input(data=[[1.0], [1.0, 2.0]]), ("inputs[0].data:", "FP32")),
    "binary data that is not there": (
        _input(parameters={"binary_data_size": 1024}, data=None),
        ("inputs[0]:", "binary_data_size 1024", "0 bytes"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_with_field_value_and_fix(served: Stack, case: str) -> None:
    body, parts = BAD[case]
    status, said = _post(served, body)
    assert status == 400
    assert mentions(*parts).search(said)


def test_what_is_not_served_is_404_and_says_what_is(served: Stack) -> None:
    status, said = _post(served, _input(), "/v2/models/other/infer")
    assert status == 404
    assert mentions('model "other"', "digits").search(said)
    assert _post(served, _input(), "/v2/models/digits/versions/7/infer")[0] == 404
    assert _post(served, _input(), "/v2/models/digits/versions/1/infer")[0] == 200
    assert _post(served, b"", "/v3")[0] == 404


def test_a_header_length_outside_the_body_is_refused(served: Stack) -> None:
    status, said = _post(served, _input(), **{"Inference-Header-Content-Length": "99999999"})
    assert status == 400
    assert said.startswith("inference-header-content-length: '99999999' ")


def test_an_output_that_the_model_lacks_is_refused(served: Stack) -> None:
    body = json.dumps({**json.loads(_input()), "outputs": [{"name": "logitz"}]}).encode()
    status, said = _post(served, body)
    assert status == 400
    assert mentions('outputs[0].name: "logitz"', "logits").search(said)


def test_the_metrics_count_requests_by_exit_route_and_outcome(served: Stack, images: Any) -> None:
    before = served.metric("edge_request_duration_seconds_count")
    met = served.metric("edge_slo_requests_total")
    for _ in range(3):
        served.infer(images)
    assert served.metric("edge_request_duration_seconds_count") == before + 3
    assert served.metric("edge_slo_requests_total") == met + 3
    text = served.metrics()
    labels = 'exit="final",outcome="ok",route="final@local",service="digits"'
    assert f"edge_request_duration_seconds_count{{{labels}}} " in text
    assert 'edge_active_route{exit="final",route="final@local",service="digits"} 1.0' in text
