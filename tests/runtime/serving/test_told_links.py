"""A runtime that another one measures a link for: it sends no probes while what it received holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from edge_api.quantities import Bandwidth, Duration, Quantity
from edge_api.told_links import ToldLink
from edge_runtime.assignment import LinkSettings
from edge_runtime.connections import Resolver
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.links.registry import LinkRegistry

WITHIN = 20.0
UP = ToldLink(
    measured="Elsewhere",
    told="2026-03-01T12:00:00Z",
    bandwidth=Bandwidth(20_000_000),
    bandwidth_low=Bandwidth(15_000_000),
    round_trip=Duration(0.01),
    age=Duration(4),
    valid_for=Duration(3600),
)
DOWN = ToldLink(measured="Elsewhere", told="2026-03-01T12:00:05Z", state="Down", valid_for=Duration(3600))


class Peer:
    """A server that counts the probes it reads, and closes connections while it is away."""

    def __init__(self) -> None:
        self.probed, self.away = asyncio.Event(), False
        self.probes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not self.away:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [
                    line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                ]
                await reader.readexactly(int(lengths[0].split(b":")[1]))
                self.probes += 1
                self.probed.set()
                writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()


Found = tuple[Peer, LinkRegistry, LinkMonitor, LinkSettings]


@asynccontextmanager
async def a_link() -> AsyncIterator[Found]:
    """A link that no service uses yet, with probes every 20 ms."""
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    registry = LinkRegistry(Resolver(), loop.time, lambda link, recovered: None, lambda peer, size: None)
    spec = LinkSettings(
        peer="cloud", probe=f"http://127.0.0.1:{port}/v2/health/live", interval=Duration(0.02)
    )
    try:
        async with asyncio.timeout(WITHIN):
            yield peer, registry, registry.find(spec), spec
    finally:
        await registry.close()
        server.close()


def ignored(*, recovered: bool, notable: bool) -> None:
    """A service that does nothing with a change."""


async def idle(turns: int = 20) -> None:
    """Lets many times the interval pass, so that a probe that is due is sent."""
    for _ in range(turns):
        await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.01)


async def test_a_received_value_is_used_and_the_link_not_probed() -> None:
    async with a_link() as (peer, registry, link, spec):
        registry.tell(link, ignored, UP)
        registry.use(link, spec, ignored)
        await idle()
        view, report = link.view(), link.report()
        assert view.up
        assert view.bandwidth == pytest.approx(20e6)
        assert report.bandwidth_low == pytest.approx(15e6)
        assert report.round_trip == 0.01
        assert peer.probes == 0


async def test_a_value_ends_and_the_runtime_measures_by_itself() -> None:
    async with a_link() as (peer, registry, link, spec):
        registry.tell(link, ignored, UP.model_copy(update={"valid_for": Duration(0.1)}))
        registry.use(link, spec, ignored)
        await peer.probed.wait()


async def test_without_contact_the_runtime_measures_by_itself() -> None:
    async with a_link() as (peer, registry, link, spec):
        registry.tell(link, ignored, UP)
        registry.use(link, spec, ignored)
        registry.tell(link, ignored, None)
        await peer.probed.wait()


async def test_the_runtime_that_measures_for_others_probes() -> None:
    async with a_link() as (peer, registry, link, spec):
        registry.tell(link, ignored, ToldLink(measured="Here", told="2026-03-01T12:00:00Z"))
        registry.use(link, spec, ignored)
        await peer.probed.wait()


async def test_a_link_that_another_runtime_reports_down_is_not_used_until_it_reports_it_up() -> None:
    async with a_link() as (peer, registry, link, spec):
        changes: list[tuple[bool, bool]] = []

        def listener(*, recovered: bool, notable: bool) -> None:
            changes.append((recovered, notable))

        registry.tell(link, listener, UP)
        registry.use(link, spec, listener)
        registry.tell(link, listener, DOWN)
        assert not link.view().up
        await idle()
        assert peer.probes == 0
        registry.tell(link, listener, UP.model_copy(update={"told": "2026-03-01T12:00:09Z"}))
        assert link.view().up
        assert changes[-2:] == [(False, True), (True, True)]


async def test_transfers_of_the_runtime_itself_are_newer_than_what_it_receives() -> None:
    async with a_link() as (_, registry, link, spec):
        registry.use(link, spec, ignored)
        await until(lambda: link.view().bandwidth is not None)
        measured = link.view().bandwidth
        registry.tell(link, ignored, DOWN)
        assert (link.view().up, link.view().bandwidth) == (True, measured)


async def test_a_failure_on_a_link_that_another_runtime_reports_up_is_checked_by_probes() -> None:
    async with a_link() as (peer, registry, link, spec):
        registry.tell(link, ignored, UP)
        registry.use(link, spec, ignored)
        link.gave_up(None)  # a hop found no connection
        assert not link.view().up
        await until(lambda: link.view().up)
        assert peer.probes > 0


async def test_of_the_values_that_two_services_receive_the_newest_counts() -> None:
    async with a_link() as (_, registry, link, _):

        def other(*, recovered: bool, notable: bool) -> None:
            """Another service of the same runtime."""

        slower = UP.model_copy(update={"told": "2026-03-01T12:00:01Z", "bandwidth": Bandwidth(5_000_000)})
        registry.tell(link, other, slower)
        registry.tell(link, ignored, UP)
        assert link.view().bandwidth == pytest.approx(5e6)
        registry.leave(link, other)
        assert link.view().bandwidth == pytest.approx(20e6)


async def test_a_runtime_whose_value_ended_has_its_share_of_the_budget() -> None:
    """A share of 256Ki an hour holds 64 KiB: a few probes, then tiny ones."""
    async with a_link() as (peer, registry, link, spec):
        told = UP.model_copy(update={"valid_for": Duration(0.05), "budget": Quantity(256 << 10)})
        registry.tell(link, ignored, told)
        registry.use(link, spec, ignored)
        await peer.probed.wait()
        await idle(50)
        assert peer.probes <= 12
