"""Explains the choice at one bandwidth, as a value and as a text table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_planning.choosing.candidates import Candidates, Latency
from edge_planning.choosing.choices import Choice, choose
from edge_planning.choosing.enumeration import candidates
from edge_planning.choosing.sentences import nothing_allowed, seconds_text, shortfall
from edge_planning.costs.queueing import OVERLOADED
from edge_planning.errors import require
from edge_planning.problems import EntryProblem, Objective


@dataclass(frozen=True, slots=True)
class Line:
    """A candidate: latency (s, by part), energy of the entry node (J), and why it lost (None: it won)."""

    name: str
    exit: str
    where: str
    latency: Latency
    accuracy: float
    energy: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All candidates at one bandwidth.

    Attributes:
        lines: The chosen candidate first, then by latency.
        nearest_slo: Shortest latency in seconds at this bandwidth; None if there is no candidate.
        remedies: Changes that would make the SLO feasible; empty if it is met.
    """

    service: str
    node: str
    bandwidth: float
    lines: tuple[Line, ...]
    nearest_slo: float | None
    remedies: tuple[str, ...]

    def __str__(self) -> str:
        titles = "candidate,where,latency,compute,transfer,queue,margin,accuracy,joules,why not"
        rows: list[tuple[str, ...]] = [tuple(titles.split(","))]
        for line in self.lines:
            parts = line.latency
            transfer = parts.transfer + parts.hop
            times = (parts.total, parts.compute, transfer, parts.queue, parts.margin)
            shown = [seconds_text(t) if 0 < t < OVERLOADED else ("0" if t == 0 else "never") for t in times]
            figures = (f"{line.accuracy:.3f}", f"{line.energy:.3g}")
            rows.append((line.name, line.where, *shown, *figures, line.reason or "chosen"))
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        return "\n".join([*table, *self.remedies])


def explain(problem: EntryProblem, service: str, node: str, bandwidth: float | None = None) -> Explanation:
    """Returns all candidates at a bandwidth in bit/s, and why each lost.

    The default is the problem's measured bandwidth, otherwise the top of its range.

    Raises:
        BadValueError: The problem has another service (its model's name) or node.
    """
    require(service == problem.model.name, f"service {service}: the problem is for {problem.model.name}")
    require(node == problem.node, f"node {node}: the problem is for {problem.node}")
    at = bandwidth if bandwidth is not None else problem.bandwidth
    at = problem.tables.high if at is None else at
    options = candidates(problem)
    if not len(options):
        return Explanation(service, node, at, (), None, (nothing_allowed(problem),))
    latencies, energies = options.latencies(at), options.energies(at)
    choice = choose(options, problem.slo.latency, at, problem.objective)
    order = np.argsort(latencies, kind="stable").tolist()
    if choice is not None:
        order.remove(choice.index)
        order.insert(0, choice.index)
    lines = tuple(
        Line(
            name=options.name(i),
            exit=options.exits[int(options.exit[i])].name,
            where=_where(problem, options, i),
            latency=options.latency(i, at),
            accuracy=float(options.accuracy[i]),
            energy=float(energies[i]),
            reason=_reason(problem, options, i, choice, at),
        )
        for i in order
    )
    nearest = float(latencies.min())
    return Explanation(
        service, node, at, lines, nearest if np.isfinite(nearest) else None, _remedies(problem, options, at)
    )


def _where(problem: EntryProblem, options: Candidates, i: int) -> str:
    places = [problem.node] if options.head[i] > 0 or options.local[i] else []
    if (helper := options.helper_name(i)) is not None:
        places.append(helper)
    triton = options.second_tensor(i) if helper is not None else options.tensor(i)
    return " > ".join([*places, problem.peer] if triton is not None else places)


def _reason(
    problem: EntryProblem, options: Candidates, i: int, choice: Choice | None, bandwidth: float
) -> str | None:
    if choice is None:
        return f"{problem.peer} cannot be reached"
    if i == choice.index:
        return None
    best, latency = options.name(choice.index), float(options.latencies(bandwidth)[i])
    late = latency > problem.slo.latency
    if late and choice.met and problem.objective in (Objective.ACCURACY, Objective.ENERGY):
        return f"misses {seconds_text(problem.slo.latency)}"
    compared: Sequence[tuple[str, float, float]] = _comparisons(problem, options, i, choice, bandwidth)
    for words, mine, other in compared:
        if mine > other:
            return f"{best} {words}"
    return f"{best} is equally good and sends less"


def _comparisons(
    problem: EntryProblem, options: Candidates, i: int, choice: Choice, bandwidth: float
) -> Sequence[tuple[str, float, float]]:
    def both(values: Sequence[float]) -> tuple[float, float]:
        return float(values[i]), float(values[choice.index])

    accuracy = ("is more accurate", *both((-options.accuracy).tolist()))
    latency = ("is faster", *both(options.latencies(bandwidth).tolist()))
    match problem.objective:
        case Objective.LATENCY:
            return latency, accuracy
        case Objective.ENERGY if choice.met:
            return ("takes less energy", *both(options.energies(bandwidth).tolist())), accuracy, latency
        case Objective.THROUGHPUT:
            slowest = both(options.bottlenecks(bandwidth).tolist())
            return ("has a shorter bottleneck", *slowest), accuracy, latency
        case _:
            return (accuracy, latency) if choice.met else (latency, accuracy)


def _remedies(problem: EntryProblem, options: Candidates, bandwidth: float) -> tuple[str, ...]:
    """Returns the changes that suffice, each alone: bandwidth, then accuracy, then capacity."""
    short = shortfall(problem, options, bandwidth)
    if short is None:
        return ()
    found = [short]
    deadline = problem.slo.latency
    if problem.min_accuracy is not None and len(every := _without(problem)):
        fits = every.accuracy[every.latencies(bandwidth) <= deadline]
        if len(fits):
            found.append(f"spec.slo.minAccuracy up to {float(fits.max()):.2f} can be met")
    latencies = options.latencies(bandwidth)
    fixed = latencies - options.head - options.middle - options.tail - options.margin - options.queue
    work = options.head + options.middle + options.tail + options.margin
    idle = fixed + work
    if (options.queue > 0).any() and float(idle.min()) <= deadline:
        found.append("it can be met without queueing: add capacity")
    with np.errstate(divide="ignore", invalid="ignore"):
        faster = np.where(deadline > fixed, work / (deadline - fixed), np.inf)
    if np.isfinite(faster).any() and float(faster.min()) > 1:
        found.append(f"nodes {float(np.ceil(faster.min() * 100) / 100):g} times as fast are enough")
    return tuple(found)


def _without(problem: EntryProblem) -> Candidates:
    return candidates(replace(problem, min_accuracy=None))
