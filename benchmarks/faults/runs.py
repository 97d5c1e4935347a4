"""One run of a fault: clients at the entry nodes, the fault, its end, and the state after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.faults.ground import Ground
from benchmarks.faults.outcomes import Away, Run, broken, counted
from demo.client_processes import ClientProcesses
from demo.errors import StepFailed
from demo.statistics import LinkSample, RequestResult

_STEADY: Final = 6
"""Responses at every node before the fault, and after everything is as before."""
_DURING: Final = 12
"""Requests at a node that is not off, during a fault that lasts."""
_PATIENCE: Final = 180.0
_POLL: Final = 1.0


@dataclass
class During:
    """A run as its fault sees it."""

    ground: Ground
    _clients: ClientProcesses
    requests: list[RequestResult] = field(default_factory=list)
    off: dict[str, float] = field(default_factory=dict)

    def is_off(self, node: str) -> None:
        """States that a node is without power, from now until it answers after the fault's end."""
        self.off[node] = time.monotonic()

    def wait(self, what: str, done: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        """Waits for a condition while requests flow. Raises StepFailed."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                conditions = dict(self.ground.conditions())
                raise StepFailed(f"{what}: not within {seconds:g} s; the service: {conditions}")
            self.take(_POLL)

    def take(self, seconds: float) -> None:
        """Reads what the clients report in this time."""
        for event in self._clients.take(seconds):
            if not isinstance(event, LinkSample):
                self.requests.append(event)

    def flow(self, count: int = _DURING, *, without: str = "") -> None:
        """Waits until each node, except `without`, has got so many more responses or errors."""
        begun = self._by_node()
        nodes = [node for node in self.ground.nodes if node != without]

        def done() -> bool:
            now = self._by_node()
            return all(now[node] - begun[node] >= count for node in nodes)

        self.wait(f"{count} responses", done)

    def serves(self, node: str, since: float) -> bool:
        """Whether a node has answered a request that it was sent after `since` (monotonic)."""
        return self.returned(node, since) is not None

    def returned(self, node: str, since: float) -> float | None:
        """When the first request was sent that a node has answered, of those after `since` (monotonic)."""
        answered = [r.sent for r in self.requests if r.node == node and r.sent > since and not r.failed]
        return min(answered, default=None)

    def _by_node(self) -> Mapping[str, int]:
        return {node: sum(r.node == node for r in self.requests) for node in self.ground.nodes}


Plant = Callable[[During], AbstractContextManager[None]]
"""Plants a fault when entered and ends it when left; while it is there, it may wait for anything."""


def run(ground: Ground, name: str, plant: Plant, commit: str) -> Run:
    """Plants a fault once, with clients at all entry nodes. Raises DemoError or TestbedError."""
    before, owned = ground.conditions(), ground.owned()
    clients = ground.clients(ground.nodes)
    try:
        clients.start()
        during = During(ground, clients)
        during.flow(_STEADY)
        with plant(during):
            pass
        ended = time.monotonic()
        away = _away(during, ended)
        converged = _converged(during, before, ended)
        during.flow(_STEADY)
        during.requests += [each for each in clients.stop() if not isinstance(each, LinkSample)]
    finally:
        clients.end()
    failed = [r for r in during.requests if r.failed and not any(each.covers(r) for each in away)]
    errors = [f"{r.node}: {r.error}" for r in failed]
    counts = counted(during.requests, away, ground.slo)
    found = broken(errors, owned, ground.owned(), converged, ground.oversubscribed())
    return Run(name, commit, converged_s=converged, broken=found, **counts)


def _away(during: During, ended: float) -> list[Away]:
    """Waits until each node that was off answers again."""
    found = []
    for node, begin in during.off.items():
        during.wait(f"{node} serving", partial(during.serves, node, ended), 300)
        end = during.returned(node, ended)
        assert end is not None
        found.append(Away(node, begin, end))
    return found


def _converged(during: During, before: Mapping[str, str], ended: float) -> float | None:
    try:
        during.wait("everything as before", lambda: during.ground.settled(before))
    except StepFailed:
        return None
    return round(time.monotonic() - ended, 1)
