"""Requests that rarely wait for each other: one every few seconds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.slo.cases import Case, case
from benchmarks.slo.figures import (
    EDGENTS,
    Figures,
    Results,
    best_static,
    by_policy,
    compared,
    missed,
    oracle,
    ratio,
    run,
    table,
)
from benchmarks.slo.jobs import TraceJob, link_of
from edge_planning.routing.deadlines import DeadlineAction
from edge_planning_lab.baselines import (
    AtMeasured,
    EdgentDynamic,
    Policy,
    cloud_only,
    dads,
    edgent,
    local_only,
    neurosurgeon_latency,
    right_sizing_only,
)
from edge_planning_lab.simulation import (
    ChangePoints,
    ProductPolicy,
    Scenario,
    SimulatedServer,
    Stream,
    Uplink,
    constant,
    poisson,
    simulate,
)
from edge_planning_lab.simulation.plots import comparison, timeline

DRAWN = (
    "ours",
    "ours_wait",
    "edgent_static",
    "edgent_dynamic",
    "neurosurgeon",
    "best_static",
    "right_sizing_only",
    "local_only",
    "cloud_only",
    "oracle",
)


def policies(found: Case, rate: float) -> Iterator[Policy[Any]]:
    """Returns all policies except the two that need hindsight."""
    yield ProductPolicy(found.table)
    yield ProductPolicy(found.table, DeadlineAction.WAIT, name="ours_wait")
    yield ChangePoints(found.table)
    yield AtMeasured("edgent_static", edgent)
    yield EdgentDynamic()
    yield EdgentDynamic(rewarded=False, name="edgent_dynamic_accuracy")
    yield AtMeasured("neurosurgeon", neurosurgeon_latency)
    yield AtMeasured("dads", dads(rate))
    yield right_sizing_only(found.options)
    yield local_only(found.options)
    yield cloud_only(found.options)


def measure(job: TraceJob) -> tuple[str, dict[float, dict[str, Figures]]]:
    """Returns the figures of one trace by deadline and policy."""
    link = link_of(job)
    period = link.period or job.seconds
    rng, rate = job.random(), 1 / job.every
    arrivals = (
        poisson(rng, rate, period)
        if job.arrivals == "poisson"
        else constant(rate, period, float(rng.uniform(0, job.every)))
    )
    found: dict[float, dict[str, Figures]] = {}
    for deadline in job.slos:
        this, small = case(deadline), case(deadline, 1)
        figures = {
            policy.name: run(policy, this.options, link, arrivals, period) for policy in policies(this, rate)
        }
        ours_int8 = ProductPolicy(small.table, name="ours_int8")
        figures["ours_int8"] = run(ours_int8, small.options, link, arrivals, period)
        figures["best_static"] = best_static(this.every, link, arrivals, period)
        figures["oracle"] = oracle(this.every, link, arrivals)
        figures["oracle_int8"] = oracle(small.every, link, arrivals)
        found[deadline] = figures
    return job.name, found


def verdict(results: Results, source: str) -> dict[str, Any]:
    """Returns the object that is printed."""
    found = compared(results, "oracle")
    total = found["policies"]
    small = {
        f"int8_misses_vs_{name}": ratio(missed(total, "ours_int8"), missed(total, name)) for name in EDGENTS
    }
    return {"traces": len(results), "source": source, **found, **small}


def detail(results: Results) -> dict[str, Any]:
    """Returns the shares by trace, deadline and policy."""
    return {name: by_policy(trace) for name, trace in results.items()}


def text(found: Mapping[str, Any]) -> str:
    """Returns a table of the policies."""
    return table(found["policies"])


def draw(found: Mapping[str, Any], job: TraceJob, folder: Path) -> None:
    """All deadlines in slo-comparison.svg, the product at 200 ms on the first trace in slo-timeline.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {float(name): cell for name, cell in found["by_slo_ms"].items()}
    (folder / "slo-comparison.svg").write_text(comparison(figures, DRAWN))
    this, link = case(0.2), link_of(job)
    arrivals = constant(1 / job.every, 200.0)
    stream = Stream("alexnet", "t", "pi", "up", "desktop", this.options, ProductPolicy(this.table), arrivals)
    timed = simulate(Scenario([Uplink("up", link)], [SimulatedServer("desktop")], [stream], 210.0))
    (folder / "slo-timeline.svg").write_text(timeline(timed))
