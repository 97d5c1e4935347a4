"""What the kernel tells of a connection: how much has arrived, and what held it up."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Final

_FIRST_WINDOW: Final = 10  # segments (RFC 6928)
# rto, snd_mss, last_data_sent, snd_cwnd, bytes_acked, min_rtt, busy_time, rwnd_limited, sndbuf_limited; older
# kernels say nothing of the last three.
_FIELDS: Final = struct.Struct("=8xI4xI24xI32xI36xQ20xI16xQQQ")
_ACKED: Final = struct.Struct("=120xQ")
_LEAST_LENGTH: Final = 152
_UNKNOWN: Final = 0xFFFFFFFF
_SO_MAX_PACING_RATE: Final = 47  # asm-generic/socket.h; the module socket does not name it
_NO_LIMIT: Final = 0xFFFFFFFFFFFFFFFF
_AHEAD: Final = 2.0
_LEAST_PACE: Final = 12_500  # bytes a second


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """Of a connection so far (linux/tcp.h, struct tcp_info).

    acked: bytes acknowledged. round_trip: the least, in seconds. window: bytes that may be sent at once next.
    busy: seconds in which something was unacknowledged, None where the kernel does not say. stalled: seconds
    of these in which the receiver's window or the send buffer held it up, not the link. Both are counted in
    ticks of the kernel, 1 to 10 ms.
    """

    acked: int
    round_trip: float
    window: int = 0
    busy: float | None = None
    stalled: float = 0.0


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """What the kernel says of a connection; None where it says nothing (closed, not Linux)."""
    raw = _raw(sock)
    if raw is None:
        return None
    timeout, segment, idle, window, acked, round_trip, busy, starved, full = _FIELDS.unpack_from(
        raw.ljust(_FIELDS.size, b"\0")
    )
    if idle * 1000 > timeout:  # after so long a pause it begins again (RFC 2861)
        window = min(window, _FIRST_WINDOW)
    return TcpInfo(
        acked=acked,
        round_trip=0.0 if round_trip == _UNKNOWN else round_trip / 1e6,
        window=window * segment,
        busy=busy / 1e6 if len(raw) >= _FIELDS.size else None,
        stalled=(starved + full) / 1e6,
    )


def _raw(sock: socket.socket) -> bytes | None:
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    except (OSError, AttributeError, ValueError):  # uvloop: a closed socket is a ValueError
        return None
    return raw if len(raw) >= _LEAST_LENGTH else None


def limit_pacing_rate(sock: socket.socket, rate: float | None) -> None:
    """Has the kernel send no faster than twice a rate in bit/s (None: as it likes).

    Else a whole activation is sent at once where the window is large enough, the queue before the link drops
    its end, and that an end is lost shows only after some round trips: up to seconds on a slow link.
    """
    most = _NO_LIMIT if not rate else max(int(_AHEAD * rate / 8), _LEAST_PACE)
    with contextlib.suppress(OSError, ValueError):  # not Linux, or closed
        sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=Q", most))


class Transfer:
    """One request on its way over the link; `arrived` is when all of it was first seen to be acknowledged.

    `before` is what the kernel said when it began, `moved_before` the bytes of the link that had arrived.
    """

    __slots__ = ("arrived", "before", "moved_before", "size", "sock", "start")

    def __init__(self, sock: socket.socket, size: int, start: float, moved_before: int) -> None:
        self.sock, self.size, self.start, self.moved_before = sock, size, start, moved_before
        self.before = tcp_info(sock) or TcpInfo(0, 0.0)
        self.arrived: float | None = None

    def moved(self) -> int:
        """Bytes of it that are known to have arrived."""
        raw = _raw(self.sock)
        return (
            min(max(_ACKED.unpack_from(raw)[0] - self.before.acked, 0), self.size) if raw is not None else 0
        )
