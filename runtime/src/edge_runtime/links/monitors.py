"""Monitors the link to a peer: by the hops' own transfers, and by small probes without transfers.

TCP_INFO of the hop's socket shows how much of a transfer has arrived while it is still running, so a link
that slowed down is noticed before the affected request is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from edge_api.told_links import ToldLink
from edge_planning.links.estimates import (
    Estimate,
    LinkView,
    RateSample,
    add,
    contradicts,
    growth_at,
    low_at,
    started,
)
from edge_planning.responses import crossing
from edge_runtime.connections import Connection, HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed
from edge_runtime.links import probe_budgets, probes, told
from edge_runtime.links.probe_budgets import Why
from edge_runtime.links.rate_bounds import RateBounds
from edge_runtime.links.sockets import TcpInfo, Transfer, limit_pacing_rate, tcp_info
from edge_runtime.links.transfer_rates import (
    FinishedTransfer,
    sample_between,
    sample_of_transfer,
    tight,
)
from edge_runtime.status import LinkReport

_log = logging.getLogger(__name__)

_LEAST_BYTES: Final = 2000  # below, the fixed costs of a request outweigh the transfer
_STALLED: Final = 0.5
_BUSY: Final = 1.0  # seconds after a request within which the next one is expected
_DOUBT_EVERY: Final = 1.0
_PROBE_WITHIN: Final = 2.0
_IN_A_ROW: Final = 3
_DOWN_INTERVAL: Final = 0.5
_DOWN_WITHIN: Final = 0.45
_LEAST_PATIENCE: Final = 0.05
_OWN_COUNTS: Final = 5.0  # seconds for which a transfer of this runtime counts more than received values
_ACCEPTED: Final = (200, 405)  # Triton reads all of a POST to its health endpoint before it refuses it


class OnChange(Protocol):
    """Called after each measurement; see LinkMonitor."""

    def __call__(self, *, recovered: bool, notable: bool) -> None: ...


class LinkSpec(Protocol):
    """What a monitor needs of a link. interval: seconds between probes. budget: their bytes an hour."""

    @property
    def peer(self) -> str: ...
    @property
    def probe(self) -> str: ...
    @property
    def interval(self) -> float: ...
    @property
    def budget(self) -> float: ...


class LinkMonitor:
    """The link to one peer.

    on_change: called after each measurement with whether the link has just come up and whether the change is
    significant. on_probe: called after each probe with its bytes.
    """

    def __init__(
        self,
        spec: LinkSpec,
        resolver: Resolver,
        on_change: OnChange,
        clock: Callable[[], float] = time.perf_counter,
        tls: ssl.SSLContext | None = None,
        on_probe: Callable[[int], None] = lambda _: None,
        *,
        start: float | None = None,
    ) -> None:
        """start: bandwidth in bit/s that a measurement has to contradict; None if nothing is known."""
        self.spec = spec
        self._client = HttpClient(spec.probe, resolver, tls=tls, size=1)
        self._on_change, self._on_probe, self._clock = on_change, on_probe, clock
        self._budget = probe_budgets.full(spec.budget, clock())
        self._start = start
        self._estimate = self._first_estimate()
        self._bounds = RateBounds()
        self._total, self._progress = 0, -1e9
        self._surprised = False
        self._doubted = self._asked = -1e9
        self._told: float | None = None
        self._up = True
        self._round_trip: float | None = None
        self._measured_at: datetime | None = None
        self._last = self._probed = -1e9
        self._question = True
        self._window = 0
        self._transfers: set[Transfer] = set()
        self._finished_bytes = 0
        self._elsewhere: ToldLink | None = None
        self._holds_until, self._own = -1e9, -1e9
        self._tasks: list[asyncio.Task[None]] = []
        self._wake, self._moving = asyncio.Event(), asyncio.Event()

    def view(self) -> LinkView:
        """The link for a routing decision."""
        estimate = self._estimate
        rate = estimate.rate
        if rate is not None and self._bounds.cap is not None:
            rate = min(rate, self._bounds.cap)
        backlog = 8.0 * sum(t.size - t.moved() for t in self._transfers) if self._transfers else 0.0
        return LinkView(self._up, rate, estimate.ranked, growth_at(estimate, self._clock()), backlog)

    def report(self) -> LinkReport:
        """The link for the status."""
        low, rate = low_at(self._estimate, self._clock()), self._estimate.rate
        if self._measured_at is None:
            low = rate = None
        return LinkReport(self._up, rate, low, self._round_trip, self._measured_at)

    def adopt(self, spec: LinkSpec) -> None:
        """Continues with another interval and budget; what was measured and saved is kept."""
        self.spec = spec
        self._fit_budget()

    def tell(self, told_link: ToldLink | None) -> None:
        """Takes what another runtime measured, and sends no probes while it holds. None: nothing is known."""
        before, self._elsewhere = self._elsewhere, told_link if told.is_elsewhere(told_link) else None
        if before == self._elsewhere:
            return
        self._fit_budget()
        self._wake.set()
        link, now = self._elsewhere, self._clock()
        if link is None:
            return
        self._holds_until = now + link.valid_for
        if (before is None or not before.same(link)) and now - self._own > _OWN_COUNTS:
            self._take(link, now)

    @property
    def measured_elsewhere(self) -> bool:
        """Whether another runtime measures it, as far as is known."""
        return self._elsewhere is not None

    def _take(self, link: ToldLink, now: float) -> None:
        age = float(link.age or 0.0)
        if link.state == "Down":
            self._down("another runtime of this node reports it", own=False)
        elif link.bandwidth is not None:
            recovered, self._up, self._question = not self._up, True, False
            self._estimate = started(link.bandwidth, link.bandwidth_low, now - age)
            self._round_trip = self._round_trip if link.round_trip is None else float(link.round_trip)
            self._measured_at = datetime.now(UTC) - timedelta(seconds=age)
            self._told = self._estimate.rate
            self._on_change(recovered=recovered, notable=True)

    def _fit_budget(self) -> None:
        link = self._elsewhere
        an_hour = self.spec.budget if link is None or link.budget is None else link.budget
        if max(an_hour, probe_budgets.LEAST_AN_HOUR) != self._budget.an_hour:
            self._budget = probe_budgets.resized(self._budget, an_hour, self._clock())

    def _first_estimate(self) -> Estimate:
        return Estimate() if self._start is None else started(self._start, None, self._clock())

    def start(self) -> None:
        """Starts measuring."""
        self._tasks = [
            asyncio.create_task(self._probe_when_idle()),
            asyncio.create_task(self._watch_transfers()),
        ]

    def cancel(self) -> None:
        """Stops measuring without waiting for the tasks to end."""
        for task in self._tasks:
            task.cancel()
        self._client.close()

    @property
    def measuring(self) -> bool:
        """Whether it has been started and not stopped."""
        return any(not task.done() for task in self._tasks)

    async def stop(self) -> None:
        """Stops measuring."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Whether no transfer is in flight."""
        return not self._transfers

    def wait_for(self, size: int) -> float | None:
        """Seconds until `size` more bytes would arrive behind those in flight; None if unknown."""
        return self.view().wait_for(8.0 * size, idle=self.idle)

    def begin(self, sock: socket.socket, size: int, *, paced: bool = True) -> Transfer:
        """Registers a request of `size` bytes that is about to be written to `sock`. A probe is not `paced`,
        because it must find out how much faster the link has become.
        """
        if paced:
            limit_pacing_rate(sock, self._estimate.rate)
        transfer = Transfer(sock, size, self._clock(), self._moved(), self._bounds.delays)
        self._transfers.add(transfer)
        self._moving.set()
        return transfer

    def finish(self, transfer: Transfer, compute: float, received: int = 0) -> None:
        """Ends a transfer whose response of `received` bytes arrived; `compute` seconds of its time were not
        the link's.
        """
        now = self._clock()
        info = tcp_info(transfer.sock)
        self._asked = now
        self._end(transfer, transfer.size)
        others = max(self._moved() - transfer.moved_before - transfer.size, 0)
        if info is not None:
            self._round_trip = info.round_trip
        if transfer.size < _LEAST_BYTES:
            self._heard(now, None)
            return
        said = _finished(transfer, info or TcpInfo(transfer.size, 0.0), now, compute, others)
        self._heard(now, sample_of_transfer(replace(said, received=crossing(received)), now))

    def gave_up(self, transfer: Transfer | None) -> None:
        """Ends a transfer that timed out. Without a transfer, not even the connection was established."""
        now = self._clock()
        if transfer is None:
            if now - self._progress > _STALLED:
                self._down("connection timed out")
            return
        moved = transfer.moved()
        everything = self._moved() - transfer.moved_before
        self._end(transfer, moved)
        hurried = now - transfer.start < max(_LEAST_PATIENCE, 2 * (self._round_trip or 0.0))
        if moved >= transfer.size or hurried:  # it arrived: the remote server may be late, or a proxy took it
            self._ask_soon()
        elif not everything:
            self._down("no data of a request arrived")
        else:
            most = everything - moved + transfer.size
            self._heard(now, sample_between(everything, now - transfer.start, now, most))

    def broke(self, transfer: Transfer | None) -> None:
        """Ends a transfer whose connection was refused or closed; a probe checks the link."""
        self.forget(transfer)
        self._ask_soon()

    def forget(self, transfer: Transfer | None) -> None:
        """Ends a cancelled transfer, which carries no information."""
        if transfer is not None:
            self._end(transfer, transfer.moved())

    def _ask_soon(self) -> None:
        self._question = True
        self._wake.set()

    def _end(self, transfer: Transfer, moved: int) -> None:
        self._transfers.discard(transfer)
        self._finished_bytes += moved
        if not self._transfers:
            self._moving.clear()
            self._bounds.rest(self._clock(), self._finished_bytes)

    def _moved(self) -> int:
        return self._finished_bytes + sum(t.moved() for t in self._transfers)

    def _heard(self, now: float, sample: RateSample | None) -> None:
        """Records a response of the peer: the link is up, and its rate may be known better."""
        recovered = not self._up
        self._up, self._own = True, now
        if sample is not None and tight(sample):
            self._last, self._question = now, False
        elif sample is not None and self._estimate.rate is not None and sample.low <= self._estimate.rate:
            # Too short a transfer to measure the rate, but enough to question the current estimate.
            if contradicts(sample, self._estimate.rate) and now - self._doubted > _DOUBT_EVERY:
                self._doubted = now
                self._ask_soon()
            sample = None
        if sample is not None:
            self._measured_at = datetime.now(UTC)
        if recovered:
            self._estimate = self._first_estimate()
            _log.info("link to %s is up again", self.spec.peer)
            if sample is None:
                self._ask_soon()
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
        self._on_change(recovered=recovered, notable=notable)

    def _down(self, why: str, *, own: bool = True) -> None:
        self._own = self._clock() if own else self._own
        self._wake.set()
        if not self._up:
            return
        self._up, self._bounds.cap = False, None
        self._measured_at = datetime.now(UTC)
        _log.warning("link to %s is down: %s", self.spec.peer, why)
        self._on_change(recovered=False, notable=True)

    async def _watch_transfers(self) -> None:
        """Bounds, and later measures, the rate while requests are in flight, by the bytes that have arrived.

        Overlapping requests share the link, so their sum is measured.
        """
        bounds = self._bounds
        while True:
            await self._moving.wait()
            pause, asleep = bounds.pause, self._clock()
            await asyncio.sleep(pause)
            now, total, left = self._clock(), self._finished_bytes, 0
            oldest: Transfer | None = None
            for transfer in self._transfers:
                moved = transfer.moved()
                total += moved
                left += transfer.size - moved
                if moved < transfer.size:
                    if oldest is None or transfer.start < oldest.start:
                        oldest = transfer
                elif transfer.arrived is None:
                    transfer.arrived = now
            if total > self._total:
                self._total, self._progress = total, now
            late, rate = now - asleep - pause, self._estimate.rate
            sample = bounds.look(now, late, total, oldest, rate, left=left)
            if sample is not None:
                self._heard(now, sample)

    async def _probe_when_idle(self) -> None:
        again = 0
        while True:
            now = self._clock()
            why = self._why()
            due = self._next_probe(why, now)
            since = now - (self._last if why in (Why.IDLE, Why.DOWN) else self._probed)
            held = not told.probes(self._elsewhere if now < self._holds_until else None, why)
            if held or since < due.interval or (self._transfers and self._up):
                self._wake.clear()
                pause = self._holds_until - now if held else due.interval - since
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(pause, 0.1)):
                        await self._wake.wait()
                continue
            self._probed, self._question = now, False
            try:
                await self._probe(due.size)
            except Exception:  # an unexpected failure of one probe must not end all probing
                _log.exception("a probe of the link to %s failed", self.spec.peer)
                self._down("a probe failed: see the log above")
            self._wake.clear()
            # At most one probe in an interval, unless it found a change, which is worth a second.
            again = again + 1 if self._surprised else 0
            self._question = self._question or 0 < again < _IN_A_ROW
            self._last = max(self._last, now)

    def _why(self) -> Why:
        if not self._up:
            return Why.DOWN
        if not self._question:
            return Why.IDLE
        return Why.UNKNOWN if self._estimate.rate is None else Why.QUESTION

    def _next_probe(self, why: Why, now: float) -> probe_budgets.Allowed:
        busy = now - self._asked < _BUSY
        size = probes.wanted(
            self._estimate.rate if self._up else None,
            busy=busy,
            window=self._window,
            round_trip=self._round_trip,
        )
        interval = min(self.spec.interval, _DOWN_INTERVAL) if why is Why.DOWN else self.spec.interval
        return probe_budgets.allowed(self._budget, now, why, size, interval)

    async def _probe(self, size: int) -> None:
        transfer: Transfer | None = None

        def begin(connection: Connection) -> None:
            nonlocal transfer
            if connection.socket is not None:
                self.forget(transfer)  # it was sent on a connection that turned out to be closed
                transfer = self.begin(connection.socket, size, paced=False)

        self._budget = probe_budgets.spent(self._budget, size, self._clock())
        self._surprised, answered = False, False
        try:
            response = await self._client.request(
                "POST",
                "",
                [bytes(size)],
                within=_PROBE_WITHIN if self._up else _DOWN_WITHIN,
                on_start=begin,
            )
            answered = True
        except TimeoutError:
            if transfer is not None and transfer.moved() >= transfer.size:
                self.forget(transfer)
                self._down("a probe got no response")
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
        finally:
            self._account(size, size if answered else transfer.moved() if transfer is not None else 0)
        now = self._clock()
        info, here = None, None
        if transfer is not None:
            info = tcp_info(transfer.sock)
            self._window = transfer.before.window
            self._round_trip = info.round_trip if info is not None else self._round_trip
            self._end(transfer, size)
            here = _finished(transfer, info or TcpInfo(size, 0.0), now)
        if response.status not in _ACCEPTED:
            self._down(f"a probe got status {response.status}")
            return
        if size < _LEAST_BYTES:
            self._heard(now, None)
            return
        round_trip = info.round_trip if info is not None else 0.0
        self._heard(now, probes.measured(response.body, size, here, self._window, round_trip, now))

    def _account(self, size: int, arrived: int) -> None:
        if arrived < size:
            self._budget = probe_budgets.returned(self._budget, size, arrived)
        if arrived:
            self._on_probe(arrived + probe_budgets.OVERHEAD)


def _finished(
    transfer: Transfer, after: TcpInfo, now: float, compute: float = 0.0, others: int = 0
) -> FinishedTransfer:
    arrived = None if transfer.arrived is None else transfer.arrived - transfer.start
    return FinishedTransfer(
        transfer.size, now - transfer.start, compute, transfer.before, after, others, arrived
    )


def contrast(a: float, b: float) -> float:
    """Ratio of the larger to the smaller."""
    return max(a, b) / max(min(a, b), 1.0)
