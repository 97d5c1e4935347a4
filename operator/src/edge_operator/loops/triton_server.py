"""The loop of one Triton server: what it has loaded, whether it responds, which of its tails go.

Its looks run on a thread of its own. The circuit breaker of its lane (`tritons.lanes`), which backs off with
jitter, tells when to try a server again that does not respond. A server that hangs or is away therefore costs
only its own services.

Cost of a look: one request (`effects.server_looks`), and on the event loop time proportional to the tails in
use on the server, whatever the number of services elsewhere. Services are scanned only if the server lost
tails, stopped responding, or responds again. A look follows the last one after 10 s, or up to 60 s if looks
take long. With 10,000 services on 10 servers that is one request a second, whose response lists the models of
one server, and no request to the API server while nothing changes.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from edge_operator.effects.server_looks import Look
from edge_operator.loops.server_findings import ServerFindings
from edge_operator.steps import RUNNING
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.control_checks import INTERVAL
from edge_operator.tritons.look_intervals import first_look, next_look, retry
from edge_operator.tritons.unused_tails import UnusedTails


class Looked(Protocol):
    """Takes the end of a look."""

    def __call__(self, address: str, *, changed: bool) -> None: ...


class Looks(Protocol):
    """Looks at a server; see `ServerLooks`."""

    @property
    def owner(self) -> str: ...

    def look(
        self,
        address: str,
        before: UnusedTails,
        used: frozenset[str],
        now: float,
        *,
        control: Collection[str] = (),
    ) -> Look: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the loops of all servers share.

    Attributes:
        looks: Looks at a server; blocking.
        findings: Where the loops note what they find.
        used: Returns the tails that are known to be in use at a server, by its host and port.
        control: Returns the endpoints of a listed server at which model control is checked, by its address.
        listed: Whether a pool lists an address.
        services_concerned: Called with an address that lost tails, stopped responding, or responds again.
        looked: Called after a look with the address, and whether the status of its pools changes.
        clock: In seconds.
        jitter: From 0 to 1.
    """

    looks: Looks
    findings: ServerFindings
    used: Callable[[str], frozenset[str]]
    control: Callable[[str], frozenset[str]]
    listed: Callable[[str], bool]
    services_concerned: Callable[[str], None]
    looked: Looked
    clock: Callable[[], float]
    jitter: Callable[[], float]


class TritonServerLoop:
    """State of a server between two looks; a restart may lose it. On the event loop only."""

    def __init__(self, address: str, around: Surroundings) -> None:
        self.address, self._around = address, around
        self._unused = UnusedTails()
        self._checked, self._endpoints = float("-inf"), frozenset[str]()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="look")
        self.pause = first_look(around.jitter())
        """Seconds until the next look."""

    async def run(self) -> None:
        """Looks at the server until cancelled."""
        while True:
            await asyncio.sleep(self.pause)
            look = self.next_look()
            try:
                with RUNNING.step("look", f"look at Triton at {self.address}"):
                    found = await asyncio.get_running_loop().run_in_executor(self._thread, look)
            except Exception:
                logging.getLogger(__name__).exception("looking at Triton at %s failed", self.address)
                self.pause = next_look(0.0, self._around.jitter())
                continue
            self.looked(found)

    def next_look(self) -> Callable[[], "Finished"]:
        """Begins a look: returns the blocking call."""
        around, now = self._around, self._around.clock()
        listed = around.listed(self.address)
        control = around.control(self.address)
        if now - self._checked < INTERVAL and control == self._endpoints:
            control = frozenset()
        used = around.used(server_of(self.address))
        around.findings.leaving(self.address, frozenset(self._unused.due(now)) - used)
        return functools.partial(self._look, used, now, listed=listed, control=control)

    def _look(
        self, used: frozenset[str], began: float, *, listed: bool, control: frozenset[str]
    ) -> "Finished":
        looks, clock = self._around.looks, self._around.clock
        look = looks.look(self.address, self._unused, used, began, control=control)
        return Finished(look, listed, control, began, clock() - began)

    def looked(self, finished: "Finished") -> None:
        """Notes what a look found, and when the next one is due."""
        around, look = self._around, finished.look
        self._unused = look.unused
        if self.address in look.control_open:
            self._checked, self._endpoints = finished.began, finished.control
        if look.busy:
            self.pause = next_look(0.0, around.jitter())
            return
        if look.models is None:
            self.pause = retry(look.rest)
        else:
            self.pause = next_look(finished.took, around.jitter())
        for address in around.findings.responded(self.address, look.models):
            around.services_concerned(address)
        emptied = self.address in around.findings.emptied
        if look.models is not None:
            listed = finished.listed or around.listed(self.address)
            emptied = not listed and look.unused.emptied(look.models, around.looks.owner)
        changed = around.findings.checked(self.address, look, emptied=emptied)
        around.looked(self.address, changed=changed)

    def stop(self) -> None:
        """Begins no further look; one in the thread runs to its end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def wait(self) -> None:
        """Waits for the look in the thread; blocking."""
        self._thread.shutdown(wait=True)


@dataclass(frozen=True, slots=True)
class Finished:
    """A look that has ended.

    listed: whether a pool listed the server. control: the endpoints whose model control was to be checked.
    began, took: in seconds.
    """

    look: Look
    listed: bool
    control: frozenset[str]
    began: float
    took: float
