"""Connections that cancel a request's task if its client disconnects, which uvicorn does not."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

from edge_runtime.asgi import App
from edge_runtime.http.connections import ServerConnection
from edge_runtime.http.exchanges import Exchange

_LOOK_EVERY: Final = 0.5
# A client behind a link that was cut sends nothing: it counts as disconnected after half a minute.
_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class AttendedConnection(ServerConnection):
    """Cancels the task of the current request if its connection is lost.

    Pipelined requests, and the end of the connection behind them, stay unread until the current response is
    sent. Until then the socket itself is polled.
    """

    _task: asyncio.Task[None] | None = None
    _cycle: Exchange | None = None
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self._look_later)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # already disconnected
                for level, option, value in _KEEP_ALIVE:
                    sock.setsockopt(level, option, value)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()

    def _start_asgi_task(self, cycle: Exchange, app: App) -> None:  # type: ignore[override]
        self._cycle = cycle
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _leave(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._task is not None and self._cycle is not None and not self._cycle.response_complete:
            self._cycle.disconnected = True  # uvicorn marks only the newest
            self._task.cancel()

    def _look_later(self) -> None:
        if self._look is None:
            self._look = self.loop.call_later(_LOOK_EVERY, self._look_at_socket)

    def _look_at_socket(self) -> None:
        self._look = None
        if not self.pipeline or self.transport.is_closing():
            return
        if _is_shut(self.transport):
            self.transport.abort()
            self._leave()
        else:
            self._look_later()


class _Flow(FlowControl):
    """Reports when reading from the connection is paused."""

    def __init__(self, transport: asyncio.Transport, told: Callable[[], None]) -> None:
        super().__init__(transport)
        self._told = told

    def pause_reading(self) -> None:
        super().pause_reading()
        self._told()


def _is_shut(transport: asyncio.Transport) -> bool:
    """Whether the peer has closed its side, even if data before that is unread."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):
        poll.register(sock.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))
    return False
