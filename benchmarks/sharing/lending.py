"""A tenant whose idle part of the node another one borrows, and takes back when its demand returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.pool.site import Site
from benchmarks.sharing.tenancy import Tenancy, tenants
from demo.client_processes import ClientProcesses
from demo.statistics import RequestResult
from testbed.errors import NotReadyInTimeError

OWNER: Final = "owner"
BORROWER: Final = "borrower"
BORROWED: Final = 0.6
"""What the borrower declares, of what the node can do with the full model; it is entitled to 0.4."""
OWNED: Final = 0.35
"""What the owner declares while it is not idle: less than it is entitled to."""
IDLE: Final = 0.1
"""Requests per second that the owner declares while it is idle."""
_RATE: Final = 4.0
"""Requests per second by which the exits are observed."""
_PATIENCE: Final = 120.0
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Delays:
    """Seconds until idle capacity is used by others, and until its owner has it back."""

    lend: float
    reclaim: float

    @property
    def rounded(self) -> dict[str, float]:
        return {"lend": round(self.lend, 2), "reclaim": round(self.reclaim, 2)}


def worst(delays: Sequence[Delays]) -> Delays:
    """Returns the longest of each."""
    return Delays(max(one.lend for one in delays), max(one.reclaim for one in delays))


def rounds(site: Site, model: Path, *, quick: bool) -> Delays:
    """Returns how long the plan takes until the borrower steps up, and down.

    The time runs from the change of the owner's declared rate to the response of the borrower with the more,
    or the less, accurate exit.
    """
    with tenants(site, model, {OWNER: 1.0, BORROWER: 1.0}) as shared:
        capacity = shared.capacity()
        latency = capacity.latency
        shared.declare(latency, {OWNER: IDLE, BORROWER: BORROWED * capacity.rate})
        delays = list[Delays]()
        with shared.clients({BORROWER: _RATE}, timeout=4 * latency) as (client,):
            client.start()
            accurate = _exit(client, lambda _: True)[1]
            for number in range(1 if quick else _ROUNDS):
                reclaimed = _after(
                    shared, client, latency, OWNED * capacity.rate, lambda exit_: exit_ != accurate
                )
                lent = _after(shared, client, latency, IDLE, lambda exit_: exit_ == accurate)
                delays.append(Delays(lent, reclaimed))
                site.say(f"round {number + 1}: reclaimed in {reclaimed:.1f} s, lent in {lent:.1f} s")
            client.stop()
    return worst(delays)


def _after(
    shared: Tenancy, client: ClientProcesses, latency: float, rate: float, wanted: Callable[[str], bool]
) -> float:
    """Changes the owner's rate; returns the seconds until the borrower responds with a wanted exit."""
    changed = time.monotonic()
    shared.set_rates(latency, {OWNER: rate})
    return _exit(client, wanted)[0] - changed


def _exit(client: ClientProcesses, wanted: Callable[[str], bool]) -> tuple[float, str]:
    """Returns when the first response with a wanted exit came, and its exit. Raises NotReadyInTimeError."""
    began = time.monotonic()
    seen = set[str]()
    while time.monotonic() - began < _PATIENCE:
        for event in client.take(0.5):
            if isinstance(event, RequestResult) and event.exit is not None and event.sent > began:
                seen.add(event.exit)
                if wanted(event.exit):
                    return event.sent + event.latency, event.exit
    raise NotReadyInTimeError(
        f"not within {_PATIENCE:g} s: responses had the exits {', '.join(sorted(seen)) or 'none'}"
    )
