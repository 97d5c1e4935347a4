"""Watches the link to a peer: by the hops' own transfers, by small probes when there are none.

TCP_INFO of the hop's socket tells while a transfer is still under way how much of it has arrived, so a link
that sagged shows before the request that met it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Final

import orjson

from edge_runtime.assignment import Link
from edge_runtime.connections import Connection, HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed
from edge_runtime.estimates import Estimate, Sample, add, contradicts, sample_of
from edge_runtime.routes import LinkView
from edge_runtime.status import LinkReport

_log = logging.getLogger(__name__)

JITTER: Final = (
    0.006  # what a throttled process may add to a time it takes: a cpu quota's period and a little
)
_FAR_JITTER: Final = 0.0005
_LEAST_BYTES: Final = 2000  # below this the fixed costs of a request outweigh the transfer
_SEGMENTS: Final = 3000  # bytes that may have arrived without their acknowledgement
_POLL: Final = 0.02
_EARLIEST: Final = 0.04
_WINDOW: Final = 0.5
_STALLED: Final = 0.5
_PROBE_SECONDS, _BUSY_PROBE_SECONDS = 0.15, 0.03
_BUSY: Final = 1.0  # seconds after a request within which the next one is expected
_LEAST_COMPUTE, _MOST_COMPUTE = 0.7, 1.3  # shares of its mean that a computation may take
_TIGHT: Final = 1.6  # a sample's greatest rate over its least, up to which it is a measurement
_DOUBT_EVERY: Final = 1.0
_PROBE_LEAST, _PROBE_MOST = 8 << 10, 32 << 10
_PROBE_WITHIN: Final = 2.0
_IN_A_ROW: Final = 3
_DOWN_INTERVAL: Final = 0.5
_DOWN_WITHIN: Final = 0.45
_LEAST_PATIENCE: Final = 0.05
_TCP_INFO_LENGTH: Final = 232


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """Bytes acknowledged on a connection so far, and its least round trip in seconds (linux/tcp.h, struct
    tcp_info).
    """

    acked: int
    round_trip: float


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """What the kernel says of a connection; None where it says nothing (closed, not Linux)."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_LENGTH)
    except (OSError, AttributeError, ValueError):  # uvloop: a closed socket is a ValueError
        return None
    if len(raw) < 152:
        return None
    acked: int = struct.unpack_from("=Q", raw, 120)[0]
    round_trip: int = struct.unpack_from("=I", raw, 148)[0]
    return TcpInfo(acked, 0.0 if round_trip == 0xFFFFFFFF else round_trip / 1e6)


class Transfer:
    """One request on its way over the link; `arrived` is when all of it was first seen to be acknowledged."""

    __slots__ = ("arrived", "base", "moved_before", "size", "sock", "start")

    def __init__(self, sock: socket.socket, size: int, start: float, base: int, moved_before: int) -> None:
        self.sock, self.size, self.start, self.base, self.moved_before = sock, size, start, base, moved_before
        self.arrived: float | None = None

    def moved(self) -> int:
        """Bytes of it that are known to have arrived."""
        info = tcp_info(self.sock)
        return min(max(info.acked - self.base, 0), self.size) if info is not None else 0


class LinkMonitor:
    """The link of one placement.

    `on_change` is called after each measurement, with whether the link has just come back and whether the
    change is worth telling others about.
    """

    def __init__(
        self,
        spec: Link,
        resolver: Resolver,
        on_change: Callable[[bool, bool], None],
        clock: Callable[[], float] = time.perf_counter,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.spec = spec
        self._client = HttpClient(spec.probe, resolver, tls=tls, size=1)
        self._on_change, self._clock = on_change, clock
        self._estimate = Estimate()
        self._cap: float | None = None
        self._total, self._progress = 0, -1e9
        self._surprised = False
        self._doubted = self._asked = -1e9
        self._told: float | None = None
        self._up = True
        self._round_trip: float | None = None
        self._measured_at: datetime | None = None
        self._last = -1e9
        self._transfers: set[Transfer] = set()
        self._finished_bytes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._wake, self._moving = asyncio.Event(), asyncio.Event()

    def view(self) -> LinkView:
        """The link as a routing decision sees it."""
        rate = self._estimate.rate
        if rate is not None and self._cap is not None:
            rate = min(rate, self._cap)
        return LinkView(self._up, rate)

    def report(self) -> LinkReport:
        """The link as the status shows it."""
        return LinkReport(self._up, self._estimate.rate, self._round_trip, self._measured_at)

    def start(self) -> None:
        """Begins to measure."""
        self._tasks = [
            asyncio.create_task(self._probe_when_idle()),
            asyncio.create_task(self._watch_transfers()),
        ]

    def cancel(self) -> None:
        """Ends measuring, without waiting for it."""
        for task in self._tasks:
            task.cancel()
        self._client.close()

    async def stop(self) -> None:
        """Ends measuring."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wait_for(self, size: int) -> float | None:
        """Seconds until `size` more bytes would have arrived behind those on their way; None when not known.

        While the link is down one request at a time may try it: more would only fill its queues.
        """
        view = self.view()
        if not view.up:
            return inf if self._transfers else None
        if not view.bandwidth:
            return None
        backlog = sum(t.size - t.moved() for t in self._transfers)
        return 8.0 * (backlog + size) / view.bandwidth

    def begin(self, sock: socket.socket, size: int) -> Transfer:
        """A request of `size` bytes is about to be written to `sock`."""
        info = tcp_info(sock)
        transfer = Transfer(sock, size, self._clock(), info.acked if info else 0, self._moved())
        self._transfers.add(transfer)
        self._moving.set()
        return transfer

    def finish(self, transfer: Transfer, compute: float) -> None:
        """Its answer is here; `compute` seconds of the time were not the link's."""
        now = self._clock()
        info = tcp_info(transfer.sock)
        self._asked = now
        self._end(transfer, transfer.size)
        others = max(self._moved() - transfer.moved_before - transfer.size, 0)
        round_trip = info.round_trip if info is not None else 0.0
        if info is not None:
            self._round_trip = round_trip
        if transfer.size < _LEAST_BYTES:
            self._heard(now, None)
            return
        # The compute there is known on average only; what is not the compute's is the link's.
        longest = now - transfer.start - round_trip - _LEAST_COMPUTE * compute
        doubt = JITTER + (_MOST_COMPUTE - _LEAST_COMPUTE) * compute
        if transfer.arrived is not None:
            # Acknowledged long before the answer: the far server was slow, or a relay took the bytes. A probe
            # tells which.
            doubt = max(doubt, longest - (transfer.arrived - transfer.start) + JITTER + _POLL)
        self._heard(now, sample_of(transfer.size + others, longest, doubt, now))

    def gave_up(self, transfer: Transfer | None) -> None:
        """The request was given up for taking too long; without a transfer not even the
        connection was made.
        """
        now = self._clock()
        if transfer is None:
            if now - self._progress > _STALLED:
                self._down("no connection could be made")
            return
        moved = transfer.moved()
        everything = self._moved() - transfer.moved_before
        self._end(transfer, moved)
        hurried = now - transfer.start < max(_LEAST_PATIENCE, 2 * (self._round_trip or 0.0))
        if (
            moved >= transfer.size or hurried
        ):  # it arrived: perhaps the far server is late, perhaps a relay took it
            self._ask_soon()
        elif not everything:
            self._down("nothing of a request arrived")
        else:
            self._heard(now, _between(everything, now - transfer.start, now))

    def broke(self, transfer: Transfer | None) -> None:
        """The connection was refused or closed: a probe will tell whether it is the link."""
        self.forget(transfer)
        self._ask_soon()

    def forget(self, transfer: Transfer | None) -> None:
        """The request was cancelled: it says nothing."""
        if transfer is not None:
            self._end(transfer, transfer.moved())

    def _ask_soon(self) -> None:
        self._last = -1e9
        self._wake.set()

    def _end(self, transfer: Transfer, moved: int) -> None:
        self._transfers.discard(transfer)
        self._finished_bytes += moved
        if not self._transfers:
            self._moving.clear()
            self._cap = None

    def _moved(self) -> int:
        return self._finished_bytes + sum(t.moved() for t in self._transfers)

    def _heard(self, now: float, sample: Sample | None) -> None:
        """The peer answered: the link is up, and perhaps its rate is known better."""
        recovered = not self._up
        self._up = True
        if sample is not None and sample.high <= _TIGHT * sample.low:
            self._last = now
        elif sample is not None and self._estimate.rate is not None and sample.low <= self._estimate.rate:
            # Too short a transfer to tell the rate, enough to doubt the one that is believed.
            if contradicts(sample, self._estimate.rate) and now - self._doubted > _DOUBT_EVERY:
                self._doubted = now
                self._ask_soon()
            sample = None
        if sample is not None:
            self._measured_at = datetime.now(UTC)
        if recovered:
            self._estimate = Estimate()
            _log.info("link to %s is up again", self.spec.peer)
        before = self._estimate.rate
        self._surprised = sample is not None and before is not None and contradicts(sample, before)
        if sample is not None:
            self._estimate = add(self._estimate, sample)
        rate = self._estimate.rate
        told = self._told
        notable = (
            recovered
            or (told is None) != (rate is None)
            or bool(told and rate and contrast(told, rate) > 1.2)
        )
        if notable:
            self._told = rate
        self._on_change(recovered, notable)

    def _down(self, why: str) -> None:
        self._wake.set()
        if not self._up:
            return
        self._up, self._cap = False, None
        self._measured_at = datetime.now(UTC)
        _log.warning("link to %s is down: %s", self.spec.peer, why)
        self._on_change(False, True)

    async def _watch_transfers(self) -> None:
        """While requests are on their way: what has arrived by now bounds the rate, and soon tells it.

        Requests that overlap share the link, so it is their sum that is measured.
        """
        window: tuple[float, int] | None = None
        while True:
            if not self._transfers:
                window = None
            await self._moving.wait()
            await asyncio.sleep(_POLL)
            now, total, waiting = self._clock(), self._finished_bytes, False
            oldest: Transfer | None = None
            for transfer in self._transfers:
                moved = transfer.moved()
                total += moved
                if moved < transfer.size:
                    waiting = True
                    if oldest is None or transfer.start < oldest.start:
                        oldest = transfer
                elif transfer.arrived is None:
                    transfer.arrived = now
            if total > self._total:
                self._total, self._progress = total, now
            window = window if waiting else None
            if window is None:
                window = (now, total) if waiting else None
                self._cap = None
                continue
            rate = self._estimate.rate
            bound = 8.0 * (total - window[1] + _SEGMENTS) / max(now - window[0], _POLL)
            age = now - oldest.start if oldest is not None else 0.0
            if oldest is not None and age > _EARLIEST:
                # What moved before this one came says nothing of a link that sagged since.
                bound = min(bound, 8.0 * (total - oldest.moved_before + _SEGMENTS) / age)
            self._cap = bound if age > _EARLIEST and rate is not None and bound < 0.7 * rate else None
            if now - window[0] >= _WINDOW:
                if total > window[1]:
                    self._heard(now, _between(total - window[1], now - window[0], now))
                window = (now, total)

    async def _probe_when_idle(self) -> None:
        again = 0
        while True:
            interval = self.spec.interval if self._up else min(self.spec.interval, _DOWN_INTERVAL)
            idle = self._clock() - self._last
            if idle < interval or (self._transfers and self._up):
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(interval - idle, 0.1)):
                        await self._wake.wait()
                continue
            begun = self._clock()
            try:
                await self._probe()
            except Exception:  # a probe that fails in a way nobody thought of must not end all probing
                _log.exception("a probe of the link to %s failed", self.spec.peer)
                self._down("a probe failed; the lines above say how")
            self._wake.clear()
            # Whatever happened, not more than one probe in an interval, unless it found a change: that is
            # worth a second.
            again = again + 1 if self._surprised else 0
            self._last = -1e9 if 0 < again < _IN_A_ROW else max(self._last, begun)

    async def _probe(self) -> None:
        rate = self._estimate.rate if self._up else None
        # A request that comes meanwhile waits behind the probe.
        seconds = _BUSY_PROBE_SECONDS if self._clock() - self._asked < _BUSY else _PROBE_SECONDS
        size = min(max(int((rate or 0) * seconds / 8), _PROBE_LEAST), _PROBE_MOST)
        transfer: Transfer | None = None

        def begin(connection: Connection) -> None:
            nonlocal transfer
            if connection.socket is not None:
                transfer = self.begin(connection.socket, size)

        try:
            response = await self._client.request(
                "POST",
                "",
                [bytes(size)],
                within=_PROBE_WITHIN if self._up else _DOWN_WITHIN,
                on_start=begin,
            )
        except TimeoutError:
            if transfer is not None and transfer.moved() >= transfer.size:
                self.forget(transfer)
                self._down("a probe was not answered")
            else:
                self.gave_up(transfer)
            return
        except ConnectionFailed as error:
            self.forget(transfer)
            self._down(str(error))
            return
        except BaseException:
            self.forget(transfer)
            raise
        now = self._clock()
        if transfer is not None:
            info = tcp_info(transfer.sock)
            self._round_trip = info.round_trip if info is not None else self._round_trip
            self._end(transfer, size)
        if response.status != 200:
            self._down(f"the probe was answered {response.status}")
            return
        self._heard(now, self._measured_there(response.body, size, transfer, now))

    def _measured_there(self, body: bytes, size: int, transfer: Transfer | None, now: float) -> Sample | None:
        """The sink's own times, which nothing here delayed; else the time from here."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            said = orjson.loads(body)
            rest, seconds = size - int(said.get("first", 0)), float(said["seconds"])
            if rest >= size // 2 and seconds > 2 * _FAR_JITTER:
                return sample_of(rest, seconds, _FAR_JITTER, now)
        return sample_of(size, now - transfer.start, JITTER, now) if transfer is not None else None


def _between(moved: int, seconds: float, now: float) -> Sample:
    """The rate while something was waiting to be moved all the time."""
    return Sample(now, 8.0 * moved / seconds, 8.0 * (moved + _SEGMENTS) / seconds)


def contrast(a: float, b: float) -> float:
    """How many times the larger is the smaller."""
    return max(a, b) / max(min(a, b), 1.0)
