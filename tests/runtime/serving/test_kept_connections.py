"""If a kept connection is closed, the request is sent again, and the link's estimate is unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import orjson
import pytest

from edge_api import Duration
from edge_runtime.assignment import LinkSettings, Slice, Stage
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.routing.hops import Hop
from edge_runtime.tensors import Tensor
from streams import answering

BODY = orjson.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]})
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
X, Y = Tensor("x", "FP32", (-1, 8192)), Tensor("y", "FP32", (-1, 1))


class OnceEach:
    """A server that responds to one request on each connection, and closes it at the next one."""

    def __init__(self) -> None:
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        writer.write(ANSWER)
        await reader.read(1)


async def test_a_request_that_had_to_be_sent_again_is_not_on_its_way_forever() -> None:
    far = OnceEach()
    async with answering(far.serve) as url:
        link = LinkMonitor(
            LinkSettings(peer="cloud", probe=url, interval=Duration(3600.0)), Resolver(), lambda **_: None
        )
        stage = Stage.model_validate(
            {
                "place": "cloud",
                "runtime": "Triton",
                "address": url,
                "model": "m",
                "slice": Slice(digest=f"sha256:{0:064}", inputs=(X,), outputs=(Y,)).model_dump(),
            }
        )
        client = HttpClient(url)
        hop = Hop(stage, client, link)
        for _ in range(5):
            answer = await hop.infer([np.zeros((1, 8192), np.float32)], within=5.0)
            assert answer[0].tolist() == [[1.0]]
        assert far.connections == 5
        # Known at all (it needs one measurement), and nothing is in flight before the next request.
        assert link.view().bandwidth is not None
        assert link.wait_for(0) == 0.0
        client.close()


@asynccontextmanager
async def _saying(*answers: list[bytes]) -> AsyncIterator[HttpClient]:
    """A client of a server that sends these parts in response to consecutive requests."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for parts in answers:
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
        await reader.read(1)
        writer.close()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield client
        client.close()
        await ended.wait()


@pytest.mark.parametrize("apart", [False, True], ids=["in one packet", "in two"])
async def test_what_a_server_says_before_its_response_is_not_the_response(apart: bool) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    parts = [hint, ANSWER] if apart else [hint + ANSWER]
    async with _saying(parts, parts) as client:
        for _ in range(2):
            answer = await client.request("GET", "/", within=10)
            assert (answer.status, answer.body, "link" in answer.headers) == (200, BODY, False)


async def test_a_server_that_changes_the_protocol_unasked_has_broken_off() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with _saying([head + ANSWER]) as client:
        with pytest.raises(ConnectionFailed, match="invalid HTTP response"):
            await client.request("GET", "/", within=10)
