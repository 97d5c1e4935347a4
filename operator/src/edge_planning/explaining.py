"""Sentences about a plan: what limits it, what beat a candidate, what would help."""

import math
from collections.abc import Sequence

import numpy as np

from edge_planning.candidates import Candidates
from edge_planning.plans import Rejection, Route
from edge_planning.problems import EntryProblem, Mode


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
            step = 10.0 ** (np.floor(np.log10(scaled)) - 1)
            return f"{float(f'{np.ceil(scaled / step - 1e-9) * step:.6g}'):g} {unit}"
    return f"{np.ceil(bits_per_second):g} bit/s"


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
    full_only = problem.mode not in (Mode.AUTO, Mode.RIGHT_SIZING_ONLY)
    exits = problem.model.exits[-1:] if full_only else problem.model.exits
    best = max(exits, key=lambda exit_: exit_.accuracy)
    return (
        f"no exit of {problem.model.name} that mode {problem.mode} may use has accuracy >= "
        f"{problem.min_accuracy:g}: the most accurate is {best.name} with {best.accuracy:g}; lower "
        f"slo.minAccuracy to that"
    )


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
    thresholds = options.thresholds(problem.slo.latency)
    return tuple(
        Rejection(
            name=options.name(i),
            exit=options.exits[int(options.exit[i])].name,
            cut=options.tensor(i),
            accuracy=float(options.accuracy[i]),
            met_from=_within(float(thresholds[i]), problem),
            reason=_reason(problem, options, i, float(thresholds[i]), routes),
        )
        for i in range(len(options))
        if options.name(i) not in taken
    )


def _within(threshold: float, problem: EntryProblem) -> float | None:
    return threshold if threshold <= problem.tables.high else None


def _reason(
    problem: EntryProblem, options: Candidates, i: int, threshold: float, routes: Sequence[Route]
) -> str:
    deadline = seconds_text(problem.slo.latency)
    least = float(options.intercept[i])
    if math.isinf(threshold):
        return f"takes {seconds_text(least)} without the transfer already, {deadline} is asked for"
    if threshold > problem.tables.high:
        return f"meets {deadline} only from {bandwidth_text(threshold)} on"
    since = "always" if threshold == 0 else f"only from {bandwidth_text(threshold)} on"
    for route in routes:
        if route.met_from is not None and route.met_from <= threshold:
            from_ = "always" if route.met_from == 0 else f"from {bandwidth_text(route.met_from)} on"
            if route.accuracy > options.accuracy[i]:
                return f"meets {deadline} {since}; {route.name} does so {from_} and is more accurate"
            if route.accuracy == options.accuracy[i]:
                return f"meets {deadline} {since}; {route.name} is as accurate and does so {from_}"
    return f"meets {deadline} {since}; the {problem.tables.routes} routes of the table lose less without it"
