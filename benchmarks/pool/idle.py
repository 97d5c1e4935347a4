"""API requests and reconciles while nothing changes and no client sends requests."""

from __future__ import annotations

from typing import Final

from benchmarks.pool.services import edge_pool, service
from benchmarks.pool.site import DIGITS, RUNTIMES, Site, operators, product

_SETTLING_SECONDS: Final = 60.0
SERVICES: Final = 3


def started(site: Site) -> list[str]:
    """Applies the services at all edge nodes unless they run, and waits until they are Ready."""
    names = [f"still-{number}" for number in range(SERVICES)]
    site.apply([edge_pool(), *(service(name, pool="bench", file=DIGITS) for name in names)])
    site.wait_ready(names)
    return names


def measure(site: Site, *, quick: bool) -> dict[str, float]:
    """Returns requests and reconciles a minute. Renewals of Leases and opened watches are not counted."""
    started(site)
    site.watch("settling", 10.0 if quick else _SETTLING_SECONDS)
    before = site.reconciles()
    start, end = site.watch("idle", 20.0 if quick else 120.0)
    reconciles, minutes = site.reconciles() - before, (end - start).total_seconds() / 60
    found = site.requests(start, end)
    site.say(f"operator: {found.by_request(operators)}")
    site.say(f"runtimes: {found.by_request(lambda user: user.startswith(RUNTIMES))}")
    opened = sum(count for each, count in found.watches.items() if product(each.user))
    renewed = sum(count for each, count in found.leases.items() if product(each.user))
    site.say(f"not counted: {opened} watches, {renewed} requests of Leases")
    return {
        "placements": len(site.items("placements")),
        "api_writes_per_min": round(found.writes(product) / minutes, 1),
        "api_reads_per_min": round(found.reads(product) / minutes, 1),
        "reconciles_per_min": round(reconciles / minutes, 1),
    }
