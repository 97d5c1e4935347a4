"""Explains the choice at one bandwidth, as a value and as a text table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from edge_planning.choosing.candidates import Candidates, Integers, Latency
from edge_planning.choosing.choices import Choice, choose
from edge_planning.choosing.enumeration import candidates
from edge_planning.choosing.sentences import nothing_allowed, seconds_text, shortfall
from edge_planning.costs.queueing import OVERLOADED
from edge_planning.errors import require
from edge_planning.problems import EntryProblem
from edge_planning.text_tables import text_table


@dataclass(frozen=True, slots=True)
class Line:
    """A candidate: latency (s, by part), energy of the entry node (J), why it lost (None: it won), cost."""

    name: str
    exit: str
    where: str
    latency: Latency
    accuracy: float
    energy: float
    reason: str | None
    cost: float = 0.0


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
        return "\n".join([text_table(rows), *self.remedies])


def explain(
    problem: EntryProblem,
    service: str,
    node: str,
    bandwidth: float | None = None,
    excluded: Mapping[str, str] = MappingProxyType({}),
) -> Explanation:
    """Returns all candidates at a bandwidth in bit/s, and why each lost.

    The default is the problem's measured bandwidth, otherwise the top of its range. excluded: why candidates
    cannot be used, by name.

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
    latencies, energies, costs = options.latencies(at), options.energies(at), options.costs(at)
    names = [options.name(i) for i in range(len(options))]
    usable = np.flatnonzero([name not in excluded for name in names])
    choice = _chosen(problem, options, usable, at)
    order = np.argsort(latencies, kind="stable").tolist()
    if choice is not None:
        order.remove(choice.index)
        order.insert(0, choice.index)
    lines = tuple(
        Line(
            name=names[i],
            exit=options.exits[int(options.exit[i])].name,
            where=_where(problem, options, i),
            latency=options.latency(i, at),
            accuracy=float(options.accuracy[i]),
            energy=float(energies[i]),
            reason=excluded.get(names[i]) or _reason(problem, options, i, choice, at),
            cost=float(costs[i]),
        )
        for i in order
    )
    nearest = float(latencies[usable].min(initial=np.inf))
    remedies = _remedies(problem, options.select(usable), at) if len(usable) else ()
    return Explanation(service, node, at, lines, nearest if np.isfinite(nearest) else None, remedies)


def _chosen(problem: EntryProblem, options: Candidates, usable: Integers, bandwidth: float) -> Choice | None:
    """Returns the choice among some candidates, with its index among all."""
    if not len(usable):
        return None
    choice = choose(options.select(usable), problem.slo.latency, bandwidth, problem.objective)
    return None if choice is None else replace(choice, index=int(usable[choice.index]))


def _where(problem: EntryProblem, options: Candidates, i: int) -> str:
    places = [problem.node] if options.head[i] > 0 or options.local[i] else []
    if (intermediate := options.intermediate_name(i)) is not None:
        places.append(intermediate)
    triton = options.second_tensor(i) if intermediate is not None else options.tensor(i)
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
    if late and choice.met and problem.objective.in_time:
        return f"misses {seconds_text(problem.slo.latency)}"
    objective = problem.objective
    keys, words = objective.keys(options, bandwidth), objective.words
    if objective.in_time and not choice.met:
        keys, words = (options.latencies(bandwidth), -options.accuracy), ("is faster", "is more accurate")
    for key, why in zip(keys, words, strict=True):
        if key[i] > key[choice.index]:
            return f"{best} {why}"
    return f"{best} is equally good and sends less"


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
    fixed = (
        latencies
        - options.head
        - options.intermediate_compute
        - options.tail
        - options.margin
        - options.queue
    )
    work = options.head + options.intermediate_compute + options.tail + options.margin
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
