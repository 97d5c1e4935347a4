"""One run of a fault: clients at the entry nodes, the fault, its end, and the state after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks.faults.ground import RATE, Ground
from benchmarks.faults.outcomes import SETTLED_SECONDS, Away, Run, broken, counted
from demo.client_processes import ClientProcesses
from demo.clusters import Entrance
from demo.errors import NotInTime, StepFailed
from demo.statistics import LinkSample, RequestResult
from testbed import TestbedError

_STEADY: Final = 6
"""Responses at every node before the fault, and after everything is as before."""
_DURING: Final = 12
"""Requests at a node that is not off, during a fault that lasts."""
_PATIENCE: Final = 180.0
_BACK: Final = 300.0
_POLL: Final = 1.0


@dataclass
class Site:
    """The example, and what a fault needs beside it.

    entrances: addresses of nodes for their clients, in place of the Services of the runtimes. more: further
    clients by name, which start to send with the others. rate: theirs, in requests a second. settled:
    conditions that hold before the fault, and again after it, by what they are.
    """

    ground: Ground
    entrances: dict[str, Entrance] = field(default_factory=dict)
    more: dict[str, Entrance] = field(default_factory=dict)
    rate: float = RATE
    settled: dict[str, Callable[[], bool]] = field(default_factory=dict)

    def unsettled(self) -> list[str]:
        """Which of the conditions do not hold."""
        return [what for what, holds in self.settled.items() if not _holds(holds)]


@dataclass
class During:
    """A run as its fault sees it.

    off: since when a node has no power, or a client no service. absences: such times that are over. gone:
    clients whose service does not return. problems: what the fault has found broken.
    excused: whether a request without a response breaks no invariant; it counts as failed all the same.
    """

    ground: Ground
    _clients: ClientProcesses
    _more: ClientProcesses | None = None
    requests: list[RequestResult] = field(default_factory=list)
    off: dict[str, float] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    absences: list[Away] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    excused: Callable[[RequestResult], bool] = lambda _: False

    def is_off(self, node: str) -> None:
        """States that a node is without power, from now until it answers after the fault's end."""
        self.off[node] = time.monotonic()

    def is_back(self, node: str, started: float) -> None:
        """States that a node that was off answers again, since its first response after `started`."""
        end = self.returned(node, started)
        self.absences.append(Away(node, self.off.pop(node), time.monotonic() if end is None else end))

    def is_gone(self, client: str) -> None:
        """States that a client has no service any more, from now to the end."""
        self.is_off(client)
        self.gone.add(client)

    def set_rate(self, rate: float) -> None:
        """Makes each of the further clients send this many requests a second."""
        if self._more is not None:
            self._more.set_rate(rate)

    def broke(self, sentence: str) -> None:
        """Notes that an invariant of this fault does not hold."""
        self.problems.append(sentence)

    def wait(self, what: str, done: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        """Waits for a condition while requests flow. Raises StepFailed."""
        deadline = time.monotonic() + seconds
        while not _holds(done):
            if time.monotonic() > deadline:
                raise StepFailed(f"{what}: not within {seconds:g} s; {self.ground.shown()}")
            self.take(_POLL)

    def take(self, seconds: float) -> None:
        """Reads what the clients report in this time."""
        sources = [each for each in (self._clients, self._more) if each is not None]
        for source in sources:
            for event in source.take(seconds / len(sources)):
                if not isinstance(event, LinkSample):
                    self.requests.append(event)

    @contextmanager
    def changed(self) -> Iterator[None]:
        """The service has another spec, which every node must have carried out after the block."""
        self.ground.change(autonomy="90m")
        try:
            yield
            self.wait("the change carried out", lambda: self.ground.carried_out(autonomy="1h30m0s"))
        finally:
            self.ground.change(autonomy=None)

    def flow(self, count: int = _DURING, *, without: str = "", of: tuple[str, ...] = ()) -> None:
        """Waits until each node, except `without`, has got so many more responses or errors.

        of: names of clients to wait for, in place of the nodes.
        """
        names = of or tuple(node for node in self.ground.nodes if node != without)
        begun = {name: self.count(name) for name in names}

        def done() -> bool:
            return all(self.count(name) - begun[name] >= count for name in names)

        self.wait(f"{count} responses", done)

    def count(self, name: str) -> int:
        """How many requests of a client have ended."""
        return sum(each.node == name for each in self.requests)

    def serves(self, node: str, since: float) -> bool:
        """Whether a node has answered a request that it was sent after `since` (monotonic)."""
        return self.returned(node, since) is not None

    def returned(self, node: str, since: float) -> float | None:
        """When the first request was sent that a node has answered, of those after `since` (monotonic)."""
        answered = [r.sent for r in self.requests if r.node == node and r.sent > since and not r.failed]
        return min(answered, default=None)

    def stop(self) -> None:
        """Ends the load, and reads the rest of what the clients report."""
        for source in (self._clients, self._more):
            if source is not None:
                self.requests += [each for each in source.stop() if not isinstance(each, LinkSample)]


Plant = Callable[[During], AbstractContextManager[None]]
"""Plants a fault when entered and ends it when left; while it is there, it may wait for anything."""


@contextmanager
def example(ground: Ground) -> Iterator[Site]:
    """The example alone."""
    yield Site(ground)


@contextmanager
def fast_nodes(ground: Ground) -> Iterator[Site]:
    """The example on nodes as fast as the machine: pods start there without making requests late."""
    with ground.unlimited():
        yield Site(ground)


@dataclass(frozen=True)
class Fault:
    """A fault. site: prepares what it needs, and removes that again, without clients."""

    plant: Plant
    site: Callable[[Ground], AbstractContextManager[Site]] = example

    @property
    def words(self) -> str:
        """What happens, in one line."""
        return (self.plant.__doc__ or "").split("\n")[0]


def run(ground: Ground, name: str, fault: Fault, commit: str) -> Run:
    """Plants a fault once, with clients at all entry nodes. Raises DemoError or TestbedError."""
    untouched = ground.owned()
    with fault.site(ground) as site:
        during, absent, seconds, oversubscribed = _planted(site, fault)
    after = _cleared(ground, untouched)
    failed = [r for r in during.requests if r.failed and not any(each.covers(r) for each in absent)]
    errors = [f"{r.node}: {r.error}" for r in failed if not during.excused(r)]
    counts = counted(during.requests, absent, ground.slo)
    found = broken(errors, untouched, after, seconds, [*oversubscribed, *during.problems])
    return Run(name, commit, converged_s=seconds, broken=found, **counts)


def _planted(site: Site, fault: Fault) -> tuple[During, list[Away], float | None, list[str]]:
    """Returns the run, when nodes were off, the seconds until it converged, and capacities exceeded."""
    ground = site.ground
    before = ground.conditions()
    clients = ground.clients(ground.nodes, site.entrances)
    more = None
    try:
        more = ground.clients(site.more, site.more, site.rate) if site.more else None
        for each in (clients, more):
            if each is not None:
                each.start()
        during = During(ground, clients, more)
        during.flow(_STEADY)
        try:
            with fault.plant(during):
                pass
        except (NotInTime, StepFailed, TestbedError) as error:  # its end has been carried out
            during.broke(f"during the fault: {error}")
        settling = Settling(during, site, before, time.monotonic())
        absent = away(during, settling)
        seconds = converged(settling)
        during.flow(_STEADY)
        during.stop()
    finally:
        for each in (clients, more):
            if each is not None:
                each.end()
    return during, absent, seconds, ground.oversubscribed()


@dataclass
class Settling:
    """Since when everything is as before. ended: when the fault did. Times are monotonic seconds."""

    during: During
    site: Site
    before: Mapping[str, str]
    ended: float
    since: float | None = None

    def holds(self) -> bool:
        """Whether everything is as before now."""
        if self.during.ground.unsettled(self.before) or self.site.unsettled():
            self.since = None
        elif self.since is None:
            self.since = time.monotonic()
        return self.since is not None


def away(during: During, settling: Settling) -> list[Away]:
    """Waits until each node that was off answers again. Its client may notice that late, so all else is
    looked at in this time, too.
    """
    ended = settling.ended
    found = list(during.absences)
    for node, begin in during.off.items():
        if node in during.gone:
            found.append(Away(node, begin, float("inf")))
            continue

        def serving(node: str = node) -> bool:
            settling.holds()
            return during.serves(node, ended)

        try:
            during.wait(f"{node} serving", serving, _BACK)
        except StepFailed as error:
            during.broke(str(error))
        end = during.returned(node, ended)
        found.append(Away(node, begin, time.monotonic() if end is None else end))
    return found


def converged(settling: Settling) -> float | None:
    """Returns the seconds from the fault's end until everything was as before; None if it never was."""
    during = settling.during
    try:
        during.wait("everything as before", settling.holds)
    except StepFailed:
        during.problems += [*during.ground.unsettled(settling.before), *settling.site.unsettled()]
    return None if settling.since is None else round(settling.since - settling.ended, 1)


def _cleared(ground: Ground, before: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Returns what there is, once it is as before, or as long after the fault as it may take."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while True:
        found = ground.owned()
        if found == before or time.monotonic() > deadline:
            return found
        time.sleep(_POLL)


def _holds(condition: Callable[[], bool]) -> bool:
    """Whether a condition holds; not while the API server does not tell."""
    try:
        return condition()
    except TestbedError:
        return False
