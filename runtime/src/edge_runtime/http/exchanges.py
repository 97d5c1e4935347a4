"""One request and its response, between a connection and an application.

Simpler than uvicorn's own: applications here give each response its content-length, in lower case, and
complete every response that they start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from edge_runtime.asgi import App, Header, Message, Response, Scope, Send
from edge_runtime.errors import EdgeError

_log = logging.getLogger(__name__)

Refuse = Callable[[Send, EdgeError], Awaitable[None]]

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOGETHER: Final = 1 << 12
_FAILED: Final = "internal error: see the server's log"


class ClientConnection(Protocol):
    """What an exchange needs of the connection."""

    flow: FlowControl
    transport: asyncio.Transport

    def leave(self) -> None:
        """Closes after the written data is sent."""

    def on_response_complete(self) -> None:
        """Starts the next request."""


class Exchange:
    """A request and its response. uvicorn's protocol sets and reads the public attributes."""

    __slots__ = (
        "_begun",
        "_default",
        "_expects",
        "_head",
        "_line",
        "_owed",
        "_refuse",
        "_scope",
        "body",
        "broken",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
    )

    def __init__(
        self,
        line: ClientConnection,
        scope: Scope,
        default: list[Header],
        refuse: Refuse,
        *,
        keep_alive: bool,
        expects: bool,
    ) -> None:
        """default: headers of every response. refuse: formats a refusal in the form of the application.
        expects: whether the client waits for `100 Continue`.
        """
        self._refuse = refuse
        self._line, self._scope, self._default = line, scope, default
        self.keep_alive, self._expects = keep_alive, expects
        self.message_event = asyncio.Event()
        self.body, self.more_body = b"", True
        self.broken: EdgeError | None = None
        self.disconnected = self.response_complete = self._begun = False
        self._head, self._owed = b"", 0

    async def run_asgi(self, app: App) -> None:
        """Runs the application. An incomplete response becomes a 500 or closes the connection."""
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            _log.exception("%s %s", self._scope.get("method"), self._scope.get("path"))
        if self.response_complete or self.disconnected:
            return
        self.keep_alive = False
        if self._begun:
            self._line.transport.close()
        else:
            await self._refuse(self.send, EdgeError(_FAILED))

    async def receive(self) -> Message:
        """The next part of the body. Raises the error of a body that cannot be read completely."""
        if self._expects:
            self._expects = False
            if not self.disconnected:
                self._line.transport.write(_CONTINUE)
        if not (self.disconnected or self.response_complete or self.broken is not None):
            self._line.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.broken is not None:
            raise self.broken
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        part, self.body = self.body, b""
        return {"type": "http.request", "body": part, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Writes the head of the response together with the first part of its body, then the other parts."""
        flow = self._line.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected or self._line.transport.is_closing():
            return
        if not self._begun:
            self._begun = True
            self._head = self._begin(message["status"], message["headers"])
            return
        part = message.get("body", b"")
        if self._scope.get("method") == "HEAD":
            part, self._owed = b"", 0
        self._owed -= len(part)
        if self._owed < 0 or (self._owed and not message.get("more_body")):
            raise RuntimeError("the response does not have the length of its content-length")
        if self._head:
            self._line.transport.writelines((self._head, part))
            self._head = b""
        elif part:
            self._line.transport.write(part)
        if not message.get("more_body"):
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self._line.leave()
            self._line.on_response_complete()

    def _begin(self, status: int, headers: list[Header]) -> bytes:
        if self._expects and self.more_body:
            self.keep_alive = False  # the client decides whether it sends its body (RFC 9110, 10.1.1)
        lines = [STATUS_LINE[status]]
        for name, value in (*self._default, *headers):
            if name == b"content-length":
                self._owed = int(value)
            elif name == b"connection":
                self.keep_alive = False  # close is the only value used here
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)


def whole(response: Response, default: list[Header]) -> tuple[list[bytes | memoryview], bool]:
    """What to write for a complete response, and whether the connection stays open after it.

    default: headers of every response.
    """
    lines, kept, size = [STATUS_LINE[response.status]], True, 0
    for name, value in (*default, *response.headers):
        if name == b"connection":
            kept = False  # close is the only value used here
        lines.append(b"%b: %b\r\n" % (name, value))
    for part in response.parts:
        size += len(part)
    lines.append(b"content-length: %d\r\n\r\n" % size)
    if size <= _TOGETHER:  # one system call, and little to copy
        return [b"".join((*lines, *response.parts))], kept
    return [b"".join(lines), *response.parts], kept
