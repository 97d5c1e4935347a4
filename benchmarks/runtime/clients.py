"""The clients of all servers, with minimal overhead.

HTTP is a socket with one prepared request; gRPC is grpcio with a serialized request and the response left as
bytes.
"""

import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

_RECEIVE: Final = 1 << 20
_LARGEST: Final = 64 << 20


def http_request(model: str, values: int, *, binary: bool = True) -> bytes:
    """Returns a request with binary data for input and outputs, or all in JSON."""
    given = _input(values)
    tensor: dict[str, object] = {"name": "x", "shape": [1, values], "datatype": "FP32"}
    if binary:
        data = given.tobytes()
        tensor["parameters"] = {"binary_data_size": len(data)}
    else:
        data = b""
        tensor["data"] = given.ravel().tolist()
    outputs = [{"name": "y", "parameters": {"binary_data": binary}}]
    header = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    kind = "application/octet-stream" if binary else "application/json"
    length = f"Inference-Header-Content-Length: {len(header)}\r\n" if binary else ""
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\n"
        f"{length}Content-Length: {len(header) + len(data)}\r\n\r\n"
    )
    return head.encode() + header + data


def grpc_request(model: str, values: int) -> bytes:
    """Returns the same request for gRPC, with raw contents."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, values])
    request.outputs.add(name="y")
    request.raw_input_contents.append(_input(values).tobytes())
    return bytes(request.SerializeToString())


def _input(values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(1, values)).astype(np.float32)


class HttpConnection:
    """One kept-alive connection; `feed` returns True when a response is complete.

    `late`: the last response was that the request's timeout has passed.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._found = b""
        self.late = False

    def feed(self, data: bytes) -> bool:
        """Reads received bytes. Raises an error if the status is neither 200 nor 504."""
        self._found += data
        end = self._found.find(b"\r\n\r\n")
        if end < 0:
            if not data:
                raise ConnectionError(f"the server closed the connection after {self._found!r}")
            return False
        head = self._found[:end].lower()
        length = int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        if len(self._found) < end + 4 + length:
            return False
        self.late = b" 504 " in head[:16]
        if not self.late and b" 200 " not in head[:16]:
            raise ConnectionError(f"{self._found[:500]!r}")
        self._found = b""
        return True

    def ask(self, request: bytes) -> None:
        """Sends one request and waits for the response."""
        self.socket.sendall(request)
        while not self.feed(self.socket.recv(_RECEIVE)):
            pass


def grpc_call(port: int) -> Callable[[bytes], bytes]:
    """One blocking call on a channel of its own."""
    options = [("grpc.max_send_message_length", _LARGEST), ("grpc.max_receive_message_length", _LARGEST)]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
    grpc.channel_ready_future(channel).result(60)
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer"
    )
    return call


def latencies(ask: Callable[[], object], count: int) -> list[float]:
    """Seconds of `count` requests, one after the other."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        ask()
        found.append(time.perf_counter() - start)
    return found


def closed_loop(port: int, request: bytes, clients: int, seconds: float) -> float:
    """Responses per second, with `clients` connections in a closed loop without pauses."""
    with selectors.DefaultSelector() as selector:
        connections = [HttpConnection(port) for _ in range(clients)]
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.socket.sendall(request)
        answered, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            for key, _ in selector.select(1.0):
                connection = key.data
                if connection.feed(connection.socket.recv(_RECEIVE)):
                    answered += 1
                    connection.socket.sendall(request)
        for connection in connections:
            connection.socket.close()
    return answered / (now - start)


def open_loop(port: int, request: bytes, arrivals: Sequence[float], connections: int) -> list[float]:
    """Seconds from each planned arrival to its response, infinite if it timed out: an open loop."""
    with selectors.DefaultSelector() as selector:
        idle: deque[HttpConnection] = deque(HttpConnection(port) for _ in range(connections))
        for connection in idle:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        busy: dict[HttpConnection, float] = {}
        waiting: deque[float] = deque()
        found: list[float] = []
        start, next_ = time.perf_counter(), 0
        while len(found) < len(arrivals):
            now = time.perf_counter() - start
            while next_ < len(arrivals) and arrivals[next_] <= now:
                waiting.append(arrivals[next_])
                next_ += 1
            while waiting and idle:
                connection = idle.popleft()
                busy[connection] = waiting.popleft()
                connection.socket.sendall(request)
            pause = arrivals[next_] - (time.perf_counter() - start) if next_ < len(arrivals) else 1.0
            for key, _ in selector.select(max(pause, 0)):
                connection = key.data
                if connection.feed(connection.socket.recv(_RECEIVE)):
                    seconds = time.perf_counter() - start - busy.pop(connection)
                    found.append(inf if connection.late else seconds)
                    idle.append(connection)
        for connection in idle:
            connection.socket.close()
    return found
