"""What the kernel tells of a connection: how much has arrived, and what held it up."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

_LENGTH: Final = 232
_FIRST_WINDOW: Final = 10  # segments (RFC 6928)
_LEAST_LENGTH: Final = 152
_LENGTH_WITH_BUSY: Final = 192
_UNKNOWN: Final = 0xFFFFFFFF


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
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
    except (OSError, AttributeError, ValueError):  # uvloop: a closed socket is a ValueError
        return None
    if len(raw) < _LEAST_LENGTH:
        return None
    timeout, segment, idle, window = (_word(raw, at) for at in (8, 16, 44, 80))
    if idle * 1000 > timeout:  # after so long a pause it begins anew (RFC 2861)
        window = min(window, _FIRST_WINDOW)
    round_trip = _word(raw, 148)
    busy, starved, full = (_long(raw, at) for at in (168, 176, 184))
    return TcpInfo(
        acked=_long(raw, 120),
        round_trip=0.0 if round_trip == _UNKNOWN else round_trip / 1e6,
        window=window * segment,
        busy=busy / 1e6 if len(raw) >= _LENGTH_WITH_BUSY else None,
        stalled=(starved + full) / 1e6,
    )


def _word(raw: bytes, at: int) -> int:
    found: int = struct.unpack_from("=I", raw, at)[0]
    return found


def _long(raw: bytes, at: int) -> int:
    """0 where an older kernel says less."""
    found: int = struct.unpack_from("=Q", raw, at)[0] if len(raw) >= at + 8 else 0
    return found


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
        info = tcp_info(self.sock)
        return min(max(info.acked - self.before.acked, 0), self.size) if info is not None else 0
