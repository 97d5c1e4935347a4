"""Whether a replica lives and is ready, and what it says of itself to probes and to Prometheus.

Live: no task has ended that should run, no step is stuck, and the event loop turns. The kubelet restarts a
container that is not live. Ready: live, and the mirror is synced, so that the replica can lead without a
list. A standby is ready, too: readiness does not depend on who leads.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_operator.leadership import Leadership
from edge_operator.steps import RUNNING, Step, Steps, stuck

TURN: Final = 1.0
"""Seconds between two turns of the event loop that are noted."""
TURNS_WITHIN: Final = 60.0
"""Seconds without a turn after which the event loop is stuck."""
KINDS: Final = ("plan", "namespace", "effect", "look", "certificates", "resync")
"""The kinds of steps."""


@dataclass(frozen=True, slots=True)
class State:
    """A replica at a time.

    Attributes:
        now: Seconds of the monotonic clock, like the other times.
        turned: When the event loop turned last; None before it started.
        ended: Tasks that have ended and should not.
        synced: Whether the mirror has every object that existed when its watches began.
        heard: When a watch last reported an event; None before the first.
        steps: That run, the oldest first.
        leads: Whether this replica holds the Lease.
        holder, term: Of the Lease, as this replica last saw it. holder: empty if it is free.
    """

    now: float
    turned: float | None = None
    ended: tuple[str, ...] = ()
    synced: bool = False
    heard: float | None = None
    steps: tuple[Step, ...] = ()
    leads: bool = False
    holder: str = ""
    term: int | None = None

    @property
    def not_live(self) -> tuple[str, ...]:
        """Why the process has to be restarted."""
        found = [f"{task}: has ended, and runs only after a restart" for task in self.ended]
        if self.turned is not None and (still := self.now - self.turned) > TURNS_WITHIN:
            found.append(f"event loop: has not turned for {still:.0f} s, the limit is {TURNS_WITHIN:.0f} s")
        found += [
            f"{step.name}: runs for {self.now - step.since:.0f} s, the limit is {step.limit:.0f} s"
            for step in stuck(self.steps, self.now)
        ]
        return tuple(found)

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Why the replica could not lead now."""
        if self.turned is None:
            return ("operator: not started: waiting for the API server to identify the installation",)
        if not self.synced:
            unsynced = "mirror: not synced: waiting for the first list of every kind that is watched"
            return (*self.not_live, unsynced)
        return self.not_live

    def document(self) -> dict[str, Any]:
        """Returns what probes are answered, as JSON. Ages in seconds."""
        oldest = self.steps[0] if self.steps else None
        return {
            "live": not self.not_live,
            "ready": not self.not_ready,
            "problems": list(dict.fromkeys((*self.not_live, *self.not_ready))),
            "mirror": {"synced": self.synced, "lastEvent": self._age(self.heard)},
            "oldestStep": None
            if oldest is None
            else {
                "kind": oldest.kind,
                "name": oldest.name,
                "age": self._age(oldest.since),
                "limit": None if oldest.limit == float("inf") else oldest.limit,
            },
            "eventLoop": self._age(self.turned),
            "lease": {"leads": self.leads, "holder": self.holder, "term": self.term},
        }

    def _age(self, since: float | None) -> float | None:
        return None if since is None else round(self.now - since, 3)


class Health(Collector):
    """The newest state of this process. Written on the event loop, read by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, steps: Steps = RUNNING) -> None:
        self._clock, self._steps = clock, steps
        self._lock = threading.Lock()
        self._turned: float | None = None
        self._heard: float | None = None
        self._ended: tuple[str, ...] = ()
        self.leadership: Leadership | None = None

    def turns(self, ended: Sequence[str]) -> None:
        """Notes a turn of the event loop, and the tasks that have ended."""
        with self._lock:
            self._turned, self._ended = self._clock(), tuple(ended)

    def hears(self) -> None:
        """Notes an event of a watch. The first one comes after the mirror has every object (`handlers`)."""
        with self._lock:
            self._heard = self._clock()

    @property
    def state(self) -> State:
        """The state now."""
        election = self.leadership
        lease = None if election is None else election.seen
        with self._lock:
            return State(
                now=self._clock(),
                turned=self._turned,
                ended=self._ended,
                synced=self._heard is not None,
                heard=self._heard,
                steps=self._steps.running,
                leads=election is not None and election.leads,
                holder="" if lease is None else lease.holder,
                term=None if lease is None else lease.transitions,
            )

    def describe(self) -> list[Metric]:
        """Returns the families, by which a registry knows their names."""
        return list(_families(State(0.0, turned=0.0, heard=0.0, term=0)))

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics of the state now."""
        yield from _families(self.state)


def _families(state: State) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "edge_operator_mirror_synced",
        "1 if the replica has every object that it watches, so that it can lead.",
        value=float(state.synced),
    )
    if state.term is not None:
        yield GaugeMetricFamily(
            "edge_operator_lease_transitions",
            "Changes of the holder of the Lease, as this replica last saw it.",
            value=float(state.term),
        )
    if state.heard is not None:
        yield GaugeMetricFamily(
            "edge_operator_mirror_last_event_seconds",
            "Seconds since a watch of the replica last reported an event.",
            value=state.now - state.heard,
        )
    if state.turned is not None:
        yield GaugeMetricFamily(
            "edge_operator_event_loop_age_seconds",
            "Seconds since the event loop last turned.",
            value=state.now - state.turned,
        )
    oldest = GaugeMetricFamily(
        "edge_operator_oldest_step_seconds",
        "Age in seconds of the oldest step that runs, by kind; 0 if none does.",
        labels=["kind"],
    )
    for kind in KINDS:
        since = min((step.since for step in state.steps if step.kind == kind), default=state.now)
        oldest.add_metric([kind], state.now - since)
    yield oldest
    yield GaugeMetricFamily(
        "edge_operator_stuck_steps",
        "Steps that take longer than their limit, for which liveness fails.",
        value=float(len(stuck(state.steps, state.now))),
    )
