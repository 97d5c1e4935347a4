"""Two tenants at their declared rates beside a third one that sends ten times its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.pool.site import Site
from benchmarks.sharing.tenancy import tenants, together
from demo.statistics import summarise

VICTIMS: Final = ("quiet", "calm")
NOISY: Final = "noisy"
FACTOR: Final = 10
LOAD: Final = 0.2
"""What each tenant declares, of what the node can do with the full model: less than the third that each is
entitled to."""


def measure(prepared: tuple[Site, Path], *, quick: bool) -> dict[str, object]:
    """Returns the attainment of the victims, alone and beside the noisy tenant."""
    site, model = prepared
    seconds = 10.0 if quick else 60.0
    names = (*VICTIMS, NOISY)
    with tenants(site, model, dict.fromkeys(names, 1.0), speed=None) as shared:
        capacity = shared.capacity()
        rate = LOAD * capacity.rate
        site.say(f"full model: {capacity.full * 1e3:.1f} ms; {rate:.1f}/s declared by each of {len(names)}")
        shared.declare(capacity.latency, dict.fromkeys(names, rate))
        quiet = dict.fromkeys(VICTIMS, rate)
        timeout = 4 * capacity.latency
        alone = summarise(together(shared.send(quiet, seconds, timeout), VICTIMS), capacity.latency)
        results = shared.send({**quiet, NOISY: FACTOR * rate}, seconds, timeout)
    beside = summarise(together(results, VICTIMS), capacity.latency)
    noisy = summarise(results[NOISY], capacity.latency)
    return {
        "noisy_factor": FACTOR,
        "slo_s": capacity.latency,
        "victims_attainment": beside.attainment,
        "victims_alone": alone.attainment,
        "victims_accuracy": [alone.accuracy, beside.accuracy],
        "victims_p95_s": [alone.p95, beside.p95],
        "noisy": {"requests": noisy.requests, "refused": noisy.refused, "attainment": noisy.attainment},
    }
