"""The kernel's information about a TCP connection: what has arrived, and what delayed it."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Final

_FIRST_WINDOW: Final = 10  # segments (RFC 6928)
# rto, snd_mss, last_data_sent, rtt, rttvar, snd_cwnd, bytes_acked, min_rtt, busy_time, rwnd_limited,
# sndbuf_limited; older kernels lack the last three.
_FIELDS: Final = struct.Struct("=8xI4xI24xI20xII4xI36xQ20xI16xQQQ")
_ACKED: Final = struct.Struct("=120xQ")
_LEAST_LENGTH: Final = 152
_UNKNOWN: Final = 0xFFFFFFFF
_SO_MAX_PACING_RATE: Final = 47  # asm-generic/socket.h; the module socket does not define it
_NO_LIMIT: Final = 0xFFFFFFFFFFFFFFFF
_AHEAD: Final = 2.0
_LEAST_PACE: Final = 12_500  # bytes a second


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """State of a connection (linux/tcp.h, struct tcp_info).

    acked: bytes acknowledged. round_trip: the minimum in seconds. window: bytes that can be sent at once
    next. usual: seconds after which an acknowledgment is late, by the round trips so far (RFC 6298).
    busy: seconds with unacknowledged data, None if the kernel does not report it. stalled: seconds of these
    in which the receiver's window or the send buffer was the limit, not the link. Both are counted in ticks
    of the kernel, 1 to 10 ms.
    """

    acked: int
    round_trip: float
    window: int = 0
    busy: float | None = None
    stalled: float = 0.0
    usual: float = 0.0


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """State of a connection; None if it is not available (closed, not Linux)."""
    raw = _raw(sock)
    if raw is None:
        return None
    timeout, segment, idle, mean, variation, window, acked, round_trip, busy, starved, full = (
        _FIELDS.unpack_from(raw.ljust(_FIELDS.size, b"\0"))
    )
    if idle * 1000 > timeout:  # the window restarts after such a pause (RFC 2861)
        window = min(window, _FIRST_WINDOW)
    return TcpInfo(
        acked=acked,
        round_trip=0.0 if round_trip == _UNKNOWN else round_trip / 1e6,
        window=window * segment,
        busy=busy / 1e6 if len(raw) >= _FIELDS.size else None,
        stalled=(starved + full) / 1e6,
        usual=(mean + 4 * variation) / 1e6,
    )


def _raw(sock: socket.socket) -> bytes | None:
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    except (OSError, AttributeError, ValueError):  # uvloop: a closed socket is a ValueError
        return None
    return raw if len(raw) >= _LEAST_LENGTH else None


def limit_pacing_rate(sock: socket.socket, rate: float | None) -> None:
    """Limits the kernel's sending rate to twice a rate in bit/s (None: no limit).

    Otherwise a whole activation is sent at once if the window allows it, the queue of the link drops its end,
    and the loss of an end is noticed only after several round trips: up to seconds on a slow link.
    """
    most = _NO_LIMIT if not rate else max(int(_AHEAD * rate / 8), _LEAST_PACE)
    with contextlib.suppress(OSError, ValueError):  # not Linux, or closed
        sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=Q", most))


class Transfer:
    """A request in flight; `arrived` is when all of it was first seen to be acknowledged.

    before: state of the connection at the start. moved_before: bytes on the link that had arrived by then.
    delays_before: seconds by which looks at the link's transfers had been late by then.
    """

    __slots__ = ("arrived", "before", "delays_before", "moved_before", "size", "sock", "start")

    def __init__(
        self, sock: socket.socket, size: int, start: float, moved_before: int, delays_before: float = 0.0
    ) -> None:
        self.sock, self.size, self.start = sock, size, start
        self.moved_before, self.delays_before = moved_before, delays_before
        self.before = tcp_info(sock) or TcpInfo(0, 0.0)
        self.arrived: float | None = None

    def moved(self) -> int:
        """Bytes of it that are known to have arrived."""
        raw = _raw(self.sock)
        return (
            min(max(_ACKED.unpack_from(raw)[0] - self.before.acked, 0), self.size) if raw is not None else 0
        )
