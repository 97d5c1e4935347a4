"""Plays one mode: sets the link phase by phase, and collects what the clients say meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from demo.errors import DemoError
from demo.phases import Phase, settled
from demo.reports import ModeResult, PhaseResult
from demo.statistics import Answer, LinkSample

SHOWN_EVERY_SECONDS = 0.25


class Clients(Protocol):
    """The clients at the entry nodes, as `demo.loads.Loads` is."""

    def start(self) -> None: ...

    def take(self, seconds: float) -> list[Answer | LinkSample]: ...

    def stop(self) -> list[Answer | LinkSample]: ...


@dataclass(frozen=True)
class Began:
    """When a phase began, in seconds of the monotonic clock."""

    phase: Phase
    at: float


def play(
    mode: str,
    phases: Sequence[Phase],
    clients: Clients,
    set_links: Callable[[float | None], None],
    show: Callable[[ModeResult], None],
    clock: Callable[[], float] = time.monotonic,
) -> ModeResult:
    """Runs the phases one after another. A request belongs to the phase in which it was sent."""
    events: list[Answer | LinkSample] = []
    began: list[Began] = []
    shaped = phases[0].link_bps is not None
    if shaped:
        set_links(phases[0].link_bps)
    clients.start()
    error: str | None = None
    try:
        for phase in phases:
            if began and shaped:
                set_links(phase.link_bps)
            began.append(Began(phase, clock()))
            while (left := began[-1].at + phase.seconds - clock()) > 0:
                events += clients.take(min(left, SHOWN_EVERY_SECONDS))
                show(assembled(mode, began, events))
        events += clients.stop()
    except DemoError as failed:
        error = str(failed)
    finally:
        if shaped:
            set_links(None)
    result = assembled(mode, began, events, error)
    show(result)
    return result


def assembled(
    mode: str, began: Sequence[Began], events: Sequence[Answer | LinkSample], error: str | None = None
) -> ModeResult:
    """What was said, sorted into the phases that it belongs to."""
    ends = [later.at for later in began[1:]] + [float("inf")]
    phases = []
    for start, end in zip(began, ends, strict=True):
        first = start.at if start is not began[0] else float("-inf")
        answers = [e for e in events if isinstance(e, Answer) and first <= e.sent < end]
        link = [e for e in events if isinstance(e, LinkSample) and start.at <= e.at < end]
        phases.append(
            PhaseResult(start.phase, start.at, answers, [s for s in link if settled(s.at - start.at)])
        )
    return ModeResult(mode, phases, [e for e in events if isinstance(e, LinkSample)], error)
