"""Sentences about a plan: what limits it, what beat a candidate, what would help."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_planning.choosing.candidates import Candidates
from edge_planning.choosing.enumeration import candidates
from edge_planning.plans import Rejection, Route
from edge_planning.problems import EntryProblem, Mode, Privacy


def seconds_text(seconds: float) -> str:
    """`31ms`, `1.5s`: three significant digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{float(f'{seconds / size:.3g}'):g}{unit}"
    return f"{float(f'{seconds * 1e6:.3g}'):g}us"


def bandwidth_text(bits_per_second: float) -> str:
    """`8.4 Mbit/s`: rounded up to two significant digits, so that what is named does suffice."""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bits_per_second >= size:
            scaled = bits_per_second / size
            step = 10.0 ** (math.floor(math.log10(scaled)) - 1)
            return f"{float(f'{math.ceil(scaled / step - 1e-9) * step:.6g}'):g} {unit}"
    return f"{math.ceil(bits_per_second):g} bit/s"


def wanted(problem: EntryProblem) -> str:
    """Which exits may answer, as the beginning of a sentence."""
    if problem.mode in (Mode.AUTO, Mode.RIGHT_SIZING_ONLY):
        lowest = problem.min_accuracy
        return "no exit" if lowest is None else f"no exit with accuracy >= {lowest:.2f}"
    return f"the mode {problem.mode} (always the full model) never"


def nothing_allowed(problem: EntryProblem) -> str:
    """Why no candidate is left before any latency was looked at."""
    if problem.mode is Mode.CLOUD_ONLY and problem.remote is None:
        return (
            f"mode CloudOnly needs a Triton server, and {problem.node} has none to reach: add one to the "
            f"device pool's tritonServers, or choose another mode"
        )
    constraints = [name for name, relaxed in _relaxed(problem) if len(candidates(relaxed))]
    if constraints:
        return (
            f"{wanted(problem)} of {problem.model.name} can be served at node {problem.node}: without "
            f"{' or without '.join(constraints)} there would be one"
        )
    if problem.min_accuracy is None or len(candidates(replace(problem, min_accuracy=None))) == 0:
        return (
            f"{wanted(problem)} of {problem.model.name} can be served at node {problem.node}: its pinned "
            f"places, privacy and limits of memory together leave no way; lift one of them"
        )
    full_only = problem.mode not in (Mode.AUTO, Mode.RIGHT_SIZING_ONLY)
    exits = problem.model.exits[-1:] if full_only else problem.model.exits
    best = max(exits, key=lambda exit_: exit_.accuracy)
    return (
        f"no exit of {problem.model.name} that mode {problem.mode} may use has accuracy >= "
        f"{problem.min_accuracy:g}: the most accurate is {best.name} with {best.accuracy:g}; lower "
        f"slo.minAccuracy to that"
    )


def _relaxed(problem: EntryProblem) -> Iterator[tuple[str, EntryProblem]]:
    """The problem without one of its constraints, for each."""
    if problem.privacy is not Privacy.ANY:
        yield f"privacy {problem.privacy}", replace(problem, privacy=Privacy.ANY)
    if problem.must_run_at:
        pins = replace(problem, must_run_at=frozenset())
        yield f"having to run at {', '.join(sorted(problem.must_run_at))}", pins
    if problem.must_not_run_at:
        pins = replace(problem, must_not_run_at=frozenset())
        yield f"the ban on {', '.join(sorted(problem.must_not_run_at))}", pins
    if problem.model.memory:
        yield "the limits of memory", replace(problem, model=replace(problem.model, memory={}))


def shortfall(problem: EntryProblem, options: Candidates, bandwidth: float) -> str | None:
    """Why the SLO is missed at a bandwidth (bit/s) and what would do; None when it is kept.

    E.g. `no exit with accuracy >= 0.90 meets 20ms at node edge-b with 3 Mbit/s: the best is exit3@pool1 at
    31ms; 8.4 Mbit/s would do`.
    """
    deadline = problem.slo.latency
    latencies = options.latencies(bandwidth)
    fastest = int(np.argmin(latencies))
    if latencies[fastest] <= deadline:
        return None
    link = f" with {bandwidth_text(bandwidth)}" if bandwidth > 0 else " without the link"
    best = (
        f"the best is {options.name(fastest)} at {seconds_text(float(latencies[fastest]))}"
        if np.isfinite(latencies[fastest])
        else f"{problem.peer} is out of reach"
    )
    enough = float(options.thresholds(deadline).min())
    nearest = float(options.latencies(problem.tables.high).min())
    remedy = (
        f"{bandwidth_text(enough)} would do"
        if enough <= problem.tables.high
        else f"no bandwidth would do, the shortest latency that can be kept is {seconds_text(nearest)}"
    )
    return f"{wanted(problem)} meets {seconds_text(deadline)} at node {problem.node}{link}: {best}; {remedy}"


def rejections(problem: EntryProblem, options: Candidates, routes: Sequence[Route]) -> tuple[Rejection, ...]:
    """Every candidate that is not in the table, with what beat it."""
    taken = {route.name for route in routes}
    thresholds = options.thresholds(problem.slo.latency).tolist()
    least, accuracy = options.intercept.tolist(), options.accuracy.tolist()
    names = [options.name(i) for i in range(len(options))]
    return tuple(
        Rejection(
            name=name,
            exit=options.exits[int(options.exit[i])].name,
            cut=options.tensor(i),
            accuracy=accuracy[i],
            met_from=_within(thresholds[i], problem),
            reason=_reason(problem, accuracy[i], least[i], thresholds[i], routes),
        )
        for i, name in enumerate(names)
        if name not in taken
    )


def _within(threshold: float, problem: EntryProblem) -> float | None:
    return threshold if threshold <= problem.tables.high else None


def _reason(
    problem: EntryProblem, accuracy: float, least: float, threshold: float, routes: Sequence[Route]
) -> str:
    deadline = seconds_text(problem.slo.latency)
    if math.isinf(threshold):
        return f"takes {seconds_text(least)} without the transfer already, {deadline} is asked for"
    if threshold > problem.tables.high:
        return f"meets {deadline} only from {bandwidth_text(threshold)} on"
    since = "always" if threshold == 0 else f"only from {bandwidth_text(threshold)} on"
    for route in routes:
        if route.met_from is not None and route.met_from <= threshold:
            from_ = "always" if route.met_from == 0 else f"from {bandwidth_text(route.met_from)} on"
            if route.accuracy > accuracy:
                return f"meets {deadline} {since}; {route.name} does so {from_} and is more accurate"
            if route.accuracy == accuracy:
                return f"meets {deadline} {since}; {route.name} is as accurate and does so {from_}"
    return f"meets {deadline} {since}; the {problem.tables.routes} routes of the table lose less without it"
