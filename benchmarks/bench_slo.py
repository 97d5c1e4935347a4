"""Compares the planner with published methods on bandwidth traces: `make bench-slo TRACES=dir`.

Edgent's AlexNet with five exits on a Raspberry Pi 3 and a desktop (both as published), deadlines of 100 to
1,000 ms, one request every three seconds. Prints one JSON object as its last line; the figures of each trace
and deadline are written to a file (--out). Progress is printed to stderr.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np

from edge_planning import EntryProblem, Infeasible, RouteTable, Slo, Tables, candidates, plan_entry
from edge_planning.choosing.tables import useful
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.edgent import alexnet
from edge_planning.costs.estimates import class_profile
from edge_planning.routing.deadlines import DeadlineAction
from edge_planning_lab.baselines import (
    AtMeasured,
    EdgentDynamic,
    Fixed,
    Options,
    Policy,
    Power,
    clairvoyant,
    cloud_only,
    dads,
    edgent,
    local_only,
    neurosurgeon_latency,
    options_of,
    ranked_splits,
    right_sizing_only,
)
from edge_planning_lab.simulation import (
    Bandwidth,
    ChangePoints,
    LognormalProcess,
    OutageProcess,
    Outcome,
    ProductPolicy,
    Scenario,
    Server,
    Stream,
    Uplink,
    constant,
    poisson,
    read_trace,
    simulate,
    summary,
)
from edge_planning_lab.simulation.plots import comparison, timeline

SLOS = tuple(n / 10 for n in range(1, 11))
QUICK_SLOS = (0.1, 0.2, 0.5)
RTT = 0.005
POWER = Power(computing=1.8, sending=0.7)  # watts; an assumption, the sources of latency have none
STATICS = 3  # number of the best candidates in hindsight that are simulated with queues
SYNTHETIC = 40
SECONDS = 900.0
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
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Job:
    """One trace: its name, its text or its seed, and the requested figures."""

    name: str
    text: str | None
    seed: int
    slos: tuple[float, ...]
    every: float
    arrivals: str
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The setting of one deadline. every: all candidates, for policies that know the trace."""

    options: Options
    every: Options
    table: RouteTable


@cache
def case(deadline: float, pixels: float = 4) -> Case:
    """Returns the candidates and the product's route table; pixels: bytes sent per color of a pixel.

    As published the image crosses the link in fp32. CIFAR-10's pixels have 8 bits, so sent as int8 nothing
    is lost.
    """
    model = alexnet()
    exits = tuple(
        replace(
            exit_, cuts=(replace(exit_.cuts[0], size=round(exit_.cuts[0].size * pixels / 4)), *exit_.cuts[1:])
        )
        for exit_ in model.exits
    )
    model = replace(model, exits=exits)
    device, server = class_profile(model, RASPBERRY_PI_3), class_profile(model, DESKTOP)
    problem = EntryProblem(model, device, server, RTT, Slo(deadline), tables=Tables())
    plan = plan_entry(problem)
    assert not isinstance(plan, Infeasible), plan.reasons
    every = candidates(problem)
    return Case(
        options_of(useful(every), deadline, POWER),
        options_of(every, deadline, POWER),
        plan.table,
    )


def link_of(job: Job) -> Bandwidth:
    """The trace, or the synthetic process of the job's seed: every fourth one with outages."""
    if job.text is not None:
        return read_trace(job.text)
    rng = np.random.default_rng(job.seed)
    if job.seed % 4 == 3:
        return OutageProcess().sample(rng, job.seconds)
    return LognormalProcess().sample(rng, job.seconds)


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


def measure(job: Job) -> tuple[str, dict[float, dict[str, Figures]]]:
    """Returns the figures of one trace by deadline and policy."""
    link = link_of(job)
    period = link.period or job.seconds
    rng = np.random.default_rng(zlib.crc32(job.name.encode()))
    arrivals = (
        poisson(rng, 1 / job.every, period)
        if job.arrivals == "poisson"
        else constant(1 / job.every, period, float(rng.uniform(0, job.every)))
    )
    found: dict[float, dict[str, Figures]] = {}
    for deadline in job.slos:
        this = case(deadline)

        def run(policy: Policy[Any], options: Options) -> Figures:
            stream = Stream("alexnet", "t", "pi", "up", "desktop", options, policy, arrivals)
            scenario = Scenario([Uplink("up", link)], [Server("desktop")], [stream], period + 10)
            done = simulate(scenario)
            records, total = done.records, summary(done.records)
            return {
                "requests": total.requests,
                "in_time": float((records.outcome == Outcome.IN_TIME).sum()),
                "utility": float(records.utility.sum()),
                "switches": total.switches,
                "bytes": total.bytes + done.probe_bytes["up"],
                "joules": total.joules,
                "fallbacks": total.fallbacks,
            }

        figures = {policy.name: run(policy, this.options) for policy in policies(this, 1 / job.every)}
        small = case(deadline, 1)
        figures["ours_int8"] = run(ProductPolicy(small.table, name="ours_int8"), small.options)
        splits = ranked_splits(link, this.every, arrivals)[:STATICS]
        statics = [run(Fixed("best_static", i), this.every) for i in splits]
        figures["best_static"] = max(statics, key=lambda f: f["utility"])
        for name, options in (("oracle", this.every), ("oracle_int8", small.every)):
            best, _ = clairvoyant(link, options, arrivals)
            kept = float((best > 0).sum())
            figures[name] = {"requests": len(arrivals), "in_time": kept, "utility": float(best.sum())}
        found[deadline] = figures
    return job.name, found


def pooled(cells: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Returns sums over cells (a trace and a deadline) by policy, and their shares."""
    totals: dict[str, Figures] = {}
    for cell in cells:
        for policy, figures in cell.items():
            total = totals.setdefault(policy, {})
            for name, value in figures.items():
                total[name] = total.get(name, 0.0) + value
    return {policy: shares(total) for policy, total in totals.items()}


def shares(total: Figures) -> Figures:
    """Returns attainment, accuracy and utility of summed figures, and bytes and joules per request."""
    requests, kept = max(total["requests"], 1.0), total["in_time"]
    found = {
        "attainment": kept / requests,
        "accuracy": total["utility"] / kept if kept else 0.0,
        "utility": total["utility"] / requests,
        "switches": total.get("switches", 0.0),
    }
    found |= {
        f"{name}_per_request": total[name] / requests
        for name in ("bytes", "joules", "fallbacks")
        if name in total
    }
    return {name: round(value, 6) for name, value in found.items()}


def ratio(part: float, whole: float) -> float | None:
    """Returns None if there is nothing to compare with."""
    return round(part / whole, 4) if whole > 0 else None


def verdict(results: Mapping[str, Mapping[float, Mapping[str, Figures]]], source: str) -> dict[str, Any]:
    """Returns the object that is printed."""
    cells = [cell for trace in results.values() for cell in trace.values()]
    total = pooled(cells)
    slos = sorted({slo for trace in results.values() for slo in trace})
    by_trace = {name: pooled(list(trace.values())) for name, trace in results.items()}

    def missed(policy: str) -> float:
        return 1 - total[policy]["attainment"]

    def excess(policy: str) -> float:
        return missed(policy) - missed("oracle")

    def against_static(found: Mapping[str, Figures]) -> float:
        static = found["best_static"]["utility"]
        return found["ours"]["utility"] / static if static > 0 else 1.0

    worst = min(by_trace, key=lambda name: against_static(by_trace[name]))
    edgents = ("edgent_dynamic", "edgent_dynamic_accuracy", "edgent_static")
    return {
        "traces": len(results),
        "source": source,
        "requests": int(sum(cell["oracle"]["requests"] for cell in cells)),
        "policies": total,
        "worst_trace_vs_best_static": round(against_static(by_trace[worst]), 4),
        "worst_trace": worst,
        "worst_cell_vs_best_static": round(min(against_static(cell) for cell in cells), 4),
        "utility_vs_oracle": ratio(total["ours"]["utility"], total["oracle"]["utility"]),
        **{f"misses_vs_{name}": ratio(missed("ours"), missed(name)) for name in edgents},
        **{f"avoidable_misses_vs_{name}": ratio(excess("ours"), excess(name)) for name in edgents},
        **{f"int8_misses_vs_{name}": ratio(missed("ours_int8"), missed(name)) for name in edgents},
        "by_slo_ms": {
            f"{1e3 * slo:g}": {
                policy: [figures["attainment"], figures["utility"]]
                for policy, figures in pooled(
                    [trace[slo] for trace in results.values() if slo in trace]
                ).items()
            }
            for slo in slos
        },
    }


def text(answer: Mapping[str, Any]) -> str:
    """Returns the policies as a text table, best utility first."""
    policies: Mapping[str, Figures] = answer["policies"]
    names = sorted(policies, key=lambda name: -policies[name]["utility"])
    lines = [f"{'policy':24} attainment accuracy utility switches bytes/request J/request"]
    for name in names:
        f = policies[name]
        shares_ = f"{f['attainment']:10.4f} {f['accuracy']:8.4f} {f['utility']:7.4f}"
        known = "bytes_per_request" in f
        costs = f"{f['bytes_per_request']:13.0f} {f['joules_per_request']:9.3f}" if known else ""
        lines.append(f"{name:24} {shares_} {f['switches']:8.0f} {costs}".rstrip())
    return "\n".join(lines)


def draw(answer: Mapping[str, Any], job: Job, folder: Path) -> None:
    """All deadlines in slo-comparison.svg, the product at 200 ms on the first trace in slo-timeline.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {float(name): cell for name, cell in answer["by_slo_ms"].items()}
    (folder / "slo-comparison.svg").write_text(comparison(figures, DRAWN))
    this, link = case(0.2), link_of(job)
    arrivals = constant(1 / job.every, 200.0)
    stream = Stream("alexnet", "t", "pi", "up", "desktop", this.options, ProductPolicy(this.table), arrivals)
    run = simulate(Scenario([Uplink("up", link)], [Server("desktop")], [stream], 210.0))
    (folder / "slo-timeline.svg").write_text(timeline(run))


def bar(done: int, total: int, started: float) -> None:
    """Prints a progress bar to stderr."""
    filled = 30 * done // total
    seconds = time.perf_counter() - started
    end = "\n" if done == total else ""
    line = f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} traces, {seconds:.0f} s"
    print(line, end=end, file=sys.stderr, flush=True)


def pool_of(processes: int) -> Pool:
    """Fresh processes."""
    return multiprocessing.get_context("spawn").Pool(processes)


def jobs_of(arguments: argparse.Namespace) -> tuple[list[Job], str]:
    """Returns one job for each trace, and the source of the traces."""
    slos = QUICK_SLOS if arguments.quick else SLOS
    more = (slos, arguments.every, arguments.arrivals, 120.0 if arguments.quick else SECONDS)
    if arguments.traces is None:
        count = 6 if arguments.quick else SYNTHETIC
        source = "synthetic: Markov-modulated lognormal AR(1), every fourth Gilbert-Elliott; seeds from 0"
        return [Job(f"synthetic-{seed:03}", None, seed, *more) for seed in range(count)], source
    files = sorted(path for path in arguments.traces.iterdir() if path.is_file())
    chosen = files[:: max(len(files) // 6, 1)] if arguments.quick else files
    return [Job(path.name, path.read_text(), 0, *more) for path in chosen], str(arguments.traces)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures all traces, in one process per CPU."""
    parser = argparse.ArgumentParser(prog="bench_slo", description=__doc__)
    parser.add_argument("--traces", type=Path, help="a folder of files with lines `seconds Mbit/s`")
    parser.add_argument("--out", type=Path, default=Path("build/bench-slo.json"), help="figures by trace")
    parser.add_argument("--quick", action="store_true", help="few traces and deadlines, in seconds")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between requests")
    parser.add_argument("--arrivals", choices=("constant", "poisson"), default="constant")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draws the comparison and a run as SVG")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args(argv)
    jobs, source = jobs_of(arguments)
    if not jobs:
        parser.error(f"no traces in {arguments.traces}")
    results: dict[str, dict[float, dict[str, Figures]]] = {}
    started = time.perf_counter()
    bar(0, len(jobs), started)
    with pool_of(arguments.processes) as pool:
        longest_first = sorted(jobs, key=lambda job: -len(job.text or ""))
        for name, found in pool.imap_unordered(measure, longest_first):
            results[name] = found
            bar(len(results), len(jobs), started)
    results = dict(sorted(results.items()))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    detail = {
        name: {f"{1e3 * slo:g}": {p: shares(f) for p, f in cell.items()} for slo, cell in trace.items()}
        for name, trace in results.items()
    }
    arguments.out.write_text(json.dumps({"source": source, "traces": detail}, indent=1) + "\n")
    answer = verdict(results, source)
    if arguments.plots:
        draw(answer, jobs[0], arguments.plots)
    print(text(answer), file=sys.stderr)
    settings = {"quick": arguments.quick, "every": arguments.every, "arrivals": arguments.arrivals}
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps(answer | settings | {"seconds": seconds, "by_trace": str(arguments.out)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
