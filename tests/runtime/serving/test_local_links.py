"""Links to intermediate nodes: measured by probes of the runtimes there, for the plan."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_api.placements import LocalLink
from edge_api.quantities import Bandwidth, Duration, Quantity
from edge_api.told_links import ToldLink
from edge_runtime.connections import Resolver
from edge_runtime.links.local_links import LocalLinks
from edge_runtime.links.registry import LinkRegistry

WITHIN = 20.0
DECLARED = 1_000_000_000


class Sink:
    """The runtime of an intermediate node behind a link with a rate in bytes a second."""

    def __init__(self, rate: float) -> None:
        self.rate, self.probes, self.probed = rate, 0, asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [
                    line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                ]
                size = left = int(lengths[0].split(b":")[1])
                begin, first = time.perf_counter(), 0
                while left:
                    left -= len(data := await reader.read(min(left, 1024)))
                    if not first:
                        begin, first = time.perf_counter(), len(data)
                    else:
                        await asyncio.sleep(len(data) / self.rate)
                self.probes += 1
                self.probed.set()
                said = {"bytes": size, "first": first, "seconds": time.perf_counter() - begin}
                body = json.dumps(said).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()


class Changes:
    """What a service hears of its links."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def __call__(self, *, recovered: bool, notable: bool) -> None:
        self.event.set()


@asynccontextmanager
async def to(sink: Sink) -> AsyncIterator[tuple[LocalLinks, LocalLink, Changes]]:
    """The links of a service, not in use yet, and one to the node `gate`."""
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=1024)
    probe = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/probe"
    clock = asyncio.get_running_loop().time
    registry = LinkRegistry(Resolver(), clock, lambda link, recovered: None, lambda peer, size: None)
    changes = Changes()
    link = LocalLink(
        peer="gate",
        probe=probe,
        interval=Duration(0.02),
        bandwidth=Quantity(DECLARED),
        declared=Quantity(DECLARED),
        round_trip=Duration(0.001),
    )
    try:
        async with asyncio.timeout(WITHIN):
            yield LocalLinks(registry, changes), link, changes
    finally:
        await registry.close()
        server.close()


async def test_a_link_slower_than_declared_is_reported_with_its_rate() -> None:
    async with to(Sink(rate=250_000)) as (links, link, changes):
        links.use([link])
        assert links.report()["gate"].bandwidth is None, "nothing is measured yet"
        while (links.report()["gate"].bandwidth or DECLARED) > 8 * 250_000:
            await changes.event.wait()
            changes.event.clear()
        report = links.report()["gate"]
        assert report.up
        assert report.measured_at is not None


async def test_a_node_without_a_runtime_is_not_probed() -> None:
    async with to(Sink(rate=1e12)) as (links, link, _):
        links.use([link.model_copy(update={"probe": None})])
        assert links.report() == {}


async def test_an_unreachable_node_is_down() -> None:
    async with to(Sink(rate=1e12)) as (links, link, changes):
        links.use([link.model_copy(update={"probe": "http://127.0.0.1:1/v1/probe"})])
        await changes.event.wait()
        assert not links.report()["gate"].up


async def test_a_link_that_another_runtime_measures_is_not_probed() -> None:
    sink = Sink(rate=1e12)
    async with to(sink) as (links, link, _):
        told = ToldLink(measured="Elsewhere", told="2026-03-01T12:00:00Z", bandwidth=Bandwidth(5_000_000))
        links.tell({"gate": told})
        links.use([link])
        await asyncio.sleep(0.2)
        assert links.report()["gate"].bandwidth == pytest.approx(5e6)
        assert sink.probes == 0


async def test_a_link_that_no_table_names_any_more_is_not_measured() -> None:
    sink = Sink(rate=1e12)
    async with to(sink) as (links, link, _):
        links.use([link])
        await sink.probed.wait()
        links.use([])
        assert links.report() == {}
        before = sink.probes
        await asyncio.sleep(0.2)
        assert sink.probes <= before + 1, "one may have been under way"
