"""Figures of runs: sums by policy, and the shares and ratios that are printed."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge_planning.text_tables import text_table
from edge_planning_lab.baselines import Fixed, Policy, SimulatedCandidates, clairvoyant, ranked_splits
from edge_planning_lab.simulation import (
    Bandwidth,
    RequestOutcome,
    Scenario,
    SimulatedServer,
    Stream,
    Uplink,
    simulate,
    summary,
)
from edge_planning_lab.simulation.links import Floats

Figures = dict[str, float]
Cell = Mapping[str, Figures]  # of one trace and deadline, by policy
Results = Mapping[str, Mapping[float, Cell]]  # by trace and deadline
EDGENTS = ("edgent_dynamic", "edgent_dynamic_accuracy", "edgent_static")


def run(
    policy: Policy[Any], options: SimulatedCandidates, link: Bandwidth, arrivals: Floats, seconds: float
) -> Figures:
    """Returns the sums of a run of one service at one entry node."""
    stream = Stream("alexnet", "t", "pi", "up", "desktop", options, policy, arrivals)
    done = simulate(Scenario([Uplink("up", link)], [SimulatedServer("desktop")], [stream], seconds + 10))
    records, total = done.records, summary(done.records)
    return {
        "requests": total.requests,
        "in_time": float((records.outcome == RequestOutcome.IN_TIME).sum()),
        "utility": float(records.utility.sum()),
        "switches": total.switches,
        "bytes": total.bytes + done.probe_bytes["up"],
        "joules": total.joules,
        "fallbacks": total.fallbacks,
    }


def best_static(options: SimulatedCandidates, link: Bandwidth, arrivals: Floats, seconds: float) -> Figures:
    """Returns the figures of the candidate that is the best in hindsight, queues included.

    Without queues a candidate has at least the utility that it has with them, so the search ends at the first
    one that could not be better even then.
    """
    best: Figures | None = None
    for index, bound in ranked_splits(link, options, arrivals):
        if best is not None and bound <= best["utility"]:
            break
        found = run(Fixed("best_static", index), options, link, arrivals, seconds)
        best = found if best is None or found["utility"] > best["utility"] else best
    assert best is not None
    return best


def oracle(options: SimulatedCandidates, link: Bandwidth, arrivals: Floats) -> Figures:
    """Returns the sums of the clairvoyant bound, which ignores queues."""
    best, _ = clairvoyant(link, options, arrivals)
    return {
        "requests": len(arrivals),
        "in_time": float((best > 0).sum()),
        "utility": float(best.sum()),
    }


def pooled(cells: Sequence[Cell]) -> dict[str, Figures]:
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


def by_policy(trace: Mapping[float, Cell]) -> dict[str, dict[str, Figures]]:
    """Returns the shares of one trace by deadline in ms and policy."""
    return {f"{1e3 * slo:g}": {p: shares(f) for p, f in cell.items()} for slo, cell in trace.items()}


def ratio(part: float, whole: float) -> float | None:
    """Returns None if there is nothing to compare with."""
    return round(part / whole, 4) if whole > 0 else None


def missed(total: Cell, policy: str) -> float:
    """Returns the share of requests without a response in time."""
    return 1 - total[policy]["attainment"]


def against_static(found: Cell) -> float:
    """Returns the utility of `ours` relative to the best static split; 1 if that has none."""
    static = found["best_static"]["utility"]
    return found["ours"]["utility"] / static if static > 0 else 1.0


def compared(results: Results, ideal: str) -> dict[str, Any]:
    """Returns the shares over all traces and deadlines, and the ratios of `ours` to the others.

    ideal: the policy whose misses count as unavoidable.
    """
    cells = [cell for trace in results.values() for cell in trace.values()]
    total = pooled(cells)
    by_trace = {name: pooled(list(trace.values())) for name, trace in results.items()}
    worst = min(by_trace, key=lambda name: against_static(by_trace[name]))
    slos = sorted({slo for trace in results.values() for slo in trace})

    def excess(policy: str) -> float:
        return missed(total, policy) - missed(total, ideal)

    return {
        "requests": int(sum(cell["oracle"]["requests"] for cell in cells)),
        "policies": total,
        "worst_trace_vs_best_static": round(against_static(by_trace[worst]), 4),
        "worst_trace": worst,
        "worst_cell_vs_best_static": round(min(against_static(cell) for cell in cells), 4),
        "utility_vs_oracle": ratio(total["ours"]["utility"], total["oracle"]["utility"]),
        **{f"misses_vs_{name}": ratio(missed(total, "ours"), missed(total, name)) for name in EDGENTS},
        **{f"avoidable_misses_vs_{name}": ratio(excess("ours"), excess(name)) for name in EDGENTS},
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


def table(policies: Cell) -> str:
    """Returns the policies as a text table, best utility first."""
    names = sorted(policies, key=lambda name: -policies[name]["utility"])
    headings = ["policy", "attainment", "accuracy", "utility", "switches", "bytes/request", "J/request"]
    rows = [headings]
    for name in names:
        f = policies[name]
        shares_ = [f"{f[share]:.4f}" for share in ("attainment", "accuracy", "utility")]
        known = "bytes_per_request" in f
        costs = [f"{f['bytes_per_request']:.0f}", f"{f['joules_per_request']:.3f}"] if known else ["", ""]
        rows.append([name, *shares_, f"{f['switches']:.0f}", *costs])
    return text_table(rows, right=range(1, len(headings)))
