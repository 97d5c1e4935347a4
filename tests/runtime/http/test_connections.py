"""Requests in every form and packetization get one response to their own body, or none."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from benchmarks.runtime.request_forms import BODILESS, RIGHT, TOKENS, WRONG, Form
from edge_runtime.asgi import Receive, Scope, Send, chunks, respond
from edge_runtime.errors import CallerLeft, EdgeError
from edge_runtime.http import connections
from edge_runtime.http.connections import LARGEST_HEAD, ServerConnection
from edge_runtime.http.heads import STATUS
from edge_runtime.http.servers import config_of

BODY = b"0123456789"
STATUSES = re.compile(rb"HTTP/1\.1 (\d+)")
Seen = tuple[str, str, bytes]


class Wire(asyncio.Transport):
    """A transport without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed, self.paused, self.ended = bytearray(), False, False, False
        self.kept = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        assert not self.ended
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Echo:
    """Records each request whose body is complete, and responds with its length."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.left: list[str] = []
        self.headers: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers.append(dict(scope["headers"]))
        try:
            body = b"".join([part async for part in chunks(receive)])
        except CallerLeft:
            self.left.append(scope["path"])
            return
        except EdgeError as error:
            await refuse(send, error)
            return
        self.seen.append((scope["method"], scope["path"], body))
        await respond(send, 200, b"%d" % len(body), [])


async def refuse(send: Send, error: EdgeError) -> None:
    await respond(send, (STATUS | {EdgeError: 500}).get(type(error), 400), str(error).encode(), [])


async def _turns() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


async def _exchange(app: Any, pieces: Sequence[bytes]) -> Wire:
    server = ServerState()
    config = config_of(app, partial(ServerConnection, refuse=refuse), grace=1.0)
    config.load()
    make: Callable[..., ServerConnection] = config.http_protocol_class  # type: ignore[assignment]
    connection, wire = make(config=config, server_state=server, app_state={}), Wire()
    connection.connection_made(wire)
    for piece in pieces:
        for _ in range(100):
            if not wire.paused:
                break
            await _turns()
        if wire.closed:
            break
        connection.data_received(piece)
        await _turns()
    for _ in range(3):
        await _turns()
    wire.kept = not (wire.closed or wire.ended)
    connection.connection_lost(None)
    await _turns()
    assert server.tasks == set()
    return wire


def exchange(pieces: Sequence[bytes]) -> tuple[Echo, list[int], Wire]:
    """The requests of the application, the statuses of the responses, and the connection."""
    app = Echo()
    wire = asyncio.run(_exchange(app, pieces))
    return app, [int(status) for status in STATUSES.findall(bytes(wire.written)) if status != b"100"], wire


def pieces_of(data: bytes, cuts: Sequence[float]) -> list[bytes]:
    places = sorted({int(cut * len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


CUTS = st.lists(st.floats(0, 1), max_size=6)
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


@settings(deadline=None, max_examples=8)
@pytest.mark.parametrize("name", RIGHT)
@given(CUTS)
def test_a_right_request_has_its_body_and_leaves_the_next_one_alone(name: str, cuts: list[float]) -> None:
    data = RIGHT[name].request("PUT", "/one", BODY)
    app, statuses, wire = exchange(pieces_of(data + NEXT, cuts))
    assert app.seen == [("PUT", "/one", BODY), ("GET", "/next", b"")]
    assert (statuses, wire.kept) == ([200, 200], True)


@settings(deadline=None)
@given(st.sampled_from(sorted(BODILESS)), st.sampled_from(["GET", "HEAD", "POST", "DELETE"]), CUTS)
def test_a_request_without_a_body_has_none_whatever_it_offers(
    name: str, method: str, cuts: list[float]
) -> None:
    app, statuses, _ = exchange(pieces_of(BODILESS[name].request(method, "/one", b"") + NEXT, cuts))
    assert app.seen == [(method, "/one", b""), ("GET", "/next", b"")]
    assert statuses == [200, 200]


@settings(deadline=None, max_examples=8)
@pytest.mark.parametrize("name", WRONG)
@given(CUTS, st.booleans())
def test_a_wrong_request_is_refused_once_and_ends_the_connection(
    name: str, cuts: list[float], second: bool
) -> None:
    data = WRONG[name].request("PUT", "/one", BODY)
    app, statuses, wire = exchange(pieces_of((NEXT if second else b"") + data + NEXT, cuts))
    assert statuses == [200] * second + [WRONG[name].status]
    assert app.seen == [("GET", "/next", b"")] * second
    assert not wire.kept
    assert b"\r\nconnection: close\r\n" in wire.written


TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A valid request and its body."""
    body = draw(st.binary(max_size=40))
    token = draw(st.text([chr(b) for b in TOKEN_BYTES], min_size=1, max_size=8).map(str.encode))
    lines = [b"Host: a"]
    lines += draw(
        st.lists(
            st.sampled_from([b"Connection: Upgrade", b"connection: UPGRADE, HTTP2-Settings", b"Upgrade: h2c"])
            | st.just(b"Upgrade: " + token)
            | st.just(b"Expect: 100-continue"),
            max_size=4,
        )
    )
    if draw(st.booleans()):
        coded, rest = b"", body
        while rest:
            size = draw(st.integers(1, len(rest)))
            coded, rest = coded + b"%x\r\n%b\r\n" % (size, rest[:size]), rest[size:]
        lines, coded = [*lines, b"Transfer-Encoding: chunked"], coded + b"0\r\n\r\n"
    else:
        lines, coded = [*lines, b"Content-Length: %d" % len(body)], body
    lines = draw(st.permutations(lines))
    return b"\r\n".join([b"PUT /one HTTP/1.1", *lines, b"", b""]) + coded, body


@settings(deadline=None)
@given(st.lists(requests(), min_size=1, max_size=4), CUTS)
def test_requests_in_any_packets_are_answered_in_their_order(
    sent: list[tuple[bytes, bytes]], cuts: list[float]
) -> None:
    app, statuses, wire = exchange(pieces_of(b"".join(data for data, _ in sent), cuts))
    assert app.seen == [("PUT", "/one", body) for _, body in sent]
    assert (statuses, wire.kept) == ([200] * len(sent), True)


@settings(deadline=None)
@given(requests(), st.floats(0, 1, exclude_max=True), CUTS)
def test_a_request_that_breaks_off_is_never_taken_for_a_whole_one(
    sent: tuple[bytes, bytes], share: float, cuts: list[float]
) -> None:
    data, _ = sent
    app, statuses, _ = exchange(pieces_of(data[: int(share * len(data))], cuts))
    assert (app.seen, statuses) == ([], [])


@pytest.mark.parametrize(
    ("start", "lines"),
    [
        (b"{line} HTTP/1.1\r\n", b"Connection: close\r\n"),
        (b"{line} HTTP/1.1\r\n", b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n"),
        (b"{line} HTTP/1.0\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        (b"{line} HTTP/1.0\r\n", b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n"),
    ],
)
@settings(deadline=None, max_examples=10)
@given(CUTS)
def test_what_lies_behind_a_last_request_is_not_read(start: bytes, lines: bytes, cuts: list[float]) -> None:
    form = Form(lambda body: b"Host: a\r\n" + lines + b"Content-Length: 10\r\n\r\n" + body, start=start)
    app, statuses, wire = exchange(pieces_of(form.request("PUT", "/one", BODY) + NEXT, cuts))
    assert (statuses, wire.kept) == ([200], False)
    assert app.seen[0] == ("PUT", "/one", BODY)
    assert b"\r\nconnection: close\r\n" in wire.written


def test_bytes_behind_a_body_are_a_request_of_their_own_that_is_refused() -> None:
    data = RIGHT["a content-length"].request("PUT", "/one", BODY)
    app, statuses, wire = exchange([data + b"more"])
    assert (app.seen, statuses, wire.kept) == ([("PUT", "/one", BODY)], [200, 400], False)


def test_trailers_are_not_headers() -> None:
    data = RIGHT["chunks with trailers"].request("PUT", "/one", BODY)
    app, _, _ = exchange([data])
    assert app.headers == [{b"host": b"a", b"transfer-encoding": b"chunked"}]


@pytest.mark.parametrize("where", ["headers", "trailers", "an extension"])
def test_an_endless_body_is_refused(where: str) -> None:
    start = {
        "headers": b"PUT /one HTTP/1.1\r\nHost: a\r\nX: ",
        "trailers": b"PUT /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        "an extension": b"PUT /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=",
    }[where]
    app, statuses, wire = exchange([start, *[b"y" * 1000] * (2 + LARGEST_HEAD // 1000)])
    assert (app.seen, statuses) == ([], [431])
    assert not wire.kept
    # A long body is not, even in small parts.
    size = 3 * LARGEST_HEAD
    head = b"PUT /one HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    app, statuses, _ = exchange([head, *[b"y" * 1024] * (size // 1024)])
    assert [len(body) for _, _, body in app.seen] == [size]
    assert statuses == [200]


async def _unread(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 413, b"no", [])


def test_who_was_not_told_to_send_a_body_is_not_read_any_further() -> None:
    """The next bytes may be the body or, from a client that omitted it, the next request."""
    head = b"PUT /one HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n"
    wire = asyncio.run(_exchange(_unread, [head + b"Expect: 100-continue\r\n\r\n", NEXT]))
    assert STATUSES.findall(bytes(wire.written)) == [b"413"]
    assert b"connection: close" in wire.written
    # A client that does not wait sends its body, which is skipped.
    wire = asyncio.run(_exchange(_unread, [head + b"\r\n", BODY + NEXT]))
    assert STATUSES.findall(bytes(wire.written)) == [b"413", b"413"]


async def _fails(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/midway":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"1234", "more_body": True})
    raise LookupError("for a test")


@pytest.mark.parametrize(("path", "found"), [("/one", [b"500"]), ("/midway", [b"200"])])
def test_an_application_that_fails_is_one_answer_and_ends_the_connection(
    path: str, found: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    wire = asyncio.run(_exchange(_fails, [request + NEXT]))
    assert STATUSES.findall(bytes(wire.written)) == found
    assert not wire.kept
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_who_leaves_is_missed_by_every_request_that_is_not_answered() -> None:
    left, waiting = [], asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["more_body"] is False
        waiting.set()
        assert (await receive())["type"] == "http.disconnect"
        left.append(scope["path"])
        await respond(send, 200)

    wire = asyncio.run(_exchange(slow, [NEXT + NEXT]))
    assert (left, waiting.is_set()) == (["/next"], True)  # the second was never started
    assert wire.written == b""


def test_http_1_0_knows_no_interim_answers() -> None:
    head = b"PUT /one HTTP/1.0\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    app, statuses, wire = exchange([head, BODY])
    assert (app.seen, statuses) == ([("PUT", "/one", BODY)], [200])
    assert b"HTTP/1.1 100" not in wire.written


def test_a_body_that_pauses_is_refused_and_not_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.0)
    form = Form(lambda body: b"Host: a\r\nContent-Length: 11\r\n\r\n" + body)
    app, statuses, _ = exchange([form.request("PUT", "/one", BODY), b""])
    assert (app.seen, statuses) == ([], [400])


def test_every_token_is_among_the_forms() -> None:
    assert {f"an offer of {token.decode()}, chunks" for token in TOKENS} <= RIGHT.keys()
