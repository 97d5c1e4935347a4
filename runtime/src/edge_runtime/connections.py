"""An HTTP/1.1 client with keep-alive connections whose sockets are accessible.

`edge_runtime.links` measures the link on the hop's own socket, which the common clients hide, and a node that
is throttled to a tenth of a core cannot afford half a millisecond for each request. httptools parses; this
module keeps connections, bounds every wait, and never reuses a connection after a request on it timed out.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import orjson

from edge_runtime.errors import ConnectionFailed
from edge_runtime.json_values import Json

Part = bytes | memoryview

_SEND_BUFFER: Final = 512 << 10  # holds a whole activation, so that a throttled process keeps the link busy
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER for 0 seconds
_IDLE_LIMIT: Final = 20.0
_FRESH: Final = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        """Parses the body; raises ValueError if it is not JSON."""
        return orjson.loads(self.body)


class Resolver:
    """Resolves names off the hot path: returns a known address immediately, then refreshes it.

    During a link cut the cluster's DNS is unreachable too; a look-up then hangs for seconds although the
    known address is still right.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[str, float]] = {}
        self._running: dict[tuple[str, int], asyncio.Task[str]] = {}

    async def resolve(self, host: str, port: int) -> str:
        """Returns one address of `host`. Raises ConnectionFailed if none was ever known."""
        key = (host, port)
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[1] < _FRESH:
            return known[0]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._look_up(key))
            task.add_done_callback(
                lambda done: (self._running.pop(key, None), done.cancelled() or done.exception())
            )
        return known[0] if known is not None else await asyncio.shield(task)

    async def _look_up(self, key: tuple[str, int]) -> str:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(*key, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectionFailed(f"{key[0]}: name resolution failed ({error})") from error
        # A name such as localhost can have both families; a server listens at least on IPv4.
        address = str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])
        self._known[key] = (address, time.monotonic())
        return address


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.socket: socket.socket | None = None
        self.closed = False
        self.used = 0.0
        self.fresh = True
        self._waiter: asyncio.Future[Response] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._began = self._bodiless = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's class is not a subclass of it
        self.socket = transport.get_extra_info("socket")
        if self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def send(
        self, parts: Sequence[Part], sink: Callable[[bytes], None] | None, *, bodiless: bool = False
    ) -> asyncio.Future[Response]:
        """Writes a request. The future resolves to its response, which has no body if that is said."""
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._sink, self._began, self._bodiless = sink, False, bodiless
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.writelines(parts)
        return self._waiter

    def abort(self) -> None:
        """Closes immediately."""
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def abandon(self) -> None:
        """Closes immediately and abandons the request in flight.

        The connection is reset: what the kernel still holds of the request must not arrive after later
        requests, when a link that was cut is back.
        """
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()

    @property
    def began(self) -> bool:
        """Whether any byte of the response has arrived."""
        return self._began

    def data_received(self, data: bytes) -> None:
        self._began = True
        if self._waiter is None:  # data without a request
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"invalid HTTP response ({error})")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._fail(f"connection closed ({exc or 'by the peer'})")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._bodiless:  # the length is that of the body that a GET would have
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        if self._sink is None:
            self._body.append(data)
        else:
            self._sink(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # an interim response before the final one
            self._headers = {}
            return
        waiter, self._waiter = self._waiter, None
        if not self._parser.should_keep_alive():
            self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_result(Response(self._parser.get_status_code(), self._headers, b"".join(self._body)))

    def _fail(self, why: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionFailed(why))


class HttpClient:
    """An HTTP client for one host.

    `on_start` receives the connection of each request before its first byte is sent. `tls` applies to an
    https address; by default the system's authorities are trusted.
    """

    def __init__(
        self,
        url: str,
        resolver: Resolver | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        size: int = 4,
    ) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f'"{url}" is not an address: write http://host:port')
        self.url = url
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        name = f"[{self._host}]" if ":" in self._host else self._host
        self._host_header = f"Host: {name}:{self._port}\r\n"
        self._resolver = resolver or Resolver()
        self._idle: list[Connection] = []
        self._size = size

    async def request(
        self,
        method: str,
        path: str,
        body: Sequence[Part] = (),
        headers: str = "",
        *,
        within: float,
        on_start: Callable[[Connection], None] | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> Response:
        """Sends one request and returns its response within `within` seconds.

        Raises TimeoutError and ConnectionFailed. Retries once on a new connection if a kept one turns out to
        be closed. `headers` are complete lines that end in CRLF.
        """
        length = sum(len(part) if isinstance(part, bytes) else part.nbytes for part in body)
        line = f"{method} {self._prefix}{path} HTTP/1.1\r\n"
        head = f"{line}{self._host_header}{headers}Content-Length: {length}\r\n\r\n"
        parts = [head.encode("latin-1"), *body]
        async with asyncio.timeout(within):
            while True:
                connection = self._take() or await self._connect()
                try:
                    if on_start is not None:
                        on_start(connection)
                    response = await connection.send(parts, sink, bodiless=method == "HEAD")
                except ConnectionFailed as error:
                    if self._tls is not None and connection.fresh and not connection.began:
                        raise ConnectionFailed(
                            f"{error}; certificates can be rejected like this, too"
                        ) from error
                    if connection.fresh or connection.began:
                        raise
                except BaseException:
                    connection.abandon()
                    raise
                else:
                    self._give(connection)
                    return response

    def close(self) -> None:
        """Closes idle connections."""
        while self._idle:
            self._idle.pop().abort()

    def _take(self) -> Connection | None:
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and now - connection.used < _IDLE_LIMIT:
                connection.fresh = False
                return connection
            connection.abort()
        return None

    def _give(self, connection: Connection) -> None:
        if connection.closed:
            return
        connection.used = time.monotonic()
        if len(self._idle) >= self._size:
            connection.abort()
        else:
            self._idle.append(connection)

    async def _connect(self) -> Connection:
        address = await self._resolver.resolve(self._host, self._port)
        connection = Connection()
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                address,
                self._port,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except OSError as error:
            raise ConnectionFailed(f"{self._host}:{self._port}: connection failed ({error})") from error
        except BaseException:
            with contextlib.suppress(Exception):
                connection.abort()
            raise
        return connection
