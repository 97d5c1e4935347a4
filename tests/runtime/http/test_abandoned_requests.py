"""A request that is given up does not arrive later, as when a link that was cut is back."""

import asyncio
import contextlib
import socket

import pytest

from edge_runtime.connections import HttpClient, Resolver

BODY = bytes(256 << 10)  # the kernel holds what the server does not read


@pytest.fixture
def listening() -> socket.socket:
    """A server that accepts connections and takes little of what is sent until it reads."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.bind(("127.0.0.1", 0))
    found.listen()
    found.settimeout(30)
    return found


async def test_what_the_kernel_holds_of_a_request_that_timed_out_is_not_sent(
    listening: socket.socket,
) -> None:
    client = HttpClient(f"http://127.0.0.1:{listening.getsockname()[1]}", Resolver())
    with listening:
        asked = asyncio.create_task(client.request("PUT", "/", [BODY], within=0.2))
        connection, _ = await asyncio.to_thread(listening.accept)
        connection.settimeout(30)
        with connection:
            with pytest.raises(TimeoutError):
                await asked
            await asyncio.sleep(0)  # the transport closes its socket in the next turn of the loop
            received = await asyncio.to_thread(_read, connection)
    assert len(received) < len(BODY)
    client.close()


def _read(connection: socket.socket) -> bytes:
    """What arrives until the connection is closed or reset."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65536):
            received += more
    return received
