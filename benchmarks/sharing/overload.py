"""Three tenants whose requests together need more than the node has for the full model."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.pool.site import Site
from benchmarks.sharing.tenancy import tenants, together
from demo.statistics import summarise

TENANTS: Final = ("one", "two", "three")
LOAD: Final = 1.4
"""Of what the node can do with the full model, by the profile of this run."""


def measure(prepared: tuple[Site, Path], *, quick: bool) -> dict[str, object]:
    """Returns how many requests that are not refused met the SLO, and how many are refused."""
    site, model = prepared
    seconds = 10.0 if quick else 60.0
    with tenants(site, model, dict.fromkeys(TENANTS, 1.0), speed=None) as shared:
        capacity = shared.capacity()
        rate = LOAD * capacity.rate / len(TENANTS)
        site.say(
            f"full model: {capacity.full * 1e3:.1f} ms; {rate:.1f}/s from each of {len(TENANTS)} tenants"
        )
        rates = dict.fromkeys(TENANTS, rate)
        shared.declare(capacity.latency, rates)
        results = together(shared.send(rates, seconds, timeout=4 * capacity.latency), TENANTS)
    found = summarise(results, capacity.latency)
    taken = found.requests - found.refused
    met = (found.attainment or 0.0) * found.requests
    return {
        "tenants": len(TENANTS),
        "rate": round(rate * len(TENANTS), 2),
        "slo_s": capacity.latency,
        "requests": found.requests,
        "attainment": round(met / taken, 4) if taken else None,
        "accuracy": None if found.accuracy is None else round(found.accuracy, 4),
        "refused": found.refused,
        "failed": found.failed - found.refused,
        "p95_s": None if found.p95 is None else round(found.p95, 3),
    }
