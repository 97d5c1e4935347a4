"""Several services at one entry node: Poisson arrivals at shares of its capacity, compared with an oracle.

The capacity is the rate at which the node computes requests of all services, each by its cheapest exit: what
the node can complete without the server. The utility of a request is the accuracy of its response if that is
in time, otherwise 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.slo.figures import Figures, ratio
from benchmarks.slo.jobs import TraceJob, link_of
from benchmarks.slo.shared import SERVICES, planned, shared_case
from edge_planning.text_tables import text_table
from edge_planning_lab.baselines import clairvoyant
from edge_planning_lab.schedules import (
    AHEAD,
    WIDTH,
    KnownRequests,
    beam_schedule,
    exhaustive_schedule,
    known_requests,
)
from edge_planning_lab.simulation import (
    SharedOutcome,
    SharedRun,
    SharedService,
    Uplink,
    poisson,
    simulate_shared,
)
from edge_runtime.inference.planned_rates import PlannedRate

SHARES = (0.3, 0.6, 0.9)  # of the capacity
FEW = 8  # requests of the exhaustive search
NOTES = {
    "capacity_per_second": "what the node computes of all services at equal rates, by their cheapest exits",
    "utility": "accuracy of a response in time, otherwise 0; the mean over all requests",
    "utility_vs_oracle": "the utility relative to the oracle's, which knows arrivals and link in advance",
    "bound": "mean of the best accuracy in time of each request alone; no schedule exceeds it",
    "gap": "of the beam to exhaustive search: 1 - utility / best utility, for the busiest requests in a row",
}

ByShare = dict[float, Figures]


def measure(job: TraceJob) -> tuple[str, ByShare]:
    """Returns the sums of one trace by share of the capacity."""
    link, this = link_of(job), shared_case()
    seconds = min(job.loaded_seconds, link.period or job.seconds)
    uplink = link.carried(seconds) / seconds
    found: ByShare = {}
    for share in SHARES:
        rate = share * this.capacity / len(SERVICES)
        arrivals = [poisson(job.random(round(100 * share), n), rate, seconds) for n in range(len(SERVICES))]
        services = [
            SharedService(one.name, options, table, times, PlannedRate(rate).beyond)
            for one, options, table, times in zip(
                SERVICES, this.options, planned(rate, uplink), arrivals, strict=True
            )
        ]
        run = simulate_shared(services, Uplink("up", link), seconds)
        known = known_requests(this.worthwhile, arrivals, link)
        alone = [clairvoyant(link, one, times) for one, times in zip(this.options, arrivals, strict=True)]
        gap = gap_to_exhaustive(known)
        found[share] = {
            "requests": len(known),
            "utility": float(run.accuracy.sum()),
            "in_time": _count(run, SharedOutcome.IN_TIME),
            "refused": _count(run, SharedOutcome.REFUSED),
            "fallbacks": float(run.fallback.sum()),
            "oracle": beam_schedule(known).utility,
            "bound": sum(float(best.sum()) for best, _ in alone),
            "instances": float(gap is not None),
            "gap": gap or 0.0,
        }
    return job.name, found


def gap_to_exhaustive(known: KnownRequests) -> float | None:
    """Returns 1 - utility of the beam / best utility, on those FEW requests in a row that arrive within the
    shortest time; None if there are fewer.
    """
    if len(known) < FEW:
        return None
    spans = known.arrived[FEW - 1 :] - known.arrived[: len(known) - FEW + 1]
    busiest = known.part(int(spans.argmin()), FEW)
    beam = beam_schedule(busiest).utility
    best = max(exhaustive_schedule(busiest, beam).utility, beam)
    return 1 - beam / best if best > 0 else 0.0


def verdict(results: Mapping[str, ByShare], source: str) -> dict[str, Any]:
    """Returns the object that is printed."""
    capacity = shared_case().capacity
    loads: dict[str, Any] = {}
    for share in SHARES:
        cells = {name: by_share[share] for name, by_share in results.items()}
        total = {name: sum(cell[name] for cell in cells.values()) for name in next(iter(cells.values()), {})}
        worst = min(cells, key=lambda name: cells[name]["utility"] / max(cells[name]["oracle"], 1e-9))
        requests = max(total["requests"], 1.0)
        loads[f"{share:g}"] = {
            "utility_vs_oracle": ratio(total["utility"], total["oracle"]),
            "requests": int(total["requests"]),
            "requests_per_second": round(share * capacity, 3),
            **{name: round(total[name] / requests, 4) for name in ("utility", "oracle", "bound")},
            "attainment": round(total["in_time"] / requests, 4),
            **{name: int(total[name]) for name in ("refused", "fallbacks")},
            "worst_trace": worst,
            "worst_trace_vs_oracle": ratio(cells[worst]["utility"], cells[worst]["oracle"]),
        }
    gaps = [cell["gap"] for by_share in results.values() for cell in by_share.values() if cell["instances"]]
    return {
        "load": loads,
        "beam": {
            "width": WIDTH,
            "ahead": AHEAD,
            "exhaustive": {
                "requests": FEW,
                "instances": len(gaps),
                "mean_gap": round(float(np.mean(gaps)), 6) if gaps else None,
                "max_gap": round(max(gaps), 6) if gaps else None,
            },
        },
        "traces": len(results),
        "source": source,
        "capacity_per_second": round(capacity, 3),
        "services": [f"{one.name}: {1e3 * one.slo:g} ms" for one in SERVICES],
        "notes": NOTES,
    }


def detail(results: Mapping[str, ByShare]) -> dict[str, Any]:
    """Returns the sums by trace and share of the capacity."""
    return {
        name: {f"{share:g}": figures for share, figures in by_share.items()}
        for name, by_share in results.items()
    }


def text(found: Mapping[str, Any]) -> str:
    """Returns a table with a line for each share of the capacity, and the gap of the oracle."""
    headings = ["load", "requests", "per second", "utility", "oracle", "ratio", "in time", "refused"]
    rows = [headings]
    for share, load in found["load"].items():
        rows.append(
            [
                f"{float(share):.0%}",
                str(load["requests"]),
                f"{load['requests_per_second']:g}",
                f"{load['utility']:.4f}",
                f"{load['oracle']:.4f}",
                f"{load['utility_vs_oracle']:.4f}",
                f"{load['attainment']:.4f}",
                str(load["refused"]),
            ]
        )
    beam = found["beam"]
    few = beam["exhaustive"]
    return (
        f"{text_table(rows, right=range(1, len(headings)))}\n"
        f"beam of {beam['width']} schedules; gap to exhaustive search on {few['instances']} times "
        f"{few['requests']} requests: mean {few['mean_gap']}, max {few['max_gap']}"
    )


def _count(run: SharedRun, outcome: SharedOutcome) -> float:
    return float((run.outcome == outcome).sum())
