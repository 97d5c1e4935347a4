"""Measures correctness and speed of one entry node's choice: `python -m benchmarks.planner.chain [--quick]`.

Random instances are compared with enumeration in plain Python. The times are those of one decision at a new
bandwidth, and of the preparation.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from edge_planning import (
    FP32,
    OBJECTIVES,
    ClassProfile,
    Codec,
    Cut,
    EntryProblem,
    Exit,
    IntermediateNode,
    Load,
    Mode,
    Model,
    Prices,
    Slo,
    Timing,
    candidates,
    choose,
    plan_entry,
    rejected,
)
from edge_planning.costs.energy import LTE
from edge_planning_lab.baselines.choosers import chooser


def instance(rng: np.random.Generator) -> EntryProblem:
    """Returns a random chain with up to 4 exits, 5 cuts, three codecs and an intermediate node."""
    cuts = tuple(Cut(f"t{n}", int(rng.integers(100, 200_000))) for n in range(rng.integers(1, 6)))
    depths = sorted(rng.integers(1, len(cuts) + 1, rng.integers(1, 5)).tolist())
    accuracy = rng.choice([0.5, 0.7, 0.8, 0.9, 0.95], len(depths)).tolist()
    exits = tuple(Exit(f"e{n}", f"o{n}", accuracy[n], cuts[:depth]) for n, depth in enumerate(depths))
    profiles = [_profile(exits, rng, scale) for scale in (1.0, 0.4, 0.1)]
    losses = {e.name: 0.01 for e in exits[rng.integers(0, 2) :]}
    codecs = (FP32, Codec("fp16", 0.5, losses), Codec("int8", 0.25, {k: v * 3 for k, v in losses.items()}))[
        : rng.integers(1, 4)
    ]
    intermediate = IntermediateNode("h", profiles[1], float(rng.lognormal(17, 1)), 0.001, Load(1.0, 0.002))
    return EntryProblem(
        Model("m", exits),
        profiles[0],
        profiles[2],
        float(rng.uniform(0, 0.02)),
        Slo(float(rng.lognormal(-2, 1))),
        mode=list(Mode)[rng.integers(0, 5)],
        objective=list(OBJECTIVES.values())[rng.integers(0, len(OBJECTIVES))],
        codecs=codecs,
        intermediates=(intermediate,) if rng.random() < 0.5 else (),
        active_power=2.0,
        radio=LTE,
        remote_load=Load(1.2, 0.003),
        prices=Prices(*rng.lognormal(-6, 2, 3).tolist()),
    )


def _profile(exits: tuple[Exit, ...], rng: np.random.Generator, scale: float) -> ClassProfile:
    segments = sorted({segment for e in exits for segment in e.segments()})
    means = rng.lognormal(-4, 1, len(segments)) * scale
    return ClassProfile("c", {s: Timing(m, 1.2 * m) for s, m in zip(segments, means.tolist(), strict=True)})


Placement = tuple[float, float, float, float, float]  # latency, accuracy, joules, bottleneck, cost


def _cost(problem: EntryProblem, tail: float, bits: float, joules: float) -> float:
    prices = problem.prices
    return prices.triton_second * tail + prices.uplink_gigabyte * bits / 8e9 + prices.joule * joules


def placements(problem: EntryProblem, bandwidth: float) -> Iterator[Placement]:
    """Yields every candidate, enumerated in the most direct way."""
    remote, radio = problem.remote, problem.radio
    assert remote is not None
    assert radio is not None
    full = problem.mode not in (Mode.AUTO, Mode.RIGHT_SIZING_ONLY)
    for e in problem.model.exits[-1:] if full else problem.model.exits:
        near, far = ([c.segments[s].mean for s in e.segments()] for c in (problem.entry, remote))
        far = [m * problem.remote_load.scale for m in far]
        wait = problem.remote_load.wait
        usable = [c for c in problem.codecs if c.losses is None or e.name in c.losses]
        lost = {c.name: (c.losses or {}).get(e.name, 0.0) for c in usable}
        if problem.mode is not Mode.CLOUD_ONLY:
            joules = sum(near) * problem.active_power
            yield sum(near) * 1.2, e.accuracy, joules, sum(near), _cost(problem, 0, 0, joules)
        if problem.mode in (Mode.LOCAL_ONLY, Mode.RIGHT_SIZING_ONLY):
            continue
        places = range(1 if problem.mode is Mode.CLOUD_ONLY else len(e.cuts))
        for i, c in product(places, usable):
            head, tail, bits = sum(near[:i]), sum(far[i:]), e.cuts[i].size * 8 * c.ratio
            send = bits / bandwidth
            joules = head * problem.active_power + bits * radio.watts_per_bit + radio.base * send
            total = (head + tail) * 1.2 + send + problem.rtt + wait
            cost = _cost(problem, tail, bits, joules)
            yield total, max(e.accuracy - lost[c.name], 0), joules, max(head, tail, send), cost
        if problem.mode is Mode.CLOUD_ONLY:
            continue
        for h, i, c in product(problem.intermediates, places, usable):
            there = [h.profile.segments[s].mean for s in e.segments()]
            head, sent = sum(near[:i]), e.cuts[i].size * 8 * c.ratio
            hop = sent / h.bandwidth
            joules = head * problem.active_power + sent * radio.watts_per_bit + radio.base * hop
            begun, first = head * 1.2 + hop + h.rtt + h.load.wait, e.accuracy - lost[c.name]
            middle = sum(there[i:])
            cost = _cost(problem, 0, 0, joules)
            yield begun + middle * 1.2, max(first, 0), joules, max(head, hop, middle), cost
            for j in range(i + 1, len(e.cuts)):
                middle, tail = sum(there[i:j]), sum(far[j:])
                for d in usable:
                    bits = e.cuts[j].size * 8 * d.ratio
                    send, cost = bits / bandwidth, _cost(problem, tail, bits, joules)
                    total = begun + (middle + tail) * 1.2 + send + problem.rtt + wait
                    slowest = max(head, hop, middle, send, tail)
                    yield total, max(first - lost[d.name], 0), joules, slowest, cost


def equal(problem: EntryProblem, bandwidth: float) -> bool:
    """Whether the engine's choice equals the best candidate by the objective and its tie-breaks."""
    deadline, objective = problem.slo.latency, problem.objective
    options = candidates(problem)
    choice = choose(options, deadline, bandwidth, objective)
    assert choice is not None
    i = choice.index
    mine = (
        choice.latency,
        float(options.accuracy[i]),
        float(options.energies(bandwidth)[i]),
        float(options.bottlenecks(bandwidth)[i]),
        float(options.costs(bandwidth)[i]),
    )
    every = list(placements(problem, bandwidth))
    in_time = [each for each in every if each[0] <= deadline]
    if objective.name == "Latency":
        best, got = min(each[0] for each in every), mine[0]
    elif objective.name == "Throughput":
        best, got = min(each[3] for each in every), mine[3]
    elif not in_time:
        best, got = min(each[0] for each in every), mine[0]
    elif objective.name == "Energy":
        best, got = min(each[2] for each in in_time), mine[2]
    elif objective.name == "Cost":
        best, got = min(each[4] for each in in_time), mine[4]
    else:
        top = max(each[1] for each in in_time)
        if abs(mine[1] - top) > 1e-12:
            return False
        best, got = min(each[0] for each in in_time if each[1] >= top - 1e-12), mine[0]
    return abs(best - got) <= 1e-9 * max(abs(best), 1e-12)


def big(exits: int, layers: int) -> EntryProblem:
    """A chain of `layers` cuts with exits along it."""
    rng = np.random.default_rng(7)
    cuts = tuple(Cut(f"t{n}", int(rng.integers(1_000, 500_000))) for n in range(layers))
    made = tuple(Exit(f"e{n}", f"o{n}", 0.5 + 0.04 * n, cuts) for n in range(exits))
    profiles = [_profile(made, rng, scale) for scale in (0.05, 0.005)]
    return EntryProblem(Model("m", made), profiles[0], profiles[1], 0.005, Slo(0.3))


def measure(progress: Callable[[str], None], *, quick: bool) -> dict[str, object]:
    """chain_equal_exhaustive (a share), a decision in us; construction, plan_entry and rejected in ms."""
    rng, count, right = np.random.default_rng(4), 2_000 if quick else 100_000, 0
    for n in range(count):
        right += equal(instance(rng), float(rng.lognormal(15, 2)))
        if n % 10_000 == 9_999:
            progress(f"{right} of {n + 1} instances equal enumeration")
    started = time.perf_counter()
    problem = big(10, 500)
    options = candidates(problem)
    ready = chooser(options)
    construction = time.perf_counter() - started
    times = []
    for bandwidth in rng.lognormal(15, 2, 2_000 if quick else 20_000).tolist():
        started = time.perf_counter()
        ready.at(bandwidth, 0.3)
        times.append(time.perf_counter() - started)
    plans, reasons = [], []
    small = big(5, 15)
    for _ in range(30):
        started = time.perf_counter()
        answer = plan_entry(small)
        planned = time.perf_counter()
        rejected(small, answer)
        plans.append(planned - started)
        reasons.append(time.perf_counter() - planned)
    return {
        "chain_equal_exhaustive": right / count,
        "chain_instances": count,
        "chain_p99_us": round(float(np.quantile(times, 0.99)) * 1e6, 1),
        "chain_median_us": round(float(np.median(times)) * 1e6, 1),
        "chain_construction_ms": round(construction * 1e3, 2),
        "plan_entry_ms": round(float(np.median(plans)) * 1e3, 2),
        "rejected_ms": round(float(np.median(reasons)) * 1e3, 2),
    }


if __name__ == "__main__":
    print(
        json.dumps(
            measure(lambda line: print(line, file=sys.stderr, flush=True), quick="--quick" in sys.argv)
        )
    )
