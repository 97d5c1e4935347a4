"""The kernel's count of acknowledged bytes of a connection."""

from __future__ import annotations

import socket
import struct
import threading

from edge_runtime.links.sockets import limit_pacing_rate, tcp_info


def test_acknowledged_bytes_are_counted_as_they_arrive() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()
        with far:
            before = tcp_info(near)
            assert before is not None
            near.sendall(bytes(10_000))
            assert len(far.recv(10_000, socket.MSG_WAITALL)) == 10_000
            found, pause = tcp_info(near), threading.Event()
            for _ in range(200):  # the last acknowledgement may be delayed by 40 ms
                if found is not None and found.acked - before.acked == 10_000:
                    break
                pause.wait(0.01)
                found = tcp_info(near)
            assert found is not None
            assert found.acked - before.acked == 10_000
            assert 0 < found.round_trip < 0.1


def test_a_closed_socket_tells_nothing() -> None:
    sock = socket.socket()
    sock.close()
    assert tcp_info(sock) is None


def test_a_connection_is_paced_at_twice_the_rate_that_is_believed_and_let_go_again() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        limit_pacing_rate(sock, 1e6)
        assert struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, 47, 8))[0] == 250_000
        limit_pacing_rate(sock, None)
        assert struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, 47, 8))[0] > 10**9
    limit_pacing_rate(sock, 1e6)  # closed: nothing to do
