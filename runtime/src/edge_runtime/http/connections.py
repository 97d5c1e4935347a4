"""uvicorn's connections, held to RFC 9112: a request is answered once, and its body is what its head says.

llhttp, which parses for uvicorn, ends a message at an offer to upgrade and leaves what follows to another
protocol. No other is spoken here, so the offer is ignored (RFC 9110, 7.8): a parser that never saw it reads
on. What cannot be read is refused after the answers that are due before it, and nothing is read behind it.
"""

from __future__ import annotations

import asyncio
import functools
import urllib.parse
from collections import deque
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from edge_runtime.asgi import Receive, Scope, Send
from edge_runtime.errors import BadRequest, EdgeError, HeadersTooLarge, TooSlow
from edge_runtime.http.exchanges import Exchange, Refuse
from edge_runtime.http.heads import FRAMING, Head, split_target, unreadable

LARGEST_HEAD: Final = 64 << 10
PATIENCE: Final = 75.0  # as long as an idle connection is kept
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
# For so many seconds and bytes a caller who still sends can learn why nothing more is read.
_FAREWELL: Final = 2.0
_THROWN_AWAY: Final = 8 << 20


class Connection(HttpToolsProtocol):
    """One caller's connection.

    What goes on for more than LARGEST_HEAD bytes after its first packet without being body, be it headers,
    trailers or chunks' extensions, is refused. A connection is closed when its first head, the rest of one,
    or what is left of a body after its answer takes longer than PATIENCE seconds; a body that pauses for so
    long is refused. Between requests uvicorn's own limit holds.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        refuse: Refuse,
    ) -> None:
        """refuse: how the application words a refusal of what is not even a request."""
        super().__init__(config, server_state, app_state, _loop)
        self._refuse_with = refuse
        self._head = Head()
        self._unfinished = False  # a head
        self._open = False  # a body
        self._lasting = True  # as far as the last head says
        self._offered = False  # an upgrade, by the head whose body is yet to be read
        self._deaf = False  # nothing is read any more
        self._left = False
        self._fault: EdgeError | None = None
        self._silent = 0  # bytes since one that was body
        self._heard = 0.0
        self._limit: asyncio.TimerHandle | None = None
        self._due: deque[Exchange] = deque()  # requests that are not answered yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit_to(PATIENCE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        for exchange in self._due:
            exchange.disconnected = True
            exchange.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._silent += len(data)
            if self._left and self._silent > _THROWN_AWAY:
                self.transport.close()
            return
        self._unset_keepalive_if_required()
        self._heard = self.loop.time()
        self._silent += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            fault = self._fault or unreadable(self.url if self._unfinished else b"", str(error))
            self._refuse(fault)
            return
        if self._silent > LARGEST_HEAD and (self._unfinished or self._open):
            long = HeadersTooLarge(f"headers: more than {LARGEST_HEAD} bytes; send fewer or shorter ones")
            self._refuse(long)
        elif self._limit is None and (self._unfinished or self._open or not self._due):
            self._limit_to(PATIENCE)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(self._head.framing(self._lasting))
            else:
                return

    def on_message_begin(self) -> None:
        if self._offered:
            return
        self._unfinished, self._silent, self._head = True, 0, Head()
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_url(self, url: bytes) -> None:
        if not self._offered:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._unfinished:  # trailers say nothing that is asked for here, and are no headers
            return
        name, value = name.lower(), value.rstrip(b" \t")
        if name in FRAMING:
            self._head.note(name, value)
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._offered:
            self._offered = False
            return
        version, method = self.parser.get_http_version(), self.parser.get_method().decode("ascii")
        try:
            self._head.check(method, version)
            raw_path, query = split_target(method, self.url)
        except BadRequest as error:
            self._fault = error
            raise
        self._unfinished, self._open, self._silent = False, True, 0
        self._offered = self.parser.should_upgrade()
        self._in_time()
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
        }
        self._lasting = version != "1.0" and self.parser.should_keep_alive()
        self._take(scope, self._lasting, self.expect_100_continue and version != "1.0", self.app)

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._offered:
            return
        self._open, self._silent = False, 0
        self._in_time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._due.popleft()
        if self._left:
            self.server_state.total_requests += 1
        else:
            super().on_response_complete()

    def leave(self) -> None:
        """Closes; from a caller who is still sending, what comes is thrown away until it had time to read.

        A socket that is closed with unread bytes takes back what it had sent.
        """
        if self._left or self.transport.is_closing():
            return
        if not (self._deaf or self._open or self._unfinished) or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._left = self._deaf = True
        self._silent = 0
        self.transport.write_eof()
        self.flow.resume_reading()
        self._limit_to(_FAREWELL)

    def _take(self, scope: Any, keep_alive: bool, expects: bool, app: Any) -> None:  # noqa: ANN401 - of uvicorn
        """A request whose head is read: answered at once, or after those before it."""
        default = self.server_state.default_headers
        exchange = Exchange(self, scope, default, self._refuse_with, keep_alive=keep_alive, expects=expects)
        self.cycle = exchange  # type: ignore[assignment]
        self._due.append(exchange)
        if len(self._due) == 1:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _refuse(self, error: EdgeError) -> None:
        """Nothing more is read; the request that could not be read to its end gets this answer."""
        self._deaf = True
        self._in_time()
        if not self._open:
            scope = {"type": "http", "method": self.parser.get_method().decode("ascii")}
            self._take(scope, False, False, functools.partial(_refused, self._refuse_with, error))
        elif self._due:
            exchange = self._due[-1]
            exchange.keep_alive = False
            exchange.broken = error
            exchange.message_event.set()
        else:  # it is answered, and cannot be read to its end
            self.leave()

    def _limit_to(self, seconds: float) -> None:
        self._in_time()
        self._limit = self.loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        self._limit = None
        if self._left or not self._due:
            self.transport.close()
            return
        rest = (
            PATIENCE if self.flow.read_paused or not self._open else self._heard + PATIENCE - self.loop.time()
        )
        if rest > 0:
            self._limit_to(rest)
        else:
            self._refuse(TooSlow(f"body: nothing came for {PATIENCE:g} s; send it without pauses"))

    def _in_time(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


async def _refused(refuse: Refuse, error: EdgeError, scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(send, error)
