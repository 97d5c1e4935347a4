"""Runs the phases of one mode: sets the links for each phase and collects the clients' events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from demo.errors import DemoError
from demo.load_clients import SHOWN_EVERY_SECONDS, LoadClients
from demo.phases import Phase, settled
from demo.reports import ModeResult, PhaseResult
from demo.statistics import LinkSample, RequestResult


@dataclass(frozen=True)
class StartedPhase:
    """Start of a phase, in seconds of the monotonic clock."""

    phase: Phase
    at: float


def play(
    mode: str,
    phases: Sequence[Phase],
    clients: LoadClients,
    set_links: Callable[[float | None], None],
    show: Callable[[ModeResult], None],
    clock: Callable[[], float] = time.monotonic,
) -> ModeResult:
    """Runs the phases in sequence. A request belongs to the phase in which it was sent."""
    events: list[RequestResult | LinkSample] = []
    began: list[StartedPhase] = []
    shaped = phases[0].link_bps is not None
    if shaped:
        set_links(phases[0].link_bps)
    clients.start()
    error: str | None = None
    try:
        for phase in phases:
            if began and shaped:
                set_links(phase.link_bps)
            began.append(StartedPhase(phase, clock()))
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
    mode: str,
    began: Sequence[StartedPhase],
    events: Sequence[RequestResult | LinkSample],
    error: str | None = None,
) -> ModeResult:
    """Assigns events to their phases."""
    ends = [later.at for later in began[1:]] + [float("inf")]
    phases = []
    for start, end in zip(began, ends, strict=True):
        first = start.at if start is not began[0] else float("-inf")
        results = [e for e in events if isinstance(e, RequestResult) and first <= e.sent < end]
        link = [e for e in events if isinstance(e, LinkSample) and start.at <= e.at < end]
        phases.append(
            PhaseResult(start.phase, start.at, results, [s for s in link if settled(s.at - start.at)])
        )
    return ModeResult(mode, phases, [e for e in events if isinstance(e, LinkSample)], error)
