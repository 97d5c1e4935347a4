"""The best plan of a small pool by exhaustive search, and how far plan_pool is from it.

python -m benchmarks.planner.pool_referee [--quick]

The search tries every candidate of every demand (exit, cut, codec, places), and its refusal. It judges each
combination as plan_pool does: within all capacities, with the waits that the demands cause together, fewest
refusals by priority, then the accuracy of the responses in time. One tenant has the whole pool, so
entitlements play no part.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Slo, Timing
from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.pools import PoolDemand, PoolNode, PoolPlan, PoolProblem, PoolServer, plan_pool
from edge_planning.pools.costed import Costed, Costs, planned_bandwidth
from edge_planning.pools.figures import Figures
from edge_planning.pools.groups import steady
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.questions import Questions
from edge_planning.pools.units import Score, Unit, score

Progress = Callable[[str], None]
CUTS = (Cut("image", 20_000), Cut("pool1", 8_000), Cut("pool2", 2_000))
SECONDS = (0.01, 0.01, 0.03)
EXITS = (Exit("early", "early_logits", 0.8, CUTS[:2]), Exit("full", "logits", 0.95, CUTS))
SEGMENTS = dict(zip(pairwise(("image", "pool1", "pool2", "logits")), SECONDS, strict=True)) | {
    ("pool1", "early_logits"): 0.005
}


def measure(progress: Progress, *, quick: bool) -> dict[str, object]:
    """The part `pool_gap` of bench-planner: plan_pool against the best plans of small pools."""
    refusals, gaps = [], []
    seeds = range(20 if quick else 200)
    for seed in seeds:
        problem = small_pool(seed)
        best, reached = best_score(problem), plan_score(problem, plan_pool(problem))
        more = sum(reached[0]) - sum(best[0])
        refusals.append(more)
        if not more and best[1]:
            gaps.append(1 - reached[1] / best[1])
    found: dict[str, object] = {
        "small_pools": len(seeds),
        "more_refusals": sum(more > 0 for more in refusals),
        "accuracy_gap_mean": float(np.mean(gaps)),
        "accuracy_gap_p95": float(np.percentile(gaps, 95)),
        "accuracy_gap_max": max(gaps),
    }
    progress(f"{len(seeds)} small pools: {found}")
    return found


def small_pool(seed: int, demands: int = 4) -> PoolProblem:
    """Returns a pool of one tenant at two entry nodes, in which most demands compete for something."""
    rng = np.random.default_rng(seed)
    entry, remote = (
        ClassProfile(name, {pair: Timing(s * factor, s * factor) for pair, s in SEGMENTS.items()})
        for name, factor in (("pi", 1.0), ("gpu", 0.1))
    )
    model = Model("digits", EXITS, memory=dict.fromkeys(SEGMENTS, 10e6))
    found = []
    for number in range(int(rng.integers(2, demands + 1))):
        node = f"edge-{'ab'[number % 2]}"
        slo = Slo(float(rng.choice([0.03, 0.06, 0.2])))
        problem = EntryProblem(model, entry, remote, 0.001, slo, node=node, peer="cloud")
        rate, priority = float(rng.choice([0.5, 4.0, 12.0, 25.0])), int(rng.choice([0, 100]))
        digest = f"sha256:{rng.integers(2)}"
        found.append(PoolDemand(f"service-{number}", "shop", digest, (problem,), rate, priority=priority))
    nodes = tuple(
        PoolNode(
            f"edge-{name}",
            "pi",
            cpu=float(rng.choice([0.2, 0.5, 1.0])),
            memory=float(rng.choice([70e6, 100e6, 1e9])),
            uplink=float(rng.choice([0.2e6, 2e6, 50e6])),
        )
        for name in "ab"
    )
    server = PoolServer("cloud", float(rng.choice([25e6, 200e6])), int(rng.choice([1, 2])))
    return PoolProblem(nodes, (server,), tuple(found), runtime_memory=30e6)


def best_score(problem: PoolProblem) -> Score:
    """Returns the lowest score of any plan."""
    given = steady(problem)
    uplinks = {one.name: one.uplink for one in given.nodes}
    memory = {one.name: one.memory for one in given.nodes}
    costs = Costs(Questions(), Figures(), uplinks, memory, given.runtime_memory)
    units = [Unit(one, 1) for one in given.demands]
    every = [costs.costed(one, {}, every=True) for one in given.demands]
    ledger = Ledger(given, capacities(given, UPLINK_SHARE))
    return _search(units, every, ledger, {}, None)


def _search(
    units: Sequence[Unit],
    every: Sequence[Sequence[Costed]],
    ledger: Ledger,
    worth: dict[str, float],
    best: Score | None,
    at: int = 0,
) -> Score:
    """Returns the best score with these first choices, or `best` if that is lower."""
    if at == len(units):
        reached = score(units, worth, ledger)
        return reached if best is None else min(best, reached)
    name = units[at].name
    for one in every[at]:
        held = Held(units[at].demand, one.reserved)
        if ledger.fits(held):
            ledger.add(held)
            best = _search(units, every, ledger, worth | {name: one.worth}, best, at + 1)
            ledger.remove(name)
    return _search(units, every, ledger, worth, best, at + 1)


def plan_score(problem: PoolProblem, plan: PoolPlan) -> Score:
    """Returns the score of a plan."""
    given = steady(problem)
    uplinks = {one.name: one.uplink for one in given.nodes}
    refused: dict[int, int] = {}
    gained = 0.0
    for demand in given.demands:
        refused.setdefault(demand.priority, 0)
        if demand.name in plan.refused:
            refused[demand.priority] += 1
        elif plan.placed[demand.name].in_time:
            bandwidth = planned_bandwidth(demand.problems[0], uplinks)
            gained += Unit(demand, 1).weight * plan.placed[demand.name].plan.table.at(bandwidth).accuracy
    return tuple(refused[priority] for priority in sorted(refused, reverse=True)), -gained


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(measure(lambda line: print(line, file=sys.stderr), quick=parser.parse_args().quick)))
