"""The requests of Triton's Python example clients: what each sends, and what it checks of the responses.

The clients are those of triton-inference-server/client, in src/python/examples. docs/protocol.md lists those
that are left out.
"""

from __future__ import annotations

import asyncio
import queue
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.grpc.aio as over_grpc_aio
import tritonclient.http as over_http
import tritonclient.http.aio as over_http_aio
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from networks import info, model_of

Served = Any
Serve = Callable[[bytes], Served]
Array = Any

FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.full((1, 16), -1, np.int32)
TURNS = 40


def simple(datatype: str = "INT32") -> bytes:
    """The sum and the difference of two inputs of 16 numbers, like Triton's `simple`."""
    inputs = [info(name, "N", 16, datatype=datatype) for name in ("INPUT0", "INPUT1")]
    outputs = [info(name, "N", 16, datatype=datatype) for name in ("OUTPUT0", "OUTPUT1")]
    names = ["INPUT0", "INPUT1"]
    if datatype != "BYTES":
        nodes = [helper.make_node("Add", names, ["OUTPUT0"]), helper.make_node("Sub", names, ["OUTPUT1"])]
        return model_of(nodes, inputs, outputs)
    nodes = [helper.make_node("Cast", [name], [f"{name}_number"], to=TensorProto.INT32) for name in names]
    for operator, output in (("Add", "OUTPUT0"), ("Sub", "OUTPUT1")):
        nodes += [
            helper.make_node(operator, ["INPUT0_number", "INPUT1_number"], [f"{output}_number"]),
            helper.make_node("Cast", [f"{output}_number"], [output], to=TensorProto.STRING),
        ]
    return model_of(nodes, inputs, outputs)


def identity(datatype: str) -> bytes:
    return model_of(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        [info("INPUT0", "N", 16, datatype=datatype)],
        [info("OUTPUT0", "N", 16, datatype=datatype)],
    )


def classifier() -> bytes:
    """Images of 2 x 4 x 4 values to 8 classes, each the mean of a row of four values."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["rows"], axes=[3], keepdims=0),
        helper.make_node("Flatten", ["rows"], ["scores"]),
    ]
    return model_of(nodes, [info("image", "N", 2, 4, 4)], [info("scores", "N", 8)])


@dataclass(frozen=True)
class Transport:
    """The client library of a transport, and the port of the server."""

    module: Any
    port: int

    @contextmanager
    def client(self, **options: Any) -> Iterator[Any]:
        with self.module.InferenceServerClient(f"127.0.0.1:{self.port}", **options) as client:
            yield client

    def inputs(self, first: Array = FIRST, second: Array = SECOND, datatype: str = "INT32") -> list[Any]:
        found = []
        for name, values in (("INPUT0", first), ("INPUT1", second)):
            given = self.module.InferInput(name, values.shape, datatype)
            given.set_data_from_numpy(values)
            found.append(given)
        return found

    def outputs(self, *names: str, **options: Any) -> list[Any]:
        return [self.module.InferRequestedOutput(name, **options) for name in names or ("OUTPUT0", "OUTPUT1")]


@pytest.fixture(params=["HTTP", "gRPC"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reach(transport: str, serve: Serve) -> Callable[[bytes], Transport]:
    """Serves a model, and returns the transport under test to it."""

    def to(model: bytes) -> Transport:
        served = serve(model)
        by_http = transport == "HTTP"
        return Transport(over_http if by_http else over_grpc, served.http if by_http else served.grpc)

    return to


def _check(result: Any, first: Array = FIRST, second: Array = SECOND) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), first + second)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), first - second)


def _count(statistics: Any) -> int:
    """Requests that ended well, in the statistics of one model of either transport."""
    if isinstance(statistics, dict):
        (found,) = statistics["model_stats"]
        return int(found["inference_stats"]["success"]["count"])
    (found,) = statistics.model_stats
    return int(found.inference_stats.success.count)


def test_simple_infer_clients(reach: Callable[[bytes], Transport]) -> None:
    """simple_http_infer_client, simple_grpc_infer_client."""
    to = reach(simple())
    with to.client() as client:
        before = _count(client.get_inference_statistics(model_name="m"))
        given = {"headers": {"test": "1"}}
        _check(client.infer("m", to.inputs(), outputs=to.outputs(), **given))
        assert _count(client.get_inference_statistics(model_name="m")) == before + 1
        _check(client.infer("m", to.inputs(), outputs=None))
        with pytest.raises(InferenceServerException, match="Request for unknown model") as caught:
            client.infer("wrong_model_name", to.inputs())
        assert caught.value.message().startswith("Request for unknown model")


def test_simple_http_infer_client_with_mixed_forms_compression_and_a_query(serve: Serve) -> None:
    served = serve(simple())
    inputs = Transport(over_http, served.http).inputs()
    inputs[0].set_data_from_numpy(FIRST, binary_data=False)
    outputs = [
        over_http.InferRequestedOutput("OUTPUT0", binary_data=True),
        over_http.InferRequestedOutput("OUTPUT1", binary_data=False),
    ]
    with over_http.InferenceServerClient(f"127.0.0.1:{served.http}") as client:
        for packed in (None, "gzip", "deflate"):
            result = client.infer(
                "m",
                inputs,
                outputs=outputs,
                query_params={"test_1": 1, "test_2": 2},
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )
            _check(result)


def test_simple_async_infer_clients(serve: Serve) -> None:
    """simple_http_async_infer_client, simple_grpc_async_infer_client."""
    served = serve(simple())
    to = Transport(over_http, served.http)
    with to.client(concurrency=2) as client:
        asked = [client.async_infer("m", to.inputs(), outputs=to.outputs()) for _ in range(2)]
        for each in asked:
            _check(each.get_result())
    to, answers = Transport(over_grpc, served.grpc), queue.Queue[tuple[Any, Any]]()
    with to.client() as client:
        client.async_infer(
            "m", to.inputs(), lambda result, error: answers.put((result, error)), outputs=to.outputs()
        )
        result, error = answers.get(timeout=10)
        assert error is None
        _check(result)


async def test_simple_aio_infer_clients(serve: Serve) -> None:
    """simple_http_aio_infer_client, simple_grpc_aio_infer_client."""
    served = serve(simple())
    for module, port in ((over_http_aio, served.http), (over_grpc_aio, served.grpc)):
        to = Transport(module, port)
        async with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
            found = await asyncio.gather(*(client.infer("m", to.inputs()) for _ in range(2)))
            for result in found:
                _check(result)
            statistics = await client.get_inference_statistics(model_name="m")
            assert _count(statistics) >= 2


def test_simple_string_infer_clients(reach: Callable[[bytes], Transport]) -> None:
    """simple_http_string_infer_client, simple_grpc_string_infer_client."""
    to = reach(simple("BYTES"))
    words = [
        np.array([str(n).encode() for n in each.flat], object).reshape(1, 16) for each in (FIRST, SECOND)
    ]
    with to.client() as client:
        result = client.infer("m", to.inputs(words[0], words[1], "BYTES"), outputs=to.outputs())
    for output, expected in (("OUTPUT0", FIRST + SECOND), ("OUTPUT1", FIRST - SECOND)):
        assert [int(word) for word in result.as_numpy(output).flat] == expected.flatten().tolist()


@pytest.mark.parametrize("word", [b"he\x00llo", b"\x00\x01\x02\x03"])
def test_strings_with_null_bytes_come_back_unchanged(
    reach: Callable[[bytes], Transport], transport: str, word: bytes
) -> None:
    to = reach(identity("BYTES"))
    words = np.array([word] * 16, object).reshape(1, 16)
    for binary in (True, False) if transport == "HTTP" else (True,):
        form = {"binary_data": binary} if transport == "HTTP" else {}
        given = to.module.InferInput("INPUT0", (1, 16), "BYTES")
        given.set_data_from_numpy(words, **form)
        with to.client() as client:
            found = client.infer("m", [given], outputs=to.outputs("OUTPUT0", **form)).as_numpy("OUTPUT0")
        assert [w if isinstance(w, bytes) else w.encode() for w in found.flat] == [word] * 16


def test_health_and_metadata_clients(reach: Callable[[bytes], Transport], transport: str) -> None:
    """simple_http_health_metadata, simple_grpc_health_metadata; the server's name is its own."""
    to = reach(simple())
    with to.client() as client:
        assert (client.is_server_live(), client.is_server_ready(), client.is_model_ready("m")) == (True,) * 3
        server, model = client.get_server_metadata(), client.get_model_metadata("m")
        configuration = client.get_model_config("m")
        with pytest.raises(InferenceServerException, match="Request for unknown model"):
            client.get_model_metadata("wrong_model_name")
        with pytest.raises(InferenceServerException, match="Request for unknown model"):
            client.get_model_config("wrong_model_name")
    if transport == "HTTP":
        assert (server["name"], model["name"], configuration["name"]) == ("edge-runtime", "m", "m")
    else:
        assert (server.name, model.name, configuration.config.name) == ("edge-runtime", "m", "m")


def test_custom_args_and_keepalive_clients(serve: Serve) -> None:
    """simple_grpc_custom_args_client, simple_grpc_keepalive_client."""
    to = Transport(over_grpc, serve(simple()).grpc)
    arguments = [
        ("grpc.max_send_message_length", 1 << 20),
        ("grpc.max_receive_message_length", 1 << 20),
        ("grpc.keepalive_time_ms", (1 << 31) - 1),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", False),
        ("grpc.http2.max_pings_without_data", 2),
        ("grpc.dns_enable_srv_queries", 1),
    ]
    for options in ({"channel_args": arguments}, {"keepalive_options": over_grpc.KeepAliveOptions()}):
        with to.client(**options) as client:
            _check(client.infer("m", to.inputs(), outputs=to.outputs(), headers={"test": "1"}))


@pytest.mark.parametrize("datatype", ["INT32", "INT8", "BYTES"])
def test_explicit_content_clients(serve: Serve, datatype: str) -> None:
    """The three grpc_explicit clients: int_content, int8_content and byte_content."""
    request = pb.ModelInferRequest(model_name="m")
    for name, values in (("INPUT0", range(16)), ("INPUT1", [1] * 16)):
        entry = request.inputs.add(name=name, datatype=datatype, shape=[1, 16])
        if datatype == "BYTES":
            entry.contents.bytes_contents[:] = [str(n).encode() for n in values]
        else:
            entry.contents.int_contents[:] = values
    request.outputs.add(name="OUTPUT0")
    request.outputs.add(name="OUTPUT1")
    with grpc.insecure_channel(f"127.0.0.1:{serve(simple(datatype)).grpc}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        response = stub.ModelInfer(request)
        request.model_version = "wrong_specification"
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "wrong_specification" in str(caught.value.details())
    found = [_numbers(raw, datatype) for raw in response.raw_output_contents]
    assert [tuple(output.shape) for output in response.outputs] == [(1, 16), (1, 16)]
    assert found == [[n + 1 for n in range(16)], [n - 1 for n in range(16)]]


def _numbers(raw: bytes, datatype: str) -> list[int]:
    if datatype != "BYTES":
        return [int(n) for n in np.frombuffer(raw, datatype.lower())]
    found = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        found.append(int(raw[4 : 4 + size]))
        raw = raw[4 + size :]
    return found


def test_grpc_client(serve: Serve) -> None:
    """grpc_client: every read method by the generated stub, and an inference with an id."""
    request = pb.ModelInferRequest(model_name="m", id="my request id")
    request.inputs.add(name="image", datatype="FP32", shape=[1, 2, 4, 4])
    request.outputs.add(name="scores")
    request.raw_input_contents.append(b"a" * 128)
    with grpc.insecure_channel(f"127.0.0.1:{serve(classifier()).grpc}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name="m")).ready
        assert "model_configuration" in stub.ServerMetadata(pb.ServerMetadataRequest()).extensions
        assert stub.ModelMetadata(pb.ModelMetadataRequest(name="m")).inputs[0].name == "image"
        assert stub.ModelConfig(pb.ModelConfigRequest(name="m")).config.input[0].dims == [2, 4, 4]
        assert stub.ModelInfer(request).id == "my request id"


@pytest.mark.parametrize("rows", [1, 3])
def test_image_clients(reach: Callable[[bytes], Transport], transport: str, rows: int) -> None:
    """image_client and grpc_image_client: the shape by the configuration, then classes in place of values.

    Both also want a format and labels, which a config.pbtxt gives and an ONNX file does not.
    """
    to = reach(classifier())
    images = np.zeros((rows, 2, 4, 4), np.float32)
    images[:, 1, 2] = np.arange(1, rows + 1).reshape(rows, 1)
    given = to.module.InferInput("image", images.shape, "FP32")
    given.set_data_from_numpy(images)
    with to.client() as client:
        configuration = client.get_model_config("m", "")
        by_http = transport == "HTTP"
        most = configuration["max_batch_size"] if by_http else configuration.config.max_batch_size
        assert most >= rows
        result = client.infer("m", [given], outputs=to.outputs("scores", class_count=2), request_id="1")
    found = result.as_numpy("scores")
    assert found.shape == (rows, 2)
    assert [word.decode() for word in found[:, 0]] == [f"{n}.000000:6" for n in range(1, rows + 1)]


def test_image_client_over_a_stream(serve: Serve) -> None:
    answers = queue.Queue[tuple[Any, Any]]()
    given = over_grpc.InferInput("image", (1, 2, 4, 4), "FP32")
    given.set_data_from_numpy(np.ones((1, 2, 4, 4), np.float32))
    outputs = [over_grpc.InferRequestedOutput("scores", class_count=1)]
    with over_grpc.InferenceServerClient(f"127.0.0.1:{serve(classifier()).grpc}") as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(3):
            client.async_stream_infer("m", [given], request_id=str(number), outputs=outputs)
        for number in range(3):
            result, error = answers.get(timeout=10)
            assert error is None
            assert result.get_response().id == str(number)
            assert result.as_numpy("scores").tolist() == [[b"1.000000:0"]]
        client.stop_stream()


def test_memory_growth_test(reach: Callable[[bytes], Transport]) -> None:
    """memory_growth_test: a new client for every request."""
    to = reach(identity("INT32"))
    for _ in range(TURNS):
        given = to.inputs()[:1]
        with to.client() as client:
            found = client.infer("m", given, outputs=to.outputs("OUTPUT0")).as_numpy("OUTPUT0")
        np.testing.assert_array_equal(found, FIRST)


# What the clients send that is left out: their examples, the call, and its status over HTTP and gRPC.
LEFT_OUT: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "model_control of a file: load": (lambda client: client.load_model("m"), "400", "INVALID_ARGUMENT"),
    "model_control of a file: unload": (lambda client: client.unload_model("m"), "400", "INVALID_ARGUMENT"),
    "shm without --shared-memory: register": (
        lambda client: client.register_system_shared_memory("region", "/region", 64),
        "400",
        "INVALID_ARGUMENT",
    ),
    "cudashm: register": (
        lambda client: client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 64),
        "400",
        "INVALID_ARGUMENT",
    ),
    "trace settings": (lambda client: client.get_trace_settings(), "404", "UNIMPLEMENTED"),
    "log settings": (lambda client: client.get_log_settings(), "404", "UNIMPLEMENTED"),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_is_left_out_is_refused(reach: Callable[[bytes], Transport], transport: str, what: str) -> None:
    call, by_http, by_grpc = LEFT_OUT[what]
    with reach(simple()).client() as client, pytest.raises(InferenceServerException) as caught:
        call(client)
    assert caught.value.status() == (by_http if transport == "HTTP" else f"StatusCode.{by_grpc}")


def test_tensors_in_shared_memory_are_refused(reach: Callable[[bytes], Transport]) -> None:
    to = reach(simple())
    inputs, outputs = to.inputs(), to.outputs()
    for each in inputs:
        each.set_shared_memory("region", 64)
    with to.client() as client, pytest.raises(InferenceServerException, match="shared_memory_region"):
        client.infer("m", inputs)
    outputs[1].set_shared_memory("region", 64)
    with to.client() as client, pytest.raises(InferenceServerException, match="shared_memory_region"):
        client.infer("m", to.inputs(), outputs=outputs)


def test_the_extensions_that_are_left_out_are_not_in_the_servers_metadata(serve: Serve) -> None:
    with over_http.InferenceServerClient(f"127.0.0.1:{serve(simple()).http}") as client:
        extensions = client.get_server_metadata()["extensions"]
    assert set(extensions) == {
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "schedule_policy",
        "sequence",
        "statistics",
        "system_shared_memory",
    }
