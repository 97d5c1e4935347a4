"""Sentences about a plan: what limits it, what beat a candidate, what helps."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_planning.choosing.candidates import Candidates
from edge_planning.choosing.enumeration import candidates
from edge_planning.costs.queueing import OVERLOADED
from edge_planning.plans import Rejection, Route
from edge_planning.problems import EntryProblem, Mode, Privacy


def seconds_text(seconds: float) -> str:
    """`31ms`, `1.5s`: three significant digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{float(f'{seconds / size:.3g}'):g}{unit}"
    return f"{float(f'{seconds * 1e6:.3g}'):g}us"


def sufficient_seconds(seconds: float) -> float:
    """Returns seconds rounded up to three significant digits, so that an SLO of that latency can be met."""
    if not 0 < seconds < math.inf:
        return seconds
    step = 10.0 ** (math.floor(math.log10(seconds)) - 2)
    return float(f"{math.ceil(seconds / step - 1e-9) * step:.6g}")


def bandwidth_text(bits_per_second: float) -> str:
    """`8.4 Mbit/s`: rounded up to two significant digits, so that what is named does suffice."""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bits_per_second >= size:
            scaled = bits_per_second / size
            step = 10.0 ** (math.floor(math.log10(scaled)) - 1)
            return f"{float(f'{math.ceil(scaled / step - 1e-9) * step:.6g}'):g} {unit}"
    return f"{math.ceil(bits_per_second):g} bit/s"


def wanted(problem: EntryProblem) -> str:
    """Returns which exits can answer, as the start of a sentence."""
    if problem.mode in (Mode.AUTO, Mode.RIGHT_SIZING_ONLY):
        lowest = problem.min_accuracy
        return "no exit" if lowest is None else f"no exit with accuracy >= {lowest:.2f}"
    return f"mode {problem.mode} (always the full model) never"


def nothing_allowed(problem: EntryProblem) -> str:
    """Returns why the constraints leave no candidate, whatever its latency."""
    if problem.mode is Mode.CLOUD_ONLY and problem.remote is None:
        return (
            f"mode CloudOnly requires a Triton server and {problem.node} has none: add one to "
            f"spec.tritonServers of the DevicePool, or choose another mode"
        )
    constraints = [name for name, relaxed in _relaxed(problem) if len(candidates(relaxed))]
    if constraints:
        return (
            f"{wanted(problem)} of {problem.model.name} can be served at node {problem.node}: lift "
            f"{' or '.join(constraints)}"
        )
    if problem.min_accuracy is None or len(candidates(replace(problem, min_accuracy=None))) == 0:
        return (
            f"{wanted(problem)} of {problem.model.name} can be served at node {problem.node}: pinned places, "
            f"privacy and memory limits together exclude every candidate; lift one of them"
        )
    full_only = problem.mode not in (Mode.AUTO, Mode.RIGHT_SIZING_ONLY)
    exits = problem.model.exits[-1:] if full_only else problem.model.exits
    best = max(exits, key=lambda exit_: exit_.accuracy)
    return (
        f"no exit of {problem.model.name} that mode {problem.mode} can use has accuracy >= "
        f"{problem.min_accuracy:g}: the most accurate is {best.name} with {best.accuracy:g}; lower "
        f"spec.slo.minAccuracy to it"
    )


def _relaxed(problem: EntryProblem) -> Iterator[tuple[str, EntryProblem]]:
    """Yields the problem without each one of its constraints."""
    if problem.privacy is not Privacy.ANY:
        yield f"spec.privacy {problem.privacy}", replace(problem, privacy=Privacy.ANY)
    if problem.must_run_at:
        pins = replace(problem, must_run_at=frozenset())
        yield f"the requirement to run at {', '.join(sorted(problem.must_run_at))}", pins
    if problem.must_not_run_at:
        pins = replace(problem, must_not_run_at=frozenset())
        yield f"the ban on {', '.join(sorted(problem.must_not_run_at))}", pins
    if problem.model.memory:
        yield "the memory limits", replace(problem, model=replace(problem.model, memory={}))


def shortfall(problem: EntryProblem, options: Candidates, bandwidth: float) -> str | None:
    """Returns why the SLO is missed at a bandwidth (bit/s) and which one is enough; None if it is met.

    E.g. `no exit with accuracy >= 0.90 meets 20ms at node edge-b with 3 Mbit/s: the fastest is exit3@pool1 at
    31ms; 8.4 Mbit/s is enough`.
    """
    deadline = problem.slo.latency
    latencies = options.latencies(bandwidth)
    fastest = int(np.argmin(latencies))
    if latencies[fastest] <= deadline:
        return None
    link = f" with {bandwidth_text(bandwidth)}" if bandwidth > 0 else " without the link"
    least = float(latencies[fastest])
    if not math.isfinite(least):
        best = f"{problem.peer} cannot be reached"
    elif least >= OVERLOADED:
        best = f"no candidate keeps up with {problem.load.rate:g} requests/s"
    else:
        best = f"the fastest is {options.name(fastest)} at {seconds_text(least)}"
    enough = float(options.thresholds(deadline).min())
    remedy = (
        f"{bandwidth_text(enough)} is enough" if enough <= problem.tables.high else "no bandwidth is enough"
    )
    if problem.privacy is not Privacy.ANY and enough > problem.tables.high:
        remedy += _privacy_text(problem)
    return f"{wanted(problem)} meets {seconds_text(deadline)} at node {problem.node}{link}: {best}; {remedy}"


def _privacy_text(problem: EntryProblem) -> str:
    """Returns what spec.privacy allows, and whether lifting it would let the SLO be met."""
    allowed = "local routes" if problem.privacy is Privacy.LOCAL else "routes that keep inputs at the node"
    said = f' with spec.privacy: "{problem.privacy}", which allows only {allowed}'
    others = candidates(replace(problem, privacy=Privacy.ANY)).thresholds(problem.slo.latency)
    least = float(others.min(initial=math.inf))
    return said if least > problem.tables.high else f'{said}; with "Any", {bandwidth_text(least)} is enough'


def rejections(problem: EntryProblem, options: Candidates, routes: Sequence[Route]) -> tuple[Rejection, ...]:
    """Returns every candidate that is not in the table, with what beat it."""
    taken = {route.name for route in routes}
    thresholds = options.thresholds(problem.slo.latency).tolist()
    least, accuracy, worth = options.intercept.tolist(), options.accuracy.tolist(), options.worth.tolist()
    names = [options.name(i) for i in range(len(options))]
    return tuple(
        Rejection(
            name=name,
            exit=options.exits[int(options.exit[i])].name,
            cut=options.tensor(i),
            accuracy=accuracy[i],
            met_from=_within(thresholds[i], problem),
            reason=_reason(problem, (worth[i], accuracy[i]), least[i], thresholds[i], routes),
        )
        for i, name in enumerate(names)
        if name not in taken
    )


def _within(threshold: float, problem: EntryProblem) -> float | None:
    return threshold if threshold <= problem.tables.high else None


def _reason(
    problem: EntryProblem,
    value: tuple[float, float],
    least: float,
    threshold: float,
    routes: Sequence[Route],
) -> str:
    deadline = seconds_text(problem.slo.latency)
    if least >= OVERLOADED:
        return f"cannot keep up with {problem.load.rate:g} requests/s"
    if math.isinf(threshold):
        return f"takes {seconds_text(least)} even without the transfer, the SLO is {deadline}"
    if threshold > problem.tables.high:
        return f"meets {deadline} only from {bandwidth_text(threshold)}"
    since = "always" if threshold == 0 else f"only from {bandwidth_text(threshold)}"
    for route in routes:
        if route.met_from is not None and route.met_from <= threshold:
            from_ = "always" if route.met_from == 0 else f"from {bandwidth_text(route.met_from)}"
            best = (route.accuracy if route.worth is None else route.worth, route.accuracy)
            if best == value:
                return f"meets {deadline} {since}; {route.name} meets it {from_} and is as good"
            if best > value:
                why = problem.objective.words[0] if best[0] > value[0] else "is more accurate"
                return f"meets {deadline} {since}; {route.name} meets it {from_} and {why}"
    return f"meets {deadline} {since}; a table of {problem.tables.routes} routes is better without it"
