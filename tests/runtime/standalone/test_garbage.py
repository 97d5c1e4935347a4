"""Damaged requests to a live server: it responds or rejects them, and keeps serving.

`EDGE_FUZZ=100000 .venv/bin/pytest tests/runtime/standalone/test_garbage.py` damages that many per transport.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from benchmarks.runtime.request_forms import BODILESS, RIGHT, WRONG
from messages import mentions

Served = Any
FORMS = RIGHT | WRONG | BODILESS  # type: ignore[operator]

FUZZ = settings(
    max_examples=int(os.environ.get("EDGE_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HEADER = json.dumps(
    {
        "id": "r",
        "inputs": [
            {"name": n, "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
            for n in "ab"
        ],
        "outputs": [{"name": "sum", "parameters": {"binary_data": True}}],
    }
).encode()
REQUEST = (
    b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n"
    b"inference-header-content-length: %d\r\ncontent-length: %d\r\n\r\n" % (len(HEADER), len(HEADER) + 24)
)
WHOLE = REQUEST + HEADER + bytes(24)
# Replacements of the original bytes: typical traps of parsers, and random bytes.
PIECES = st.sampled_from(
    [
        b"",
        b"0",
        b"-1",
        b"99999999999999999999",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"null",
        b"[",
        b'"',
        b"}",
        b"%00",
    ]
) | st.binary(max_size=8)
DAMAGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), min_size=1, max_size=4)


def _damaged(whole: bytes, damages: list[tuple[float, int, bytes]]) -> bytes:
    for share, length, piece in damages:
        at = int(share * len(whole))
        whole = whole[:at] + piece + whole[at + length :]
    return whole


@pytest.fixture(autouse=True)
def _no_fault_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.ERROR):
        yield
    assert [r.getMessage() for r in caplog.records if r.name.startswith(("edge_runtime", "uvicorn"))] == []


def _answers(port: int, data: bytes) -> bytes:
    """Everything that the server sends until it closes, after the end of the request."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        found = b""
        with suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                found += part
        return found


@FUZZ
@given(DAMAGES)
def test_a_damaged_http_request_is_answered_or_refused(sums: Served, damages: Any) -> None:
    _is_answer_or_refusal(_answers(sums.http, _damaged(WHOLE, damages)))


@FUZZ
@given(st.sampled_from(sorted(FORMS)), DAMAGES)
def test_a_damaged_form_of_a_request_is_answered_or_refused(sums: Served, name: str, damages: Any) -> None:
    form = FORMS[name].request("POST", "/v2/models/m/infer", HEADER + bytes(24))
    _is_answer_or_refusal(_answers(sums.http, _damaged(form, damages)))


def _is_answer_or_refusal(found: bytes) -> None:
    if found:
        assert found.startswith(
            (b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 501", b"HTTP/1.1 505", b"HTTP/1.1 100")
        )
    assert b"Traceback" not in found


@FUZZ
@given(DAMAGES)
def test_a_damaged_header_behind_right_lengths_is_answered_or_refused(sums: Served, damages: Any) -> None:
    header = _damaged(HEADER, damages)
    head = (
        f"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        f"inference-header-content-length: {len(header)}\r\ncontent-length: {len(header) + 24}\r\n\r\n"
    )
    found = _answers(sums.http, head.encode() + header + bytes(24))
    assert found.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))


def _message() -> bytes:
    request = pb.ModelInferRequest(model_name="m", id="r", raw_input_contents=[bytes(12), bytes(12)])
    for name in "ab":
        request.inputs.add(name=name, datatype="FP32", shape=[1, 3])
    data: bytes = request.SerializeToString()
    return data


@pytest.fixture(scope="module")
def infer(sums: Served) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{sums.grpc}") as channel:
        yield channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")


@FUZZ
@given(DAMAGES)
def test_a_damaged_message_is_answered_or_refused(infer: Any, damages: Any) -> None:
    try:
        infer(_damaged(_message(), damages), timeout=10)
    except grpc.RpcError as error:
        code = error.code()
    else:
        code = grpc.StatusCode.OK
    assert code.name in ("OK", "INVALID_ARGUMENT", "NOT_FOUND")


RPCS = (
    *("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer"),
    *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
)


@pytest.mark.parametrize("rpc", RPCS)
def test_bytes_that_are_not_a_message_are_invalid_arguments_in_every_rpc_without_traceback(
    sums: Served, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{sums.grpc}") as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/inference.GRPCInferenceService/{rpc}"
        )
        with pytest.raises(grpc.RpcError) as caught:
            ask(b"\xff\xff", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert mentions("body:", "2 bytes", f"{rpc}Request").search(caught.value.details() or "")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_message_with_a_fault_names_the_field_and_the_value(sums: Served) -> None:
    def refused(change: Callable[[Any], object]) -> str:
        request = pb.ModelInferRequest(model_name="m")
        for name in "ab":
            request.inputs.add(name=name, datatype="FP32", shape=[1, 3])
            request.inputs[-1].contents.fp32_contents.extend([1, 2, 3])
        change(request)
        with grpc.insecure_channel(f"127.0.0.1:{sums.grpc}") as channel:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer"
            )
            with pytest.raises(grpc.RpcError) as caught:
                ask(request.SerializeToString(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        return str(caught.value.details())

    def as_integers(request: Any) -> None:
        request.inputs[0].contents.ClearField("fp32_contents")
        request.inputs[0].contents.int_contents.extend([1, 2, 3])

    integers = refused(as_integers)
    assert mentions("inputs[0].contents.fp32_contents: 0 values", "[1, 3]", "needs 3").search(integers)
    twice = refused(lambda r: setattr(r.inputs[1], "name", "a"))
    assert mentions('inputs[1].name: "a"', "twice").search(twice)
    unknown = refused(lambda r: setattr(r.inputs[1], "name", "c"))
    assert mentions('inputs[1].name: "c"', "a, b").search(unknown)
    negative = refused(lambda r: setattr(r.parameters["timeout"], "int64_param", -1))
    assert mentions("parameters.timeout: -1", "microseconds").search(negative)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**320)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from("ab") | VALUES,
        "shape": st.just([1, 3]) | st.lists(st.integers(), max_size=3) | VALUES,
        "datatype": st.just("FP32") | VALUES,
        "data": st.lists(st.floats(), min_size=3, max_size=3) | VALUES,
        "parameters": VALUES,
    },
)
NAMED = ("timeout", "sequence_id", "binary_data_output", "priority", "x")
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": VALUES,
        "parameters": st.dictionaries(st.sampled_from(NAMED), VALUES, max_size=3) | VALUES,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.just("sum")}, optional={"parameters": VALUES}))
        | VALUES,
        "inputs": st.lists(TENSORS, min_size=2, max_size=2) | VALUES,
    },
)


@FUZZ
@given(DOCUMENTS | VALUES)
def test_any_document_that_pythons_json_writes_is_answered_or_refused(sums: Served, document: Any) -> None:
    body = json.dumps(document).encode()
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}"
    found = _answers(sums.http, f"{head}\r\n\r\n".encode() + body)
    assert found.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), found
    answer = json.loads(found.partition(b"\r\n\r\n")[2])
    assert ("error" in answer) is found.startswith(b"HTTP/1.1 400")


PARAMETERS = st.dictionaries(
    st.sampled_from(NAMED),
    st.tuples(st.just("bool_param"), st.booleans())
    | st.tuples(st.just("int64_param"), st.integers(-(2**63), 2**63 - 1))
    | st.tuples(st.just("uint64_param"), st.integers(0, 2**64 - 1))
    | st.tuples(st.just("double_param"), st.floats())
    | st.tuples(st.just("string_param"), st.text(max_size=200)),
    max_size=3,
)


@FUZZ
@given(
    st.text(max_size=9),
    PARAMETERS,
    st.lists(
        st.just([1, 3]) | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3), min_size=2, max_size=2
    ),
    st.lists(st.floats(width=32), max_size=4) | st.lists(st.floats(width=32), min_size=3, max_size=3),
    st.sampled_from(["FP32", "FP64", "BYTES", ""]),
)
def test_any_message_is_answered_or_refused(
    infer: Any, identity: str, parameters: Any, shapes: Any, values: Any, datatype: str
) -> None:
    request = pb.ModelInferRequest(model_name="m", id=identity)
    for name, (kind, value) in parameters.items():
        setattr(request.parameters[name], kind, value)
    for name, shape in zip("ab", shapes, strict=True):
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.inputs[-1].contents.fp32_contents.extend(values)
    try:
        infer(request.SerializeToString(), timeout=10)
    except grpc.RpcError as error:
        code, said = error.code(), error.details()
    else:
        code, said = grpc.StatusCode.OK, ""
    assert code.name in ("OK", "INVALID_ARGUMENT"), said


def test_after_all_of_that_it_serves_as_before(sums: Served, infer: Any) -> None:
    assert pb.ModelInferResponse.FromString(infer(_message(), timeout=10)).id == "r"
    assert _answers(sums.http, WHOLE.replace(b"host: x", b"host: x\r\nconnection: close")).startswith(
        b"HTTP/1.1 200"
    )
