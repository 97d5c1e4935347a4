"""A forwarded port speaks the API server's protocol: channels of a WebSocket, two for each port."""

import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import kubernetes.client
import pytest

from edge_cli.connections import Connection
from edge_cli.forwarding import forwarded
from edge_operator.cluster import ApiServer

_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_PORT = 9000


@dataclass
class PortForwarding:
    """An API server whose pod answers in capitals, one connection after the other."""

    listener: socket.socket
    requests: list[str] = field(default_factory=list)

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as reader:
            lines = []
            while (line := reader.readline().strip()) != b"":
                lines.append(line)
            self.requests.append(b"\n".join(lines).decode())
            headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
            key = next(
                line.split(b": ")[1] for line in lines if line.lower().startswith(b"sec-websocket-key")
            )
            accepted = base64.b64encode(hashlib.sha1(key + _KEY).digest())
            protocol = headers[b"sec-websocket-protocol"].split(b",")[-1].strip()
            client.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: "
                + accepted
                + b"\r\nSec-WebSocket-Protocol: "
                + protocol
                + b"\r\n\r\n"
            )
            for channel in (0, 1):
                client.sendall(_frame(bytes([channel]) + struct.pack("<H", _PORT)))
            while (data := _read(reader)) is not None:
                client.sendall(_frame(data[:1] + data[1:].upper()))


def _frame(data: bytes) -> bytes:
    """A binary frame of a server (RFC 6455, section 5.2)."""
    head = b"\x82" + (bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data)))
    return head + data


def _read(reader: object) -> bytes | None:
    """The content of the next binary frame of a client; None at its end."""
    read = reader.read  # type: ignore[attr-defined]
    head = read(2)
    if len(head) < 2 or head[0] & 0x0F != 2:
        return None
    size = head[1] & 0x7F
    if size == 126:
        size = struct.unpack(">H", read(2))[0]
    mask, data = read(4), read(size)
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


@pytest.fixture
def api_server() -> Iterator[PortForwarding]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = PortForwarding(listener)
        threading.Thread(target=server.serve, daemon=True).start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)


def test_bytes_go_to_the_port_of_the_pod_and_back(api_server: PortForwarding) -> None:
    configuration = kubernetes.client.Configuration()
    configuration.host = f"http://127.0.0.1:{api_server.listener.getsockname()[1]}"
    configuration.api_key = {"BearerToken": "Bearer secret"}
    client = kubernetes.client.ApiClient(configuration)
    here = Connection(ApiServer(client), "default", client)
    with forwarded(here, "shop", "digits-0", _PORT) as via:
        host, _, port = via.address.rpartition(":")
        for text in (b"one", b"two" * 1000):
            with socket.create_connection((host, int(port)), timeout=20) as near:
                near.sendall(text)
                found = b""
                while len(found) < len(text):
                    data = near.recv(10_000)
                    assert data, via.failure
                    found += data
            assert found == text.upper()
    assert len(api_server.requests) == 2
    first = api_server.requests[0]
    assert first.startswith(f"GET /api/v1/namespaces/shop/pods/digits-0/portforward?ports={_PORT} ")
    assert "authorization: Bearer secret" in first
