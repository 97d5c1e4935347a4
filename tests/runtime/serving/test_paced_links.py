"""The measurement of a transfer over a connection that the kernel paces, and of other delays."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge_planning.links.estimates import RateSample
from edge_runtime.links.sockets import tcp_info
from edge_runtime.links.transfer_rates import FinishedTransfer, sample_of_transfer, tight

RATE = 8e6
SIZE = 64_000
PACING = 47  # SO_MAX_PACING_RATE of linux/socket.h, which Python does not define
SEGMENT = 1400


@contextmanager
def _paced(read_every: float = 0.0, think: float = 0.0, buffer: int = 0) -> Iterator[socket.socket]:
    """A connection that the kernel paces at RATE; the receiver returns two bytes for each SIZE bytes.

    read_every: seconds before each read of 4 KiB. think: seconds until the response. buffer: the receiver's.
    """
    with socket.socket() as server, socket.socket() as near:
        for sock in (server, near):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        if buffer:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        server.bind(("127.0.0.1", 0))
        server.listen(1)

        def serve() -> None:
            far, _ = server.accept()
            with far:
                found = 0
                while data := far.recv(4096):
                    found += len(data)
                    if read_every:
                        time.sleep(read_every)
                    if found == SIZE:
                        found = 0
                        time.sleep(think)
                        far.sendall(b"ok")

        thread = threading.Thread(target=serve)
        thread.start()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        near.setsockopt(socket.SOL_SOCKET, PACING, round(RATE / 8))
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 512 << 10)
        try:
            near.connect(server.getsockname())
            yield near
        finally:
            near.close()
            thread.join(10)


def _sent(near: socket.socket, pieces: int = 1, pause: float = 0.0) -> RateSample:
    """The sample of the third of three requests in parts with pauses: a pacer begins with a burst."""
    for _ in range(3):
        before, begun = tcp_info(near), time.perf_counter()
        for _ in range(pieces):
            near.sendall(bytes(SIZE // pieces))
            time.sleep(pause)
        assert near.recv(2) == b"ok"
        seconds, after = time.perf_counter() - begun, tcp_info(near)
    assert before is not None
    assert after is not None
    sample = sample_of_transfer(FinishedTransfer(SIZE, seconds, 0.0, before, after), 0.0)
    assert sample is not None
    return sample


def test_a_transfer_over_a_paced_connection_tells_its_rate() -> None:
    with _paced() as near:
        sample = _sent(near)
    assert sample.low < 1.15 * RATE
    assert sample.high > 0.85 * RATE


@pytest.mark.parametrize("case", ["far server slow", "nothing to send", "receiver slow"])
def test_the_kernel_shows_waits_outside_the_link_and_they_leave_the_rate_open(case: str) -> None:
    """Bytes over seconds are half of the link's rate or less; the sample allows for more."""
    if case == "far server slow":
        with _paced(think=0.08) as near:
            sample = _sent(near)
    elif case == "nothing to send":
        with _paced() as near:
            sample = _sent(near, pieces=8, pause=0.02)
    else:
        with _paced(read_every=0.01, buffer=8192) as near:
            sample = _sent(near)
    assert sample.low < 0.6 * RATE
    assert sample.high > 0.85 * RATE
    assert not tight(sample)
