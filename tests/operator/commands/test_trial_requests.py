"""`helm test` sends a request to each Ready service."""

from typing import Any

import pytest

from edge_operator.cluster import Object
from edge_operator.trial_requests import RequestFailedError, sender, trial_requests

URL = "http://digits.default.svc.cluster.local:8080"
ABOUT = {
    "inputs": [
        {"name": "image", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "text", "datatype": "BYTES", "shape": [1]},
    ]
}


def service(name: str = "digits", ready: str = "True") -> Object:
    conditions = [{"type": "Placed", "status": "True"}, {"type": "Ready", "status": ready}]
    status = {"url": URL, "conditions": conditions}
    return {"metadata": {"name": name, "namespace": "default"}, "status": status}


class Server:
    """Responds by the end of the path, and records what was sent."""

    def __init__(self, about: Object, response: Object) -> None:
        self.about, self.response = about, response
        self.sent: list[tuple[str, Any]] = []

    def __call__(self, url: str, body: Object | None) -> Object:
        self.sent.append((url, body))
        return self.about if body is None else self.response


def test_zeros_of_the_models_inputs_are_sent_and_the_outputs_are_reported() -> None:
    server = Server(ABOUT, {"outputs": [{"name": "scores", "shape": [1, 10]}]})
    lines = list(trial_requests([service()], server))
    assert lines == ["InferenceService default/digits: scores [1, 10]"]
    (_, none), (url, body) = server.sent
    assert none is None
    assert url == f"{URL}/v2/models/digits/infer"
    assert body == {
        "inputs": [
            {"name": "image", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]},
            {"name": "text", "datatype": "BYTES", "shape": [1], "data": [""]},
        ]
    }


def test_a_service_that_is_not_ready_gets_no_request() -> None:
    server = Server(ABOUT, {})
    new = {"metadata": {"name": "new", "namespace": "default"}}
    lines = list(trial_requests([service(ready="False"), new], server))
    assert [line.split(": ")[1] for line in lines] == ["not Ready, no request sent"] * 2
    assert server.sent == []


def test_a_response_without_outputs_is_an_error_that_names_the_service() -> None:
    with pytest.raises(RequestFailedError, match=r"InferenceService default/digits.*no outputs"):
        list(trial_requests([service()], Server(ABOUT, {})))


def test_an_input_too_large_to_make_up_is_an_error() -> None:
    large = {"inputs": [{"name": "video", "datatype": "UINT8", "shape": [1, 4096, 4096]}]}
    with pytest.raises(RequestFailedError, match=r'input "video": 16777216 elements'):
        list(trial_requests([service()], Server(large, {})))


def test_a_service_that_nothing_serves_is_an_error_with_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError("connection refused")

    monkeypatch.setattr("edge_operator.trial_requests.urlopen", refuse)
    with pytest.raises(RequestFailedError, match=f"{URL}/v2: no response: connection refused"):
        sender()(f"{URL}/v2", None)
