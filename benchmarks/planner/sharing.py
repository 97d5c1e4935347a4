"""Measures the joint choice: gaps to proven bounds, times, HiGHS on the same problems, fairness, scaling.

python -m benchmarks.planner.sharing [--quick]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np

from benchmarks.planner.pools import pool
from edge_planning.sharing import (
    SharingProblem,
    references_of,
    replan_pool,
    share,
    share_by_entitlement,
)
from edge_planning_lab.exact_sharing import share_exactly

Progress = Callable[[str], None]
SIZES = (100, 300, 1000, 3000, 10000)
NODES = 10
HIGHS_SECONDS = 60.0  # for each step: three priorities and the utility


def measure(progress: Progress, *, quick: bool) -> dict[str, object]:
    """The part `sharing` of bench-planner. Medians over seeded pools; 10 entry nodes for the growth."""
    limit = 5.0 if quick else HIGHS_SECONDS
    first = _joint(200, 10, progress, seeds=2 if quick else 5, limit=limit)
    second = _joint(1000, 20, progress, seeds=1 if quick else 3, limit=limit)
    levels = [first.pop("min_tenant"), second.pop("min_tenant")]
    return {
        "joint_200x10x10": first,
        "joint_1000x20x10": second,
        **_incremental(progress, 3 if quick else 9),
        "entitled_200x10x10": _entitled(1.0, progress),
        "entitled_200x10x10_at_30_percent": _entitled(0.3, progress),
        "min_tenant_vs_maxmin": min(levels),
        "scale_exponent": _growth(progress, SIZES[:3] if quick else SIZES),
    }


def _timed(problem: SharingProblem) -> tuple[float, float, float, float, float]:
    """Gap, seconds, seconds for the references, level over its bound, CPU seconds (a busy machine waits)."""
    started = time.perf_counter()
    references = references_of(problem)
    between, busy = time.perf_counter(), time.process_time()
    shared = share(problem, references)
    ended = time.perf_counter()
    busy = time.process_time() - busy
    return shared.gap, ended - between, between - started, shared.level / shared.level_bound, busy


def _joint(services: int, nodes: int, progress: Progress, seeds: int, limit: float) -> dict[str, float]:
    pools = [pool(services, nodes, seed) for seed in range(seeds)]
    runs = [min((_timed(one) for _ in range(3)), key=lambda run: run[1]) for one in pools]
    progress(f"{services} x {nodes} x 10: gaps {[round(run[0], 5) for run in runs]}")
    references = references_of(pools[0])
    held = share(pools[0], references).floor
    started = time.perf_counter()
    exact = share_exactly(pools[0], references, floor=held, seconds=limit, tolerance=1e-4)
    spent = time.perf_counter() - started
    progress(f"HiGHS: {spent:.1f} s, gap {exact.gap:.4f}")
    return {
        "gap": max(run[0] for run in runs),
        "seconds": median(run[1] for run in runs),
        "cpu_seconds": median(run[4] for run in runs),
        "reference_seconds": median(run[2] for run in runs),
        "min_tenant": min(run[3] for run in runs),
        "highs_gap": exact.gap,
        "highs_seconds": spent,
    }


def _entitled(part: float, progress: Progress) -> dict[str, float]:
    """Plans by entitlement at a part of the capacities: CPU seconds, and utility over that of share."""
    problem = pool(200, 10, 0)
    problem = replace(problem, capacity=problem.capacity * part)
    started = time.process_time()
    plan = share_by_entitlement(problem)
    first = time.process_time() - started
    started = time.process_time()
    again = share_by_entitlement(problem.with_current(plan.choices), previous=plan)
    second = time.process_time() - started
    found = {
        "cpu_seconds": first,
        "again_cpu_seconds": second,
        "moves_again": float(len(again.moved)),
        "refused": float(len(plan.refused)),
        "utility_vs_share": plan.utility / share(problem).utility,
    }
    progress(f"by entitlement, capacities x {part}: {found}")
    return found


def _incremental(progress: Progress, changes: int) -> dict[str, float]:
    problem = pool(1000, 20, 0)
    references = references_of(problem)
    shared = share(problem, references)
    rng = np.random.default_rng(0)
    times, busy, ratios = [], [], []
    for number in range(changes):
        name = f"uplink of node-{int(rng.integers(20))}"
        factor = float(rng.uniform(0.7, 1.3))
        now = float(problem.capacity[problem.resources.index(name)])
        changed = problem.with_capacities({name: now * factor})
        started, cpu = time.perf_counter(), time.process_time()
        again = replan_pool(changed, shared, resources=[name])
        times.append((time.perf_counter() - started) * 1000)
        busy.append((time.process_time() - cpu) * 1000)
        if number < 2:
            full = share(changed.with_current(shared.choices), references)
            ratios.append(again.utility / full.utility)
    progress(f"incremental: {[round(one, 1) for one in times]} ms, {min(ratios):.4f} of the full solve")
    return {
        "incremental_ms": median(times),
        "incremental_cpu_ms": median(busy),
        "incremental_vs_full": min(ratios),
    }


def _growth(progress: Progress, sizes: tuple[int, ...]) -> float:
    times = []
    for size in sizes:
        problem = pool(size, NODES, 0)
        times.append(min(_timed(problem)[1] for _ in range(2)))
        progress(f"{size} services x {NODES} entry nodes: {times[-1]:.3f} s")
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(measure(lambda line: print(line, file=sys.stderr), quick=parser.parse_args().quick)))
