"""`ei infer` and `bench` against the runtime's own server of a model; inputs from files."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_cli.benchmarking import Load, Sample, histogram, quantile, result
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.feeds import (
    Scaling,
    generated_feeds,
    image_feed,
    json_feeds,
    numpy_feeds,
    request_document,
)
from edge_cli.inference import Reply, RequestError, ServiceClient, TensorForm, request_body, response_of
from messages import mentions

Ei = Any
IMAGE = TensorForm("image", "FP32", (-1, 3, 4, 6))
VECTOR = TensorForm("x", "FP32", (-1, 4))


def doubling(request: httpx.Request) -> httpx.Response:
    """A server of the protocol whose model doubles its input."""
    if request.method == "GET":
        form = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
        return httpx.Response(200, json={"name": "double", "inputs": [form], "outputs": [form]})
    length = request.headers.get("Inference-Header-Content-Length")
    feeds, _ = response_of(
        request.content.replace(b'"inputs"', b'"outputs"'), length and str(int(length) + 1)
    )
    head, size = request_body({"y": 2 * feeds["x"]})
    body = head.replace(b'"inputs"', b'"outputs"').replace(
        b'"binary_data_output": true', b'"route": "final@local"'
    )
    return httpx.Response(
        200, content=body, headers={"Inference-Header-Content-Length": str(size + len(body) - len(head))}
    )


def client(answer: Any = doubling) -> ServiceClient:
    return ServiceClient("http://service.test", "double", transport=httpx.MockTransport(answer))


def test_arrays_go_and_come_back_as_binary_tensors() -> None:
    here = client()
    assert here.inputs() == (VECTOR,)
    reply = here.infer({"x": np.array([[1, 2, 3, 4]], np.float32)})
    assert reply.outputs["y"].tolist() == [[2, 4, 6, 8]]
    assert reply.parameters == {"route": "final@local"}


def test_an_error_of_the_service_is_a_sentence_with_its_status() -> None:
    here = client(lambda request: httpx.Response(429, json={"error": "Overloaded: 9 requests wait"}))
    with pytest.raises(RequestError, match=mentions("double", 429, "Overloaded")) as raised:
        here.infer({"x": np.zeros((1, 4), np.float32)})
    assert raised.value.code == 429


def test_a_service_that_cannot_be_reached_ends_with_a_status_of_its_own(run: Ei) -> None:
    done = run("infer", "double", "--json", "[[1,2,3,4]]", "--address", "127.0.0.1:1")
    assert done.status == ExitStatus.UNREACHABLE
    assert mentions("double").search(done.err)


def test_texts_are_read_by_their_lengths() -> None:
    document = {
        "outputs": [{"name": "t", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 11}}]
    }
    head = json.dumps(document).encode()
    raw = b"".join(len(word).to_bytes(4, "little") + word for word in (b"a", b"bc"))
    outputs, _ = response_of(head + raw, str(len(head)))
    assert outputs["t"].tolist() == ["a", "bc"]


def picture(path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((8, 12, 3), (255, 0, 51), np.uint8)).save(path)
    return path


def test_an_image_is_resized_scaled_and_laid_out_as_the_input(tmp_path: Path) -> None:
    array = image_feed(picture(tmp_path / "cat.png"), IMAGE, Scaling())
    assert (array.shape, str(array.dtype)) == ((1, 3, 4, 6), "float32")
    assert array[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.2])
    last = image_feed(picture(tmp_path / "cat.png"), TensorForm("i", "UINT8", (4, 6, 3)), Scaling())
    assert (last.shape, last[0, 0].tolist()) == ((4, 6, 3), [255, 0, 51])
    normalized = image_feed(picture(tmp_path / "cat.png"), IMAGE, Scaling(1.0, (255, 0, 0), (1, 1, 51)))
    assert normalized[0, :, 0, 0].tolist() == pytest.approx([0.0, 0.0, 1.0])


def test_inputs_and_files_without_the_form_of_an_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=mentions("--image:", "x", "[-1, 4]")):
        image_feed(tmp_path / "cat.png", VECTOR, Scaling())
    with pytest.raises(CommandError, match=mentions("[-1, 5, 4, 6]")):
        image_feed(tmp_path / "cat.png", TensorForm("i", "FP32", (-1, 5, 4, 6)), Scaling())
    text = tmp_path / "cat.jpg"
    text.write_text("no image")
    with pytest.raises(CommandError, match=mentions("cat.jpg")):
        image_feed(text, IMAGE, Scaling())


def test_numpy_files_feed_inputs_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4))
    assert numpy_feeds(tmp_path / "x.npy", (VECTOR,))["x"].tolist() == [[0, 1, 2, 3]]
    np.savez(tmp_path / "all.npz", x=np.zeros((2, 4)), y=np.ones((1, 4)))
    forms = (VECTOR, TensorForm("y", "INT64", (1, 4)))
    found = numpy_feeds(tmp_path / "all.npz", forms)
    assert {name: (array.shape, str(array.dtype)) for name, array in found.items()} == {
        "x": ((2, 4), "float32"),
        "y": ((1, 4), "int64"),
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[[1, 2, 3]]", ("x", "[1, 3]", "[-1, 4]")),
        ('{"z": [1]}', ("z", "x")),
        ("[[", ("--json:",)),
        ('[["a"]]', ("x", "FP32")),
    ],
)
def test_json_that_does_not_fit_names_the_input_and_its_shape(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match=mentions(*parts)):
        json_feeds(text, (VECTOR,))


def test_json_for_several_inputs_must_name_them() -> None:
    forms = (VECTOR, TensorForm("y", "FP32", (1,)))
    with pytest.raises(CommandError, match=mentions("--json:", "x", "y")):
        json_feeds("[[1, 2, 3, 4]]", forms)
    with pytest.raises(CommandError, match=mentions("y")):
        json_feeds('{"x": [[1, 2, 3, 4]]}', forms)


def test_a_whole_request_differs_from_an_array() -> None:
    assert request_document('{"inputs": []}') == {"inputs": []}
    assert request_document('{"x": [1]}') is None
    assert request_document("[1]") is None
    assert request_document("x") is None


def test_generated_inputs_have_the_shapes_of_the_model_and_no_texts() -> None:
    forms = (TensorForm("x", "FP32", (-1, 4)), TensorForm("i", "INT64", (2,)), TensorForm("b", "BOOL", (1,)))
    found = generated_feeds(forms, 0)
    assert [(array.shape, str(array.dtype)) for array in found.values()] == [
        ((1, 4), "float32"),
        ((2,), "int64"),
        ((1,), "bool"),
    ]
    with pytest.raises(CommandError, match=mentions("t", "BYTES")):
        generated_feeds((TensorForm("t", "BYTES", (1,)),), 0)


class Scripted:
    """A client whose requests take scripted times of a clock."""

    def __init__(self, clock: "Ticking") -> None:
        self.clock = clock

    def infer(self, feeds: Any) -> Reply:
        self.clock.now += 0.01
        if int(self.clock.now * 100) % 10 == 0:
            raise RequestError("service digits: HTTP 429: Overloaded", 429)
        return Reply({}, {"route": "final@local"}, 0.01)

    def close(self) -> None:
        self.clock.closed += 1


class Ticking:
    def __init__(self) -> None:
        self.now, self.closed = 0.0, 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_load_at_a_rate_is_sent_when_it_is_due() -> None:
    clock = Ticking()
    load = Load(lambda: Scripted(clock), {}, 1, 20.0, clock, clock.sleep)
    took = load.run(1.0)
    assert len(load.samples) == 20
    assert took == pytest.approx(1.0, abs=0.06)
    assert clock.closed == 1


def test_load_without_a_rate_ends_after_its_number_of_requests() -> None:
    clock = Ticking()
    load = Load(lambda: Scripted(clock), {}, 1, None, clock, clock.sleep)
    load.run(60.0, 7)
    assert len(load.samples) == 7
    assert {each.route for each in load.samples if not each.error} == {"final@local"}


def test_the_figures_of_a_run() -> None:
    samples = [Sample(n / 1000, "a" if n < 60 else "b") for n in range(1, 101)]
    samples += [Sample(0.5, error="HTTP 500: broken"), Sample(0.1, error="HTTP 429", refused=True)]
    found = result(samples, 10.0, slo=0.05)
    assert (found.requests, found.failed, found.refused, found.throughput) == (102, 1, 1, 10.0)
    assert found.latency_ms == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert found.in_time == pytest.approx(50 / 102, abs=1e-4)
    assert found.routes == {"a": 59, "b": 41}
    assert found.errors == {"HTTP 500: broken": 1, "HTTP 429": 1}


def test_without_a_response_there_are_no_quantiles() -> None:
    found = result([Sample(0.1, error="lost")], 1.0)
    assert (found.latency_ms, found.mean_ms, found.in_time, found.throughput) == ({}, None, None, 0.0)
    assert histogram([Sample(0.1, error="lost")]) == []


def test_the_picture_has_a_bar_for_each_interval_and_counts_every_response() -> None:
    lines = histogram([Sample(n / 1000) for n in range(1, 201)], width=20, bins=4)
    assert len(lines) == 5
    assert sum(int(line.split()[-1]) for line in lines) == 200
    assert max(line.count("█") for line in lines) == 20
    assert quantile([1.0, 2.0], 0.5) == 1.0


def classifier(path: Path) -> Path:
    """An ONNX file with one layer."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], np.ones(8, np.float32))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [weight],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Serves a file by `edge-runtime serve`; gives its address."""
    command = [sys.executable, "-m", "edge_runtime.cli", "serve", str(classifier(tmp_path / "sum.onnx"))]
    command += ["--http-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"HTTP on (127\.0\.0\.1:\d+)", process.stdout.readline())
        assert found is not None
        try:
            yield found[1]
        finally:
            process.terminate()
            process.wait(30)


def test_a_served_model_answers_infer_and_bench(served: str, run: Ei, tmp_path: Path) -> None:
    done = run("infer", "sum", "--json", "[[1, 2, 3, 4]]", "--address", served, "-o", "json")
    assert (done.status, done.document["outputs"]["y"]) == (0, [[10.0, 10.0]])
    np.save(tmp_path / "x.npy", np.ones((1, 4), np.float32))
    done = run("infer", "sum", "--npy", str(tmp_path / "x.npy"), "--address", served)
    assert done.status == 0
    assert "y [1, 2]" in done.out
    done = run("bench", "sum", "--requests", "20", "-c", "2", "--address", served, "-o", "json")
    assert (done.status, done.document["requests"], done.document["failed"]) == (0, 20, 0)
    assert set(done.document["latencyMs"]) == {"p50", "p90", "p95", "p99", "max"}
    wrong = run("infer", "sum", "--json", '{"inputs": []}', "--address", served)
    assert wrong.status == ExitStatus.PROBLEM
    assert len(wrong.err.splitlines()) == 1


def test_only_one_kind_of_input_is_accepted(run: Ei) -> None:
    done = run("infer", "sum", "--json", "[1]", "--npy", "x.npy")
    assert done.status == ExitStatus.USAGE
    assert mentions("--image", "--npy", "--json").search(done.err)


def test_json_from_a_file_that_does_not_exist(run: Ei) -> None:
    done = run("infer", "sum", "--json", "@lost.json", "--address", "127.0.0.1:1")
    assert done.status == ExitStatus.PROBLEM
    assert "lost.json" in done.err
