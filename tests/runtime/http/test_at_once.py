"""Requests that need no waiting get the same responses as all others, without a task."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from edge_runtime.asgi import AtOnce, Header, Receive, Response, Scope, Send, chunks, respond
from edge_runtime.errors import EdgeError
from edge_runtime.http.connections import ServerConnection
from edge_runtime.http.servers import config_of

LONG = 5000  # bytes of a response that are written in parts


class Wire(asyncio.Transport):
    """A transport without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = bytearray(), False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Echo:
    """Responds with the body: to POST at once unless it contains "wait". `awaited` has the other bodies."""

    def __init__(self) -> None:
        self.awaited: list[bytes] = []
        self.heads: list[str] = []

    def at_once(self, method: str, path: str, headers: Sequence[Header]) -> AtOnce | None:
        self.heads.append(path)
        return self._echo if method == "POST" else None

    @staticmethod
    def _echo(body: bytes | memoryview) -> Response | None:
        body = bytes(body)
        if b"wait" in body:
            return None
        ends = (b"connection", b"close") if b"bye" in body else (b"a", b"b")
        return Response(200, [ends], [body[:1], body[1:]])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b"".join([part async for part in chunks(receive)])
        self.awaited.append(body)
        await respond(send, 200, body, [(b"a", b"b")])


async def _refuse(send: Send, error: EdgeError) -> None:
    await respond(send, 400, str(error).encode(), [])


def post(body: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"POST /one HTTP/" + version, b"Host: a", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def connect(app: Echo, server: ServerState, wire: Wire) -> ServerConnection:
    config = config_of(app, partial(ServerConnection, refuse=_refuse), grace=1.0)
    config.load()
    connection = config.http_protocol_class(config=config, server_state=server, app_state={})  # type: ignore[call-arg]
    assert isinstance(connection, ServerConnection)
    connection.connection_made(wire)
    return connection


async def _exchange(app: Echo, pieces: Sequence[bytes]) -> tuple[Wire, bytes]:
    """The connection, and what it had written when the last piece was read, before any task ran."""
    server, wire = ServerState(), Wire()
    connection = connect(app, server, wire)
    for piece in pieces:
        for _ in range(20):
            await asyncio.sleep(0)
        connection.data_received(piece)
    at_once = bytes(wire.written)
    for _ in range(50):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert server.tasks == set()
    return wire, at_once


def exchange(app: Echo, pieces: Sequence[bytes]) -> tuple[Wire, bytes]:
    return asyncio.run(_exchange(app, pieces))


def bodies(written: bytes) -> list[bytes]:
    """The bodies of the responses."""
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        found.append(rest[:length])
        written = rest[length:]
    return found


def test_a_request_that_arrives_whole_gets_its_response_before_anything_else_runs() -> None:
    app = Echo()
    wire, at_once = exchange(app, [post(b"one")])
    assert bodies(at_once) == [b"one"]
    assert (bodies(bytes(wire.written)), app.awaited, wire.closed) == ([b"one"], [], True)
    assert b"a: b\r\n" in at_once


def test_a_long_response_is_whole_too() -> None:
    body = bytes(LONG)
    assert bodies(exchange(Echo(), [post(body)])[1]) == [body]


def test_the_application_is_awaited_for_what_it_cannot_respond_to_at_once() -> None:
    app = Echo()
    wire, at_once = exchange(app, [post(b"wait")])
    assert (at_once, bodies(bytes(wire.written)), app.awaited) == (b"", [b"wait"], [b"wait"])


def test_the_application_is_awaited_for_a_body_in_pieces_and_for_old_clients() -> None:
    whole = post(b"in pieces")
    for pieces in ([whole[:-4], whole[-4:]], [post(b"in pieces", version=b"1.0")]):
        app = Echo()
        wire, at_once = exchange(app, pieces)
        assert (at_once, bodies(bytes(wire.written)), app.awaited) == (b"", [b"in pieces"], [b"in pieces"])


def test_one_request_of_a_packet_gets_its_response_at_once_and_the_others_in_turn() -> None:
    app = Echo()
    sent = [b"one", b"two", b"three"]
    wire, at_once = exchange(app, [b"".join(map(post, sent))])
    assert bodies(at_once) == [b"one"]
    assert (bodies(bytes(wire.written)), app.awaited) == (sent, [b"two", b"three"])


def test_the_head_is_read_again_only_if_it_changes() -> None:
    app = Echo()
    exchange(app, [post(b"one"), post(b"two"), post(b"longer")])
    assert app.heads == ["/one", "/one"]


def test_a_request_that_differs_from_the_last_in_its_body_has_a_response_of_its_own() -> None:
    app = Echo()
    sent = [b"one.", b"two.", b"wait", b"four", b"five"]
    wire, at_once = exchange(app, list(map(post, sent)))
    assert (bodies(bytes(wire.written)), bodies(at_once), app.awaited) == (sent, sent, [b"wait"])


def test_bytes_of_a_known_head_inside_a_body_are_a_body() -> None:
    app, inner = Echo(), post(b"one")
    outer = post(inner)
    head, body = outer[: -len(inner)], inner
    wire, _ = exchange(app, [post(b"one"), head, body, post(b"two")])
    assert bodies(bytes(wire.written)) == [b"one", inner, b"two"]


class Hasty(Echo):
    """Responds to what it cannot respond to at once without reading it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b"hasty", [(b"a", b"b")])


def test_the_rest_of_a_body_whose_response_is_complete_is_never_taken_for_a_request() -> None:
    inner = post(b"one")
    outer = post(b"wait" + inner)
    wire, _ = exchange(Hasty(), [inner, outer[: -len(inner)], inner, post(b"two")])
    assert bodies(bytes(wire.written)) == [b"one", b"hasty", b"two"]


class Timers:
    """A loop whose time and timers a test moves."""

    def __init__(self) -> None:
        self.now, self.due = 0.0, list[tuple[float, Callable[[], object]]]()

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        timer = self.now + seconds, call
        self.due.append(timer)
        return Timer(lambda: self.due.remove(timer) if timer in self.due else None)

    def go_to(self, when: float) -> None:
        while self.due and (first := min(self.due, key=lambda each: each[0]))[0] <= when:
            self.due.remove(first)
            self.now = first[0]
            first[1]()
        self.now = when


class Timer:
    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel


def test_an_idle_connection_is_closed_by_the_time_since_its_last_response() -> None:
    async def run() -> None:
        wire, loop = Wire(), Timers()
        connection: Any = connect(Echo(), ServerState(), wire)
        connection.data_received(post(b"one"))
        connection.timeout_keep_alive_task.cancel()
        connection.timeout_keep_alive_task = None
        connection.loop, limit = loop, connection.timeout_keep_alive
        for i in range(4):
            loop.go_to(i * limit * 0.6)
            connection.data_received(post(b"one"))
            assert len(loop.due) == 1
        last = loop.now
        loop.go_to(last + limit * 0.99)
        before = wire.closed
        loop.go_to(last + limit)
        assert (before, wire.closed, loop.due) == (False, True, [])

    asyncio.run(run())


def test_a_response_that_closes_the_connection_ends_it() -> None:
    wire, at_once = exchange(Echo(), [post(b"bye")])
    assert b"connection: close\r\n" in at_once
    assert wire.closed


def test_an_unreadable_request_behind_one_is_refused() -> None:
    wire, at_once = exchange(Echo(), [post(b"one") + b"\0\r\n\r\n"])
    assert bodies(at_once) == [b"one"]
    assert b"HTTP/1.1 400" in wire.written


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"", b"one", b"two", b"wait", b"four", b"x" * LONG]), min_size=1, max_size=5),
    st.lists(st.floats(0, 1), max_size=5),
)
def test_responses_are_in_the_order_of_their_requests_in_any_packets(
    sent: list[bytes], cuts: list[float]
) -> None:
    data = b"".join(map(post, sent))
    places = sorted({int(cut * len(data)) for cut in cuts} | {0, len(data)})
    wire, _ = exchange(Echo(), [data[a:b] for a, b in itertools.pairwise(places)])
    assert bodies(bytes(wire.written)) == sent
