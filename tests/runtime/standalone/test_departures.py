"""Runs that never finish end with their clients, by every transport, and with their deadline."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

import endless
from messages import mentions
from waiting import until

Served = Any


@pytest.fixture
def served(serve: Callable[[bytes], Served]) -> Iterator[Served]:
    """As many iterations as requested; nothing may run any more at the end."""
    found = serve(endless.looping())
    yield found
    assert answer(found) == 3.0
    until(lambda: endless.running(found.http) == 0, "the thread is free")


def asked(served: Served, n: int, **parameters: Any) -> tuple[int, Any]:
    """The status and the response."""
    path = "/v2/models/m/infer"
    with closing(http.client.HTTPConnection("127.0.0.1", served.http, timeout=60)) as connection:
        connection.request("POST", path, json.dumps(endless.document(n, **parameters)))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def answer(served: Served, n: int = 3) -> float:
    status, document = asked(served, n)
    assert status == 200, document
    return float(document["outputs"][0]["data"][0])


def status(served: Served, path: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", served.http, timeout=60)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def message(n: int) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    request.raw_input_contents.append(struct.pack("<q", n))
    return request


def busy(served: Served) -> None:
    until(lambda: endless.running(served.http) > 0, "it runs")


def free(served: Served) -> None:
    until(lambda: endless.running(served.http) == 0, "the run ended with its caller")


def test_a_client_over_http_that_leaves_ends_its_run(served: Served) -> None:
    caller = endless.sent(served.http, endless.request(endless.FOREVER))
    busy(served)
    caller.close()
    free(served)


def test_a_client_whose_connection_breaks_ends_its_run(served: Served) -> None:
    caller = endless.sent(served.http, endless.request(endless.FOREVER))
    busy(served)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()
    free(served)


def test_a_client_on_this_node_that_leaves_ends_its_run(served: Served) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(served.uds / "http.sock"))
        caller.sendall(endless.request(endless.FOREVER))
        busy(served)
    free(served)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("behind", [1, 20])
def test_a_client_that_sent_more_requests_behind_the_running_one_ends_all_of_them(
    served: Served, behind: int, at_once: bool
) -> None:
    """The server does not read further data of the client until then, nor the end of the connection."""
    more = endless.request(endless.FOREVER) * behind
    caller = endless.sent(served.http, endless.request(endless.FOREVER) + (more if at_once else b""))
    busy(served)
    if not at_once:
        caller.sendall(more)
        assert asked(served, 3, timeout=50_000)[0] == 504  # by then it has arrived, too
    caller.close()
    free(served)


def test_a_silent_client_is_probed_by_keepalive(served: Served) -> None:
    """By the kernel, whose timer for the server's socket is then one of keepalive (2)."""
    with endless.sent(served.http, endless.request(endless.FOREVER)) as caller:
        busy(served)
        ends = tuple(f":{port:04X}" for port in (served.http, caller.getsockname()[1]))

        def timer() -> str:
            rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            found = (row[5] for row in rows if (row[1][-5:], row[2][-5:]) == ends)
            return next(found, "").partition(":")[0]

        until(lambda: timer() == "02", "keep-alive is on")
    free(served)


def test_requests_behind_a_finished_one_are_answered_in_turn_still(served: Served) -> None:
    with endless.sent(served.http, b"".join(endless.request(n) for n in (200_000, 2, 1))) as caller:
        data = b""
        while data.count(b'"data":[') < 3:
            data += caller.recv(1 << 16)
    assert [int(float(part.split(b"]")[0])) for part in data.split(b'"data":[')[1:]] == [200_000, 2, 1]


def test_a_client_over_grpc_that_cancels_ends_its_run(served: Served) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(message(endless.FOREVER))
        busy(served)
        call.cancel()
        free(served)
        stream = stub.ModelStreamInfer(iter([message(3), message(endless.FOREVER)]))
        assert next(stream).infer_response.raw_output_contents == [struct.pack("<f", 3)]
        busy(served)
        stream.cancel()
        free(served)


def test_a_client_over_grpc_whose_channel_closes_ends_its_run(served: Served) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(message(endless.FOREVER))
        busy(served)
    assert call.code() is grpc.StatusCode.CANCELLED
    free(served)


def test_a_request_that_waits_and_whose_client_left_is_not_run(served: Served) -> None:
    first = endless.sent(served.http, endless.request(endless.FOREVER))
    busy(served)
    waiting = [endless.sent(served.http, endless.request(endless.FOREVER)) for _ in range(5)]
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(answer, served, 4)
        for caller in (*waiting, first):
            caller.close()
        assert last.result(60) == 4.0


def test_over_http_a_run_ends_with_the_time_that_the_request_gives(served: Served) -> None:
    code, document = asked(served, endless.FOREVER, timeout=50_000)
    assert code == 504
    assert "0.05 s" in document["error"]
    free(served)


def test_what_waits_for_the_thread_is_refused_when_its_own_time_is_over(served: Served) -> None:
    first = endless.sent(served.http, endless.request(endless.FOREVER))
    busy(served)
    assert asked(served, 3, timeout=50_000)[0] == 504
    assert endless.running(served.http) > 0  # the current run is not affected by the others
    first.close()
    free(served)


def test_over_grpc_a_run_ends_with_the_calls_deadline_or_the_requests(served: Served) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{served.grpc}") as client:
        tensor = triton.InferInput("n", [1], "INT64")
        tensor.set_data_from_numpy(np.array([endless.FOREVER]))
        for given in ({"client_timeout": 0.2}, {"timeout": 50_000}):
            with pytest.raises(InferenceServerException) as caught:
                client.infer("m", [tensor], **given)
            assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
            free(served)


def test_in_a_stream_a_request_without_time_left_ends_nothing_else(served: Served) -> None:
    answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    with triton.InferenceServerClient(f"127.0.0.1:{served.grpc}") as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for n, timeout in ((endless.FOREVER, 50_000), (3, None)):
            tensor = triton.InferInput("n", [1], "INT64")
            tensor.set_data_from_numpy(np.array([n]))
            client.async_stream_infer("m", [tensor], timeout=timeout)
        (_, error), (result, none) = answers.get(timeout=60), answers.get(timeout=60)
        client.stop_stream()
    assert "0.05 s" in str(error)
    assert none is None
    assert result.as_numpy("y") == [3.0]


def test_health_and_metrics_are_served_during_a_run(served: Served) -> None:
    caller = endless.sent(served.http, endless.request(endless.FOREVER))
    busy(served)
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m"):
        assert status(served, path) == 200
    caller.close()
    free(served)


def test_a_server_that_is_stuck_says_that_it_is_not_ready_until_it_is_free(
    serve_with: Callable[..., Served],
) -> None:
    served = serve_with(endless.looping(), stuck_after=0.2)
    caller = endless.sent(served.http, endless.request(endless.FOREVER))
    with triton.InferenceServerClient(f"127.0.0.1:{served.grpc}") as client:
        until(lambda: not client.is_server_ready(), "it is not ready")
        assert not client.is_model_ready("m")
        assert client.is_server_live()
        (entry,) = client.get_model_repository_index(as_json=True)["models"]
        assert entry["state"] == "UNAVAILABLE"
        assert mentions("inference", "running").search(entry["reason"])
        assert status(served, "/v2/health/ready") == 503
        caller.close()
        until(client.is_server_ready, "it is ready again")
    assert answer(served) == 3.0


def test_the_end_of_the_grace_period_ends_runs_with_an_error_for_their_clients(
    serve_with: Callable[..., Served],
) -> None:
    """The fixture stops the server while these wait."""
    served = serve_with(endless.looping(), grace=0.2)
    with (
        endless.sent(served.http, endless.request(endless.FOREVER)) as caller,
        grpc.insecure_channel(f"127.0.0.1:{served.grpc}") as channel,
    ):
        busy(served)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [stub.ModelInfer.future(message(endless.FOREVER)) for _ in range(2)]
        stub.ServerLive(pb.ServerLiveRequest(), timeout=60)  # by the same connection: then both have arrived
        stopping = threading.Thread(target=served.stop)
        stopping.start()
        told = [call.exception(60).code() for call in calls]
        head = caller.recv(1 << 16)
        stopping.join(60)
    assert told == [grpc.StatusCode.UNAVAILABLE] * 2
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"shutting down" in head
