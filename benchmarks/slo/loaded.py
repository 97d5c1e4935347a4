"""Poisson arrivals at shares of the entry node's capacity, one service a node.

The capacity is 1 / (compute seconds of the entry node for its cheapest exit) requests per second: the most
that the node completes if it computes every request itself, by the exit that takes it the least time. What it
can hand to the server is not part of it.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from benchmarks.slo.cases import Case, case
from benchmarks.slo.figures import (
    Figures,
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
from edge_planning_lab.baselines import AtMeasured, EdgentDynamic, Oracle, Policy, SimulatedCandidates, edgent
from edge_planning_lab.simulation import Bandwidth, ProductPolicy, poisson
from edge_planning_lab.simulation.links import Floats

SHARES = (0.3, 0.6, 0.9)  # of the capacity
SECONDS = 120.0  # simulated of each trace
PRICES = (0.0, 1.0, 4.0)  # accuracy per second of the time of the node and of the link
NOTES = {
    "capacity_per_second": "1 / (compute seconds of the entry node for its cheapest exit)",
    "ours": "the table is planned for the rate of requests (slo.throughput); ours_wait: the same",
    "ours_unstated": "the table is planned without slo.throughput",
    "oracle": "ignores queues: an upper bound for every policy",
    "oracle_queued": "knows the trace and its own queues; prices of node and link are the best of a grid in "
    "hindsight; not a bound",
}

ByDeadline = dict[float, dict[str, Figures]]
ByShare = dict[float, ByDeadline]


def capacity(options: SimulatedCandidates) -> float:
    """Returns the requests per second that the entry node can compute by its cheapest exit."""
    return 1 / min(float(options.head[i]) for i in options.local)


def policies(planned: Case, unstated: Case) -> Iterator[Policy[Any]]:
    """Returns the policies that do not know the trace."""
    yield ProductPolicy(planned.table)
    yield ProductPolicy(planned.table, DeadlineAction.WAIT, name="ours_wait")
    yield ProductPolicy(unstated.table, name="ours_unstated")
    yield AtMeasured("edgent_static", edgent)
    yield EdgentDynamic()
    yield EdgentDynamic(rewarded=False, name="edgent_dynamic_accuracy")


def oracle_queued(options: SimulatedCandidates, link: Bandwidth, arrivals: Floats, seconds: float) -> Figures:
    """Returns the figures of the oracle that waits in queues, at the best prices of the grid."""
    runs = [
        run(Oracle(link, node_price=node, link_price=sent), options, link, arrivals, seconds)
        for node, sent in product(PRICES, PRICES)
    ]
    return max(runs, key=lambda figures: figures["utility"])


def measure(job: TraceJob) -> tuple[str, ByShare]:
    """Returns the figures of one trace by share of the capacity, deadline and policy."""
    link = link_of(job)
    seconds = min(link.period or job.seconds, SECONDS)
    found: ByShare = {}
    for share in SHARES:
        by_deadline = found.setdefault(share, {})
        for deadline in job.slos:
            unstated = case(deadline)
            rate = share * capacity(unstated.options)
            planned = case(deadline, rate=rate)
            arrivals = poisson(job.random(round(100 * share)), rate, seconds)
            figures = {
                policy.name: run(policy, unstated.every, link, arrivals, seconds)
                for policy in policies(planned, unstated)
            }
            figures["best_static"] = best_static(unstated.every, link, arrivals, seconds)
            figures["oracle"] = oracle(unstated.every, link, arrivals)
            figures["oracle_queued"] = oracle_queued(unstated.options, link, arrivals, seconds)
            by_deadline[deadline] = figures
    return job.name, found


def verdict(results: Mapping[str, ByShare], source: str) -> dict[str, Any]:
    """Returns the object that is printed: the comparison at each share of the capacity."""
    most = capacity(case(0.1).options)
    loads: dict[str, Any] = {}
    for share in SHARES:
        found = compared({name: by_share[share] for name, by_share in results.items()}, "oracle_queued")
        total = found["policies"]
        loads[f"{share:g}"] = {
            "requests_per_second": round(share * most, 3),
            **found,
            "utility_vs_oracle_queued": ratio(total["ours"]["utility"], total["oracle_queued"]["utility"]),
            "utility_vs_best_static": ratio(total["ours"]["utility"], total["best_static"]["utility"]),
            "misses_vs_best_static": ratio(missed(total, "ours"), missed(total, "best_static")),
            "unstated_utility_vs_best_static": ratio(
                total["ours_unstated"]["utility"], total["best_static"]["utility"]
            ),
        }
    return {
        "traces": len(results),
        "source": source,
        "capacity_per_second": round(most, 3),
        "notes": NOTES,
        "loads": loads,
    }


def detail(results: Mapping[str, ByShare]) -> dict[str, Any]:
    """Returns the shares by trace, share of the capacity, deadline and policy."""
    return {
        name: {f"{share:g}": by_policy(by_deadline) for share, by_deadline in by_share.items()}
        for name, by_share in results.items()
    }


def text(found: Mapping[str, Any]) -> str:
    """Returns a table of the policies at each share of the capacity."""
    return "\n".join(
        f"{float(share):.0%} of the entry node's capacity, {load['requests_per_second']:g} requests/s:\n"
        f"{table(load['policies'])}"
        for share, load in found["loads"].items()
    )
