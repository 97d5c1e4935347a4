"""Runs the phases of the second act: changes the noisy tenant's rate and collects the clients' events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from demo.errors import DemoError
from demo.load_clients import SHOWN_EVERY_SECONDS, LoadClients
from demo.sharing.phases import LoadPhase
from demo.sharing.results import PhaseLoad, SharingResult, Terms
from demo.statistics import LinkSample, RequestResult


class TenantClients(LoadClients, Protocol):
    """The clients of one tenant at all entry nodes, as `demo.client_processes.ClientProcesses` is."""

    def set_rate(self, rate: float) -> None: ...


def play(
    terms: Terms,
    phases: Sequence[LoadPhase],
    clients: Mapping[str, TenantClients],
    listed: Callable[[], str],
    show: Callable[[SharingResult], None],
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> SharingResult:
    """Runs the phases in sequence. A request belongs to the phase in which it was sent.

    clients: by tenant. listed: returns the output of `kubectl get tenants`, called at the end of the noisy
    phase, while requests are sent. show, say: receive the result so far, and a line for each phase.
    """
    collected: dict[str, list[RequestResult | LinkSample]] = {tenant: [] for tenant in terms.tenants}
    began: list[tuple[LoadPhase, float]] = []
    result = SharingResult(terms, ())
    for each in clients.values():
        each.start()
    try:
        for phase in phases:
            rate = phase.factor * terms.rate
            say(f"{phase.name}: {terms.noisy} sends {rate:g} requests/s at each node for {phase.seconds:g} s")
            clients[terms.noisy].set_rate(rate)
            began.append((phase, clock()))
            while (left := began[-1][1] + phase.seconds - clock()) > 0:
                for tenant, each in clients.items():
                    collected[tenant] += each.take(min(left, SHOWN_EVERY_SECONDS) / len(clients))
                result = replace(result, phases=assembled(began, collected))
                show(result)
            if phase.noisy:
                result = replace(result, listed=listed())
        for tenant, each in clients.items():
            collected[tenant] += each.stop()
    except DemoError as failed:
        result = replace(result, error=str(failed))
    result = replace(result, phases=assembled(began, collected))
    show(result)
    return result


def assembled(
    began: Sequence[tuple[LoadPhase, float]], events: Mapping[str, Sequence[RequestResult | LinkSample]]
) -> tuple[PhaseLoad, ...]:
    """Assigns the results of each tenant to the phases in which they were sent."""
    starts = [float("-inf"), *(at for _, at in began[1:]), float("inf")]
    return tuple(
        PhaseLoad(
            phase,
            at,
            {
                tenant: [e for e in found if isinstance(e, RequestResult) and first <= e.sent < end]
                for tenant, found in events.items()
            },
        )
        for (phase, at), first, end in zip(began, starts, starts[1:], strict=False)
    )
