"""A short inference without waiting gives the same response as any other, and is counted like any other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import httpx
import numpy as np
import pytest
from onnx import helper

from edge_runtime.asgi import Header, Response
from edge_runtime.errors import Overloaded
from edge_runtime.inference.service_queues import ServiceQueue
from edge_runtime.inference.sessions import Session, shapes_of
from edge_runtime.memoization.backends import MemoizingBackend
from edge_runtime.memoization.settings import OFF, CacheOptions, MemoizationSettings
from edge_runtime.metrics import Metrics
from edge_runtime.rest.app import RestApp
from edge_runtime.rest.bodies import Bodies
from edge_runtime.serving import Service
from edge_runtime.standalone import StandaloneModel
from networks import info, model_of

PATH = "/v2/models/m/infer"
COUNT = 'edge_slo_requests_total{met="true",namespace="",service="m"}'


def calculator() -> bytes:
    """Two inputs with an open first dimension; their sum and their difference."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    a, b, total, less = (info(name, "N", 3) for name in ("a", "b", "sum", "difference"))
    return model_of(nodes, [a, b], [total, less])


def question(**parameters: object) -> tuple[bytes, list[Header]]:
    """The body and the headers of a request for both outputs of the calculator."""
    data = [np.full((2, 3), value, np.float32).tobytes() for value in (5, 3)]
    inputs = [
        {"name": n, "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": len(part)}}
        for n, part in zip("ab", data, strict=True)
    ]
    outputs = [{"name": "sum", "parameters": {"binary_data": True}}, {"name": "difference"}]
    head = json.dumps({"id": "7", "inputs": inputs, "outputs": outputs, "parameters": parameters}).encode()
    body = b"".join((head, *data))
    length = b"%d" % len(head)
    return body, [(b"inference-header-content-length", length), (b"content-length", b"%d" % len(body))]


class Server:
    """The calculator, whose runs count as short or long whatever this machine's speed."""

    def __init__(self, seconds: float = 1e-6, memoization: MemoizationSettings = OFF) -> None:
        self.session = Session(calculator())
        self.session.seconds = seconds
        self.session.took(shapes_of({n: np.zeros((2, 3), np.float32) for n in "ab"}), seconds)
        self.metrics = Metrics("m")
        self.model = StandaloneModel(self.session, self.metrics, memoization=memoization)
        self.service = Service("m", MemoizingBackend(self.model, self.metrics.registry, "m", b"k" * 16))
        self.bodies = Bodies()
        self.app = RestApp(self.service, self.metrics.exposition, self.bodies)

    def ask(self, body: bytes, headers: Sequence[Header]) -> httpx.Response:
        """The response of the application that is awaited."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://m") as client:
                return await client.post(PATH, content=body, headers=[*headers])

        return asyncio.run(asked())

    def at_once(self, body: bytes, headers: Sequence[Header]) -> Response | None:
        respond = self.app.at_once("POST", PATH, headers)
        return None if respond is None else respond(body)

    def counted(self) -> float:
        lines = self.metrics.exposition().decode().splitlines()
        return float(next(line for line in lines if line.startswith(COUNT)).rsplit(" ", 1)[1])


def same(response: Response | None, awaited: httpx.Response) -> bool:
    assert response is not None
    headers = {name.decode(): value.decode() for name, value in response.headers}
    expected = {name: value for name, value in awaited.headers.items() if name != "content-length"}
    return (response.status, b"".join(response.parts), headers) == (
        awaited.status_code,
        awaited.content,
        expected,
    )


def test_a_repeated_request_gets_the_same_response_and_is_counted_once() -> None:
    server = Server()
    body, headers = question()
    awaited = server.ask(body, headers)
    assert awaited.status_code == 200
    assert same(server.at_once(body, headers), awaited)
    assert server.counted() == 2


def test_values_are_those_of_the_request_itself() -> None:
    server = Server()
    body, headers = question()
    server.ask(body, headers)
    other = body[:-48] + np.full((4, 3), 2, np.float32).tobytes()
    response = server.at_once(other, headers)
    assert response is not None
    length = int(dict(response.headers)[b"inference-header-content-length"])
    whole = b"".join(response.parts)
    assert np.frombuffer(whole[length:], np.float32).tolist() == [4.0] * 6
    assert json.loads(whole[:length])["outputs"][1]["data"] == [0.0] * 6


def test_a_request_whose_json_was_not_validated_before_is_left_to_the_application() -> None:
    server = Server()
    assert server.at_once(*question()) is None
    body, headers = question()
    server.ask(body, headers)
    assert server.at_once(body[:-1], headers) is None
    assert server.counted() == 1


def test_runs_that_are_not_known_to_be_short_wait_for_the_thread() -> None:
    server = Server(seconds=1.0)
    body, headers = question()
    server.ask(body, headers)
    server.session.seconds = 1.0
    assert server.at_once(body, headers) is None
    assert server.counted() == 1


@pytest.mark.parametrize(
    "header",
    [
        (b"content-encoding", b"gzip"),
        (b"accept-encoding", b"gzip"),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ],
)
def test_requests_with_headers_that_matter_are_left_to_the_application(header: Header) -> None:
    server = Server()
    body, headers = question()
    server.ask(body, headers)
    assert server.app.at_once("POST", PATH, [*headers, header]) is None
    assert server.app.at_once("POST", PATH, [*headers, (b"user-agent", b"a")]) is not None


def test_other_endpoints_and_other_models_are_left_to_the_application() -> None:
    server = Server()
    _, headers = question()
    assert server.app.at_once("GET", PATH, headers) is None
    assert server.app.at_once("POST", "/v2/models/other/infer", headers) is None
    assert server.app.at_once("POST", PATH, headers[1:]) is None


def test_requests_with_a_timeout_are_left_to_the_application() -> None:
    server = Server()
    body, headers = question(timeout=10_000_000)
    assert server.ask(body, headers).status_code == 200
    assert server.at_once(body, headers) is None


def test_memoized_services_and_stopping_servers_respond_in_the_ordinary_way() -> None:
    kept = Server(memoization=MemoizationSettings(cache=CacheOptions()))
    body, headers = question()
    kept.ask(body, headers)
    assert kept.at_once(body, headers) is None
    stopping = Server()
    stopping.ask(body, headers)
    stopping.service.draining = True
    assert stopping.at_once(body, headers) is None


def test_a_body_beyond_the_memory_of_all_bodies_is_left_to_the_application() -> None:
    server = Server()
    body, headers = question()
    server.ask(body, headers)
    server.bodies.held = 1 << 40
    assert server.at_once(body, headers) is None


def test_a_full_queue_refuses_in_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    body, headers = question()
    server.ask(body, headers)

    def full(self: ServiceQueue, seconds: float) -> None:
        raise Overloaded("256 requests are waiting: retry in 4 s", 4)

    monkeypatch.setattr(ServiceQueue, "admit", full)
    response = server.at_once(body, headers)
    assert same(response, server.ask(body, headers))
    assert response is not None
    assert (response.status, response.headers[1]) == (429, (b"retry-after", b"4"))
