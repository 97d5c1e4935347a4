"""gRPC services besides the protocol: health by name, reflection, and keepalive."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from edge_runtime.cli import _parser
from edge_runtime.grpc.keepalive import DEFAULT, KeepAlive, keepalive_of
from edge_runtime.grpc.servers import grpc_server
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.serving import Service
from edge_runtime.tensors import Contract, Tensor
from messages import mentions

Served = Any
STATUS = health_pb2.HealthCheckResponse
CONTRACT = Contract((Tensor("x", "FP32", (-1,)),), (Tensor("y", "FP32", (-1,)),))
INFERENCE = "inference.GRPCInferenceService"


class Backend:
    """Ready once it has a contract."""

    platform = ""
    statistics = ModelStatistics()
    message = ""
    contract: Contract | None = None

    async def infer(self, question: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def channel(sums: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{sums.grpc}") as channel:
        yield channel


def _check(channel: grpc.Channel, name: str) -> int:
    ask = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        STATUS.FromString,
    )
    return int(ask(health_pb2.HealthCheckRequest(service=name), timeout=10).status)


@pytest.mark.parametrize("name", ["", INFERENCE, "m"])
def test_health_is_reported_for_the_server_and_for_each_model(channel: grpc.Channel, name: str) -> None:
    assert _check(channel, name) == STATUS.SERVING


def test_health_of_what_is_not_served_is_not_found_and_says_what_is(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _check(channel, "other")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert mentions('service: "other"', f"{INFERENCE}, m").search(str(caught.value.details()))


@pytest.mark.parametrize(
    "method",
    [
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
def test_bytes_that_are_not_a_message_are_invalid_arguments(channel: grpc.Channel, method: str) -> None:
    def ask() -> object:
        calls: Any = channel
        if method.endswith("Check"):
            return calls.unary_unary(f"/{method}")(b"\xff\xff", timeout=10)
        if method.endswith("Watch"):
            return next(calls.unary_stream(f"/{method}")(b"\xff\xff", timeout=10))
        return next(calls.stream_stream(f"/{method}")(iter([b"\xff\xff"]), timeout=10))

    with pytest.raises(grpc.RpcError) as caught:
        ask()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "2 bytes" in str(caught.value.details())


@asynccontextmanager
async def _serving(keepalive: KeepAlive = DEFAULT) -> AsyncIterator[tuple[Service, Backend, Any, str]]:
    backend = Backend()
    service = Service("m", backend)
    server, [port] = grpc_server(service, "127.0.0.1:0", keepalive=keepalive)
    await server.start()
    try:
        yield service, backend, server, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def _watch(channel: Any, name: str) -> Any:
    ask = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest.SerializeToString, STATUS.FromString
    )
    return ask(health_pb2.HealthCheckRequest(service=name))


async def test_who_watches_health_hears_of_every_change_and_holds_no_ending_up() -> None:
    async with (
        _serving() as (service, backend, server, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        watched = {name: _watch(channel, name) for name in ("", "m", "other")}
        first = {name: (await watch.read()).status for name, watch in watched.items()}
        assert first == {"": STATUS.NOT_SERVING, "m": STATUS.NOT_SERVING, "other": STATUS.SERVICE_UNKNOWN}
        backend.contract = CONTRACT
        assert [(await watched[name].read()).status for name in ("", "m")] == [STATUS.SERVING] * 2
        service.refusal = "the API server is silent"
        assert (await watched[""].read()).status == STATUS.NOT_SERVING
        service.refusal = ""
        assert (await watched[""].read()).status == STATUS.SERVING
        service.draining = True
        async with asyncio.timeout(10):
            await server.stop(3600)
        last: object = STATUS.SERVING
        while (answer := await watched["m"].read()) is not grpc.aio.EOF:
            last = answer.status
        assert last == STATUS.NOT_SERVING


def _frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(data))[1:] + struct.pack(">BBI", kind, flags, stream) + data


def _call(stream: int, method: str) -> bytes:
    """HEADERS and DATA of a call with an empty message; header fields are literal (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    coded = b"".join(
        b"\0" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in fields.items()
    )
    return _frame(1, 4, stream, coded) + _frame(0, 1, stream, bytes(5))


def _until_pinged(client: socket.socket) -> None:
    """Sends a ping and reads until its acknowledgement: all that was sent before has arrived."""
    client.sendall(_frame(6, 0, 0, b"arrived?"))
    found = b""
    while _frame(6, 1, 0, b"arrived?") not in found:
        part = client.recv(1 << 16)
        assert part, "the server closed the connection"
        found += part


async def test_calls_that_arrived_before_the_stop_are_answered() -> None:
    """The event loop is blocked while they arrive, as on a busy machine."""
    answered, every = itertools.count(1), asyncio.Event()

    class Counted(Service):
        @property
        def ready(self) -> bool:
            if next(answered) == 20:
                every.set()
            return True

    server, [port] = grpc_server(Counted("m", Backend()), "127.0.0.1:0")
    await server.start()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0))
        for number in range(20):
            client.sendall(_call(2 * number + 1, f"/{INFERENCE}/ServerReady"))
        _until_pinged(client)
        stopping = asyncio.create_task(server.stop(60))
        async with asyncio.timeout(60):
            await every.wait()
    await stopping


def _reflected(channel: grpc.Channel, version: str, *asks: Any) -> list[Any]:
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    return list(ask(iter(asks), timeout=10))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_a_client_without_descriptors_can_use_reflection(channel: grpc.Channel, version: str) -> None:
    listed, found, lacking = _reflected(
        channel,
        version,
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=INFERENCE),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.Such"),
    )
    names = {service.name for service in listed.list_services_response.service}
    assert {INFERENCE, "grpc.health.v1.Health"} <= names
    assert lacking.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    pool = descriptor_pool.DescriptorPool()
    for data in reversed(found.file_descriptor_response.file_descriptor_proto):
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(data))
    method = pool.FindServiceByName(INFERENCE).methods_by_name["ModelMetadata"]
    request = message_factory.GetMessageClass(method.input_type)(name="m")
    answer: Any = message_factory.GetMessageClass(method.output_type)
    ask: grpc.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
        f"/{INFERENCE}/ModelMetadata", type(request).SerializeToString, answer.FromString
    )
    assert [tensor.name for tensor in ask(request, timeout=10).inputs] == ["a", "b"]


async def test_a_client_that_pings_often_keeps_its_connection_unless_a_flag_forbids_it() -> None:
    strict = KeepAlive(http2_min_recv_ping_interval_without_data=300_000)
    pinging = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with (
        _serving() as (_, _, _, lenient),
        _serving(strict) as (_, _, _, other),
        grpc.aio.insecure_channel(lenient, options=pinging) as kept,
        grpc.aio.insecure_channel(other, options=pinging) as ended,
    ):
        lasting, watched = _watch(kept, ""), _watch(ended, "")
        assert (await lasting.read()).status == (await watched.read()).status == STATUS.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError, match=r"(?i)too.many.pings"):
            async with asyncio.timeout(60):
                await watched.read()
        assert not lasting.done()


def test_flags_reach_grpc_by_their_names() -> None:
    given = ["serve", "m.onnx", "--grpc-keepalive-time=60000", "--grpc-keepalive-permit-without-calls=false"]
    found = keepalive_of(_parser().parse_args([*given, "--grpc-http2-max-pings-without-data", "0"]))
    assert dict(found.options()) == {
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.keepalive_permit_without_calls": 0,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.http2.min_ping_interval_without_data_ms": 500,
        "grpc.http2.max_ping_strikes": 2,
    }


@pytest.mark.parametrize(
    ("flag", "value", "least", "most"),
    [
        ("--grpc-keepalive-time", "0", 1000, 2147483647),
        ("--grpc-keepalive-time", "1s", 1000, 2147483647),
        ("--grpc-keepalive-timeout", "-1", 1, 2147483647),
        ("--grpc-keepalive-permit-without-calls", "maybe", 0, 1),
        ("--grpc-http2-max-pings-without-data", "99999999999", 0, 1000),
        ("--grpc-http2-max-ping-strikes", "1.5", 0, 1000),
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused_with_what_can(
    flag: str, value: str, least: int, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["serve", "m.onnx", f"{flag}={value}"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert mentions(f'argument {flag}: "{value}"', least, most).search(said)
