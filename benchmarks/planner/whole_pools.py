"""Measures plan_pool: route tables of 200 services at 10 entry nodes, and those after one changed link.

python -m benchmarks.planner.whole_pools [--quick | --large]

Ten models with two exits and three cuts each, four namespaces, two Triton servers, seeded rates, entry nodes
of five classes. `scale` multiplies the rates: 200 services at 25 cannot all have what each would have alone.
--large plans 1,000 services on 100 entry nodes: each at all of them (100,000 demands), and each at ten random
ones, so that no two nodes have the same demands (10,000).
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Slo, Timing, plan_entry
from edge_planning.pools import PoolDemand, PoolNode, PoolProblem, PoolServer, plan_pool

Progress = Callable[[str], None]
TENANTS, MODELS, CLASSES = 4, 10, 5
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Size:
    """A pool to plan: services, each at `each` entry nodes, and the concurrency of its Triton servers."""

    name: str
    services: int
    nodes: int
    scale: float
    each: int | None = None
    concurrency: int = 4


FULL = (Size("roomy", 200, 10, 1.0), Size("crowded", 200, 10, 25.0))
QUICK = (Size("roomy", 20, 10, 1.0), Size("crowded", 10, 10, 25.0))
LARGE = (
    Size("roomy", 1000, 100, 1.0, concurrency=40),
    Size("crowded", 1000, 100, 5.0, concurrency=40),
    Size("sparse_roomy", 1000, 100, 4.0, each=10, concurrency=40),
    Size("sparse_crowded", 1000, 100, 50.0, each=10, concurrency=40),
)


def measure(progress: Progress, *, quick: bool, sizes: Sequence[Size] | None = None) -> dict[str, object]:
    """The part `pools` of bench-planner: CPU seconds, and their ratio to plan_entry once for each service."""
    found: dict[str, object] = {}
    for size in sizes if sizes is not None else QUICK if quick else FULL:
        problem = made(size.services, size.nodes, size.scale, size.each, size.concurrency)
        first = [one for one in problem.demands if one.node == "node-0"]
        alone, _ = _timed(partial(_each_alone, first))
        alone *= size.services / len(first)
        whole, plan = _timed(partial(plan_pool, problem))
        changed = _slower(problem, "node-3")
        link, again = _timed(partial(plan_pool, changed, plan))
        progress(
            f"{size}: {whole:.2f} s, {whole / alone:.1f} x plan_entry, "
            f"{len(plan.refused)} refused; one link {link:.2f} s, {len(again.moved)} moved"
        )
        found[f"pool_{size.services}x{size.nodes}_{size.name}"] = {
            "demands": len(problem.demands),
            "seconds": whole,
            "ratio_to_plan_entry": whole / alone,
            "link_seconds": link,
            "refused": len(plan.refused),
            "late": sum(not one.in_time for one in plan.placed.values()),
            "short": sum(one.short is not None for one in plan.placed.values()),
            "moved": len(again.moved),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    return found


def _each_alone(demands: Sequence[PoolDemand]) -> None:
    for one in demands:
        plan_entry(one.problems[0])


def _timed(action: Callable[[], Result]) -> tuple[float, Result]:
    started = time.process_time()
    result = action()
    return time.process_time() - started, result


def made(
    services: int, nodes: int, scale: float, each: int | None = None, concurrency: int = 4
) -> PoolProblem:
    """Returns the pool of the benchmark: every service at `each` random entry nodes (default: at all)."""
    rng = np.random.default_rng(0)
    models = [_model(f"model-{n}") for n in range(MODELS)]
    seconds = rng.lognormal(np.log(0.002), 0.5, MODELS)
    rates = np.round(rng.uniform(0.02, 0.2, services), 2) * scale
    demands = tuple(
        _demand(models[n % MODELS], float(seconds[n % MODELS]), n, f"node-{node}", float(rates[n]))
        for n in range(services)
        for node in (range(nodes) if each is None else sorted(rng.permutation(nodes)[:each].tolist()))
    )
    return PoolProblem(
        nodes=tuple(
            PoolNode(f"node-{n}", f"class-{n % CLASSES}", 0.9 - 0.05 * (n % CLASSES), 4e9, 1e8)
            for n in range(nodes)
        ),
        servers=tuple(PoolServer(f"triton-{n}", 8e9, concurrency) for n in range(2)),
        demands=demands,
        runtime_memory=100e6,
    )


def _model(name: str) -> Model:
    cuts = (Cut("image", 150_000), Cut("pool1", 40_000), Cut("pool2", 10_000))
    exits = (Exit("early", "early_logits", 0.85, cuts[:2]), Exit("full", "logits", 0.95, cuts))
    segments = {pair for exit_ in exits for pair in exit_.segments()}
    return Model(name, exits, memory=dict.fromkeys(segments, 5e6))


def _demand(model: Model, seconds: float, number: int, node: str, rate: float) -> PoolDemand:
    pairs = [*pairwise(("image", "pool1", "pool2", "logits")), ("pool1", "early_logits")]
    timings = {
        pair: Timing(seconds * part, seconds * part) for pair, part in zip(pairs, (1, 1, 2, 0.5), strict=True)
    }
    entry = ClassProfile("pi", timings)
    remote = ClassProfile("gpu", {pair: Timing(t.mean / 10, t.mean / 10) for pair, t in timings.items()})
    problems = tuple(
        EntryProblem(model, entry, remote, 0.002, Slo(0.1), node=node, peer=f"triton-{n}", bandwidth=1e8)
        for n in range(2)
    )
    return PoolDemand(f"service-{number}", f"tenant-{number % TENANTS}", model.name, problems, rate)


def _slower(problem: PoolProblem, node: str) -> PoolProblem:
    return replace(
        problem,
        demands=tuple(
            replace(one, problems=tuple(replace(each, bandwidth=5e7) for each in one.problems))
            if one.node == node
            else one
            for one in problem.demands
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    found = measure(
        lambda line: print(line, file=sys.stderr, flush=True),
        quick=arguments.quick,
        sizes=LARGE if arguments.large else None,
    )
    print(json.dumps(found))
