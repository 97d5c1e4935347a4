"""A port of this machine leads to an address in another network, in both directions."""

import socket

from testbed.forwarding import forwarded


def test_connections_are_forwarded_in_both_directions() -> None:
    with socket.create_server(("127.0.0.1", 0)) as far:
        far.settimeout(60)
        with (
            forwarded([], "127.0.0.1", far.getsockname()[1]) as port,
            socket.create_connection(("127.0.0.1", port), timeout=60) as client,
        ):
            client.sendall(b"ping")
            server, _ = far.accept()
            with server:
                assert server.recv(4) == b"ping"
                server.sendall(b"pong")
                assert client.recv(4) == b"pong"
                client.shutdown(socket.SHUT_WR)
                assert server.recv(1) == b""


def test_a_connection_ends_if_nothing_listens_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        free = unused.getsockname()[1]
    with (
        forwarded([], "127.0.0.1", free) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as client,
    ):
        assert client.recv(1) == b""
