"""uvicorn's connections with strict RFC 9112 framing: one response per request, bodies exactly as declared.

llhttp, uvicorn's parser, ends a message at an offer to upgrade and leaves the rest to the other protocol. No
other protocol is supported here, so the offer is ignored (RFC 9110, 7.8) by a new parser that does not see
it. An unreadable request is refused after the pending responses before it, and nothing is read after it.
"""

from __future__ import annotations

import asyncio
import functools
import urllib.parse
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from edge_runtime.asgi import AtOnce, Header, PromptApp, Receive, Scope, Send
from edge_runtime.errors import BadRequest, EdgeError, Forbidden, HeadersTooLarge, TooSlow
from edge_runtime.http.exchanges import Exchange, Refuse, whole
from edge_runtime.http.heads import FRAMING, Head, split_target, unreadable
from edge_runtime.tls.peers import dns_names

Admit = Callable[[Collection[str]], None]
"""Raises Forbidden unless a client whose certificate is for these DNS names is admitted."""

LARGEST_HEAD: Final = 64 << 10
PATIENCE: Final = 75.0  # the keep-alive time of idle connections
_END_OF_HEAD: Final = b"\r\n\r\n"
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
# Limits in seconds and bytes for draining a client that is still sending, so that it can read the refusal.
_FAREWELL: Final = 2.0
_THROWN_AWAY: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class _ReadHead:
    """A valid head: what was given, and what follows from it."""

    given: tuple[bytes, str, bytes, Sequence[Header]]
    head: Head
    method: str
    raw_path: bytes
    query: bytes
    path: str
    headers: Sequence[Header]
    expects: bool
    at_once: AtOnce | None

    @classmethod
    def of(
        cls, app: PromptApp | None, verb: bytes, version: str, target: bytes, given: Sequence[Header]
    ) -> _ReadHead:
        """app: the application if it responds to some requests at once.

        Raises BadRequest for an ambiguous or unsupported head.
        """
        head, headers, expects, method = Head(), list[Header](), False, verb.decode("ascii")
        for name, value in given:
            name, value = name.lower(), value.rstrip(b" \t")
            headers.append((name, value))
            if name in FRAMING:
                head.note(name, value)
            expects = expects or (name == b"expect" and value.lower() == b"100-continue")
        head.check(method, version)
        raw_path, query = split_target(method, target)
        path = raw_path.decode("ascii")
        path = urllib.parse.unquote(path) if "%" in path else path
        plain = app is not None and version != "1.0" and not expects
        at_once = app.at_once(method, path, headers) if app is not None and plain else None
        given_ = (verb, version, target, given)
        return cls(given_, head, method, raw_path, query, path, headers, expects, at_once)


@dataclass(frozen=True, slots=True)
class _Repeatable:
    """The bytes of a head whose request got its response at once, and the size of that request."""

    head: bytes
    size: int
    read: _ReadHead


class ServerConnection(HttpToolsProtocol):
    """One connection of a client.

    More than LARGEST_HEAD bytes of headers, trailers or chunk extensions, counted after the first packet, are
    refused. The connection is closed if its first head, the rest of a head, or the rest of a body after its
    response takes longer than PATIENCE seconds; a body that stalls for so long is refused. Between requests
    uvicorn's own limit applies.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        refuse: Refuse,
        admit: Admit | None = None,
    ) -> None:
        """refuse: formats the response to an unreadable request, in the form of the application.
        admit: checks the client's certificate; None: a completed handshake suffices.
        """
        super().__init__(config, server_state, app_state, _loop)
        self._refuse_with = refuse
        self._admit = admit
        self._stranger: Forbidden | None = None  # why the client is not admitted
        self._read: _ReadHead | None = None  # the last valid one
        self._unfinished = False  # inside a head
        self._open = False  # inside a body
        self._prompt = self.app if isinstance(self.app, PromptApp) else None
        self._held: bytes | None = None  # the body so far of a request that may get its response at once
        self._served = False  # a request of the data being read got its response at once
        self._served_bytes = 0  # of its body
        self._lasting = True  # keep-alive by the last head
        self._offered = False  # the head of the pending body offers an upgrade
        self._deaf = False  # nothing more is read
        self._left = False
        self._fault: EdgeError | None = None
        self._silent = 0  # bytes since the last byte of a body
        self._heard = 0.0
        self._limit: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None  # when the last response was complete; None inside a request
        self._repeatable: _Repeatable | None = None
        self._due: deque[Exchange] = deque()  # requests without a response yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit_to(PATIENCE)
        if self._admit is not None:
            try:
                self._admit(dns_names(transport.get_extra_info("peercert")))
            except Forbidden as error:
                self._stranger = error

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
        if self._repeats(data):
            return
        whole_requests = not (self._unfinished or self._open or self._due)
        self._idle_since = None
        self._heard = self.loop.time()
        self._silent += len(data)
        self._served = False
        try:
            self._feed(data)
            self._release()
        except httptools.HttpParserError as error:
            self._release()
            fault = self._fault or unreadable(self.url if self._unfinished else b"", str(error))
            self._refuse(fault)
            return
        if self._silent > LARGEST_HEAD and (self._unfinished or self._open):
            long = HeadersTooLarge(f"headers: larger than {LARGEST_HEAD} bytes: send fewer or shorter ones")
            self._refuse(long)
        elif self._limit is None and (self._unfinished or self._open or not (self._due or self._served)):
            self._limit_to(PATIENCE)
        elif whole_requests and self._served:
            self._remember(data)

    def _remember(self, data: bytes) -> None:
        """Keeps the head of a request that got its response at once, if it is all of the data."""
        length, read = data.find(_END_OF_HEAD) + len(_END_OF_HEAD), self._read
        assert read is not None
        if not (self._unfinished or self._open or self._due) and length + self._served_bytes == len(data):
            self._repeatable = _Repeatable(data[:length], len(data), read)

    def _repeats(self, data: bytes) -> bool:
        """Responds to data that differs from the last request in the body alone.

        The same bytes between two requests have the same meaning, so the parser need not see them: most
        clients repeat their head. Returns False, with nothing done, for any other data.
        """
        known = self._repeatable
        if known is None or len(data) != known.size or not data.startswith(known.head):
            return False
        if self._idle_since is None or self._due or self._unfinished or self._open or self._left:
            return False
        self._in_time()
        self._read, self._silent = known.read, 0
        return self._respond_at_once(memoryview(data)[len(known.head) :])

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                assert self._read is not None
                self.parser.feed_data(self._read.head.framing(keep_alive=self._lasting))
            else:
                return

    def on_message_begin(self) -> None:
        if self._offered:
            return
        self._unfinished, self._silent = True, 0
        self.url, self.headers = b"", []

    def on_url(self, url: bytes) -> None:
        if not self._offered:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._unfinished:  # trailers are ignored
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._offered:
            self._offered = False
            return
        if self._stranger is not None:
            self._fault = self._stranger
            raise self._stranger
        version = self.parser.get_http_version()
        given = (self.parser.get_method(), version, self.url, self.headers)
        if self._read is None or given != self._read.given:  # most clients repeat the same head
            try:
                self._read = _ReadHead.of(self._prompt, *given)
            except BadRequest as error:
                self._fault = error
                raise
        self._unfinished, self._open, self._silent = False, True, 0
        self._offered = self.parser.should_upgrade()
        self._in_time()
        self._lasting = version != "1.0" and self.parser.should_keep_alive()
        # At most one of the requests in the same data, so that other connections get their turn.
        prompt = self._read.at_once is not None and self._lasting and not (self._due or self._served)
        if prompt and not self._offered:
            self._held = b""
        else:
            self._start(self._read)

    def _start(self, read: _ReadHead) -> None:
        """Starts a request in a task of its own."""
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": read.given[1],
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": read.method,
            "path": read.path,
            "raw_path": read.raw_path,
            "query_string": read.query,
            "headers": read.headers,
        }
        expects = read.expects and read.given[1] != "1.0"
        self._take(scope, keep_alive=self._lasting, expects=expects, app=self.app)

    def _release(self) -> None:
        """Starts a held request in a task of its own."""
        body, self._held = self._held, None
        if body is not None:
            assert self._read is not None
            self._start(self._read)
            if body:
                self.on_body(body)

    def _respond_at_once(self, body: bytes | memoryview) -> bool:
        """Responds to a complete request. Returns False if its application has to be awaited."""
        assert self._read is not None
        assert self._read.at_once is not None
        if self.flow.write_paused or self.transport.is_closing():
            return False
        response = self._read.at_once(body)
        if response is None:
            return False
        self._held, self._served, self._served_bytes = None, True, len(body)
        written, kept = whole(response, self.server_state.default_headers)
        self.transport.writelines(written)
        if kept:
            self._complete()
        else:
            self.server_state.total_requests += 1
            self.leave()
        return True

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        if self._held is not None:
            self._held += body
            return
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
        if self._held is not None:
            if self._respond_at_once(self._held):
                return
            self._release()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._due.popleft()
        if self._left:
            self.server_state.total_requests += 1
        else:
            self._complete()

    def _complete(self) -> None:
        """Continues with the next request, or begins to wait for it.

        uvicorn starts and cancels a timer for each request; here one runs for the connection.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_after(self.timeout_keep_alive)

    def _look_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection if it has been idle for as long as uvicorn's setting allows."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the end of the response starts the timer again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_after(left)
        else:
            super().timeout_keep_alive_handler()

    def leave(self) -> None:
        """Closes the connection after draining data of a client that is still sending.

        Closing a socket with unread bytes resets the connection, and the client would lose the response.
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

    def _take(self, scope: Any, *, keep_alive: bool, expects: bool, app: Any) -> None:  # noqa: ANN401 - of uvicorn
        """Starts a request whose head is read, immediately or after those before it."""
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
        """Stops reading. The request that could not be read completely gets this error as its response."""
        self._deaf = True
        self._in_time()
        if not self._open:
            scope = {"type": "http", "method": self.parser.get_method().decode("ascii")}
            self._take(
                scope,
                keep_alive=False,
                expects=False,
                app=functools.partial(_refused, self._refuse_with, error),
            )
        elif self._due:
            exchange = self._due[-1]
            exchange.keep_alive = False
            exchange.broken = error
            exchange.message_event.set()
        else:  # it has a response but cannot be read completely
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
            self._refuse(TooSlow(f"body: no data for {PATIENCE:g} s: send it without pauses"))

    def _in_time(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


async def _refused(refuse: Refuse, error: EdgeError, scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(send, error)
