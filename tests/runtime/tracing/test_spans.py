"""With a collector: one trace for each request, through both stages."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from edge_runtime.tracing.spans import Seldom, Spans
from edge_runtime.tracing.startup import start

Two = Any
Collected = Any
Start = Callable[..., Any]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1"}
SERVER, INTERNAL, CLIENT, ERROR = 2, 1, 3, 2


def _spans(service: str, url: str, monkeypatch: pytest.MonkeyPatch, **more: str) -> Spans:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = start(service, variables)
    assert found is not None
    return found


@pytest.fixture
def traced(
    tmp_path: Path,
    chain_model: bytes,
    collector: Collected,
    start_stages: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Two]:
    with _running(tmp_path, chain_model, start_stages, collector.url, monkeypatch) as two:
        yield two


@contextmanager
def _running(
    folder: Path, model: bytes, start_stages: Start, url: str, monkeypatch: pytest.MonkeyPatch, **more: str
) -> Iterator[Two]:
    near, far = (_spans(service, url, monkeypatch, **more) for service in ("digits", "tail"))
    try:
        with start_stages(folder, model, near, far) as two:
            yield two
    finally:
        near.close()
        far.close()


def test_one_request_is_one_trace_through_both_stages(traced: Two, collector: Collected) -> None:
    assert traced.infer(GIVEN)[0] == 200
    collector.wait(4)
    assert {span["trace"] for span in collector.spans} == {TRACE}
    request, stage = collector.named("digits POST /v2.*"), collector.named("digits stage")
    hop, far = collector.named("digits POST"), collector.named("tail POST /v2.*")
    parents = [span["parent"] for span in (request, stage, hop, far)]
    assert parents == [SPAN, request["id"], request["id"], hop["id"]]
    assert [span["kind"] for span in (request, stage, hop, far)] == [SERVER, INTERNAL, CLIENT, SERVER]
    assert request["begin"] <= stage["begin"] <= stage["end"] <= hop["begin"] <= far["begin"]
    assert far["end"] <= hop["end"] <= request["end"]


def test_spans_say_what_was_served_and_how_it_went(traced: Two, collector: Collected) -> None:
    assert traced.infer()[0] == 200
    collector.wait(4)
    request = collector.named("digits POST /v2.*")
    assert request["parent"] == ""
    assert request["attributes"] | {"edge.confidence": 0} == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
        "url.path": "/v2/models/digits/infer",
        "url.scheme": "http",
        "edge.service": "digits",
        "edge.route": "final@pool1",
        "edge.exit": "final",
        "edge.cut": "pool1",
        "edge.deadline_met": True,
        "edge.outcome": "ok",
        "edge.confidence": 0,
    }
    assert collector.named("digits stage")["attributes"]["edge.route"] == "final@pool1"
    assert collector.named("digits POST")["attributes"] == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": traced.tap.port,
        "url.full": f"http://127.0.0.1:{traced.tap.port}/v2/models/tail/infer",
        "edge.service": "digits",
        "edge.place": "edge-b",
        "edge.model": "tail",
        "edge.route": "final@pool1",
        "edge.outcome": "ok",
    }


def test_over_grpc_a_request_is_traced_as_well(traced: Two, collector: Collected) -> None:
    given = grpcclient.InferInput("image", [1, 1, 16, 16], "FP32")
    given.set_data_from_numpy(np.zeros((1, 1, 16, 16), np.float32))
    with grpcclient.InferenceServerClient(f"unix:{traced.sockets / 'grpc.sock'}") as client:
        client.infer("digits", [given], headers=GIVEN)
    collector.wait(4)
    request = collector.named("digits inference.*")
    assert (request["name"], request["parent"]) == ("inference.GRPCInferenceService/ModelInfer", SPAN)
    assert request["attributes"]["rpc.grpc.status_code"] == 0
    assert request["attributes"]["edge.route"] == "final@pool1"
    assert collector.named("tail POST.*")["parent"] == collector.named("digits POST")["id"]


def test_a_stream_is_one_span_with_a_hop_for_each_request(traced: Two, collector: Collected) -> None:
    given = grpcclient.InferInput("image", [1, 1, 16, 16], "FP32")
    given.set_data_from_numpy(np.zeros((1, 1, 16, 16), np.float32))
    answers: queue.Queue[Any] = queue.Queue()
    with grpcclient.InferenceServerClient(f"unix:{traced.sockets / 'grpc.sock'}") as client:
        client.start_stream(lambda result, error: answers.put((result, error)), headers=GIVEN)
        for _ in range(2):
            client.async_stream_infer("digits", [given])
            assert answers.get(timeout=10)[1] is None
        client.stop_stream()
    collector.wait(7)
    stream = collector.named("digits inference.*")
    assert (stream["name"], stream["parent"]) == ("inference.GRPCInferenceService/ModelStreamInfer", SPAN)
    hops = [s for s in collector.spans if (s["service"], s["name"]) == ("digits", "POST")]
    assert [hop["parent"] for hop in hops] == [stream["id"]] * 2


def test_a_wrong_context_begins_a_new_trace(traced: Two, collector: Collected) -> None:
    assert traced.infer({"traceparent": f"00-{'0' * 32}-{SPAN}-01", "tracestate": "a=1"})[0] == 200
    collector.wait(4)
    (trace,) = {span["trace"] for span in collector.spans}
    assert int(trace, 16) != 0
    assert "tracestate" not in traced.tap.last()[0]


def test_a_failed_hop_is_an_error_and_its_request_is_one(traced: Two, collector: Collected) -> None:
    traced.tap.cut = True
    assert traced.infer(GIVEN)[0] == 503
    collector.wait(3)
    hop, request = collector.named("digits POST"), collector.named("digits POST /v2.*")
    assert (hop["status"], hop["attributes"]["edge.outcome"], hop["attributes"]["error.type"]) == (
        ERROR,
        "failed",
        "failed",
    )
    assert (request["status"], request["attributes"]["edge.outcome"]) == (ERROR, "failed")
    assert request["attributes"]["http.response.status_code"] == 503


def test_an_invalid_request_is_not_an_error_of_the_server(traced: Two, collector: Collected) -> None:
    from stages import ask

    assert ask(traced.sockets, "POST", "/v2/models/digits/infer", {"inputs": []})[0] == 400
    collector.wait(1)
    (request,) = collector.spans
    assert (request["status"], request["attributes"]["http.response.status_code"]) == (0, 400)


def test_an_unsampled_trace_is_not_exported_but_forwarded(
    tmp_path: Path,
    chain_model: bytes,
    collector: Collected,
    start_stages: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = {"OTEL_TRACES_SAMPLER": "always_off"}
    with _running(tmp_path, chain_model, start_stages, collector.url, monkeypatch, **more) as two:
        assert two.infer(GIVEN)[0] == 200
        version, trace, span, flags = two.tap.last()[0]["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")
    assert span != SPAN
    assert two.tap.last()[0]["tracestate"] == "a=1"
    assert collector.spans == []


def test_the_log_tells_of_it_once_a_minute() -> None:
    now = 100.0
    seldom = Seldom(lambda: now)
    record = logging.makeLogRecord({})
    assert [seldom.filter(record) for _ in range(3)] == [True, False, False]
    now += 59.9
    assert not seldom.filter(record)
    now += 0.2
    assert seldom.filter(record)


def test_a_collector_that_is_away_costs_spans_and_nothing_else(
    tmp_path: Path, chain_model: bytes, start_stages: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    with _running(tmp_path, chain_model, start_stages, "http://127.0.0.1:9", monkeypatch, **more) as two:
        assert {two.infer(GIVEN)[0] for _ in range(50)} == {200}
        begin = time.monotonic()
    assert time.monotonic() - begin < 20
    assert [each for each in threading.enumerate() if each.name.startswith("Otel")] == []
