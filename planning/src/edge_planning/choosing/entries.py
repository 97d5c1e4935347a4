"""Planning for one service at one entry node."""

import math
from collections.abc import Callable
from dataclasses import replace

from edge_planning.choosing.candidates import LOCAL, NONE, Candidates, Integers, Mask
from edge_planning.choosing.enumeration import candidates
from edge_planning.choosing.route_tables import (
    accuracy_in_time,
    best_table,
    full_map,
    ladder,
    limited_map,
    useful,
)
from edge_planning.choosing.sentences import (
    bandwidth_text,
    nothing_allowed,
    rejections,
    seconds_text,
    shortfall,
)
from edge_planning.costs.queueing import OVERLOADED
from edge_planning.errors import BadObjectiveError, require
from edge_planning.objectives import OBJECTIVES
from edge_planning.plans import Infeasible, Plan, Rejection, Route, RouteTable
from edge_planning.problems import EntryProblem


def plan_entry(
    problem: EntryProblem, admitted: Callable[[Candidates], Mask | Integers] | None = None
) -> Plan | Infeasible:
    """The route table for one entry node.

    admitted: Which candidates can be used; None for all.

    If no candidate meets the SLO, the plan has the fastest candidates and `met` is False. If the problem also
    has a minimum accuracy, it is infeasible, since late responses do not count.

    Raises:
        BadObjectiveError: The objective needs prices or power that are not declared, or has no route tables.
    """
    check_objective(problem)
    every = candidates(problem)
    if admitted is not None:
        every = every.select(admitted(every))
    plan = plan_of(problem, every)
    return plan if isinstance(plan, Infeasible) else with_measured_bandwidth(problem, every, plan)


def check_objective(problem: EntryProblem) -> None:
    """Raises BadObjectiveError if the objective has no route tables, or lacks prices or power."""
    objective = problem.objective
    tabled = ", ".join(name for name, each in OBJECTIVES.items() if each.worth is not None)
    require(
        objective.worth is not None,
        f"objective {objective}: has no route tables: use one of {tabled}, or choose()",
        BadObjectiveError,
    )
    missing = objective.missing(problem)
    require(
        not missing,
        f'spec.optimize: "{objective}" requires {missing} of the DevicePool for node {problem.node}',
        BadObjectiveError,
    )


def plan_of(problem: EntryProblem, every: Candidates) -> Plan | Infeasible:
    """Returns the plan from these candidates, whatever the measured bandwidth."""
    if not len(every):
        return Infeasible((nothing_allowed(problem),), nearest_slo=None)
    top = problem.tables.high
    nearest = float(every.latencies(top).min())
    nearest = nearest if nearest < OVERLOADED else math.inf
    short = shortfall(problem, every, top)
    if short and problem.min_accuracy is not None:
        return Infeasible((short, *problem.assumptions), nearest if math.isfinite(nearest) else None)
    table = route_table(problem, useful(every))
    met_from = min((r.met_from for r in table.routes if r.met_from is not None), default=None)
    return Plan(
        table=table,
        met=met_from is not None,
        met_from=met_from,
        nearest_slo=nearest,
        reasons=(*_reasons(problem, every, table, short, met_from), *problem.assumptions),
    )


def with_measured_bandwidth(problem: EntryProblem, every: Candidates, plan: Plan) -> Plan:
    """Returns the plan with the reason why the SLO is missed at the measured bandwidth, if it is."""
    if problem.bandwidth is None or shortfall(problem, every, problem.tables.high):
        return plan
    now = shortfall(problem, every, problem.bandwidth)
    return replace(plan, reasons=(*plan.reasons, now)) if now else plan


def rejected(problem: EntryProblem, answer: Plan | Infeasible) -> tuple[Rejection, ...]:
    """Returns every candidate that is not in the plan's table, with the route that beat it.

    Separate from plan_entry, since with many candidates the reasons take longer than the plan.
    """
    return rejections(problem, candidates(problem), answer.table.routes if isinstance(answer, Plan) else ())


def route_table(problem: EntryProblem, options: Candidates) -> RouteTable:
    """Returns at most problem.tables.routes routes of the candidates, highest bandwidth first, and then the
    cheaper local routes of the ladder.
    """
    deadline, limits = problem.slo.latency, problem.tables
    chosen = best_table(options, deadline, limits)
    found = limited_map(options, chosen, deadline)
    accuracy, ranges = accuracy_in_time(options, found, limits), found.merged()
    routes = _routes(problem, options, ranges)
    home = [index for index in chosen if options.local[index]]
    if home and routes[-1].cut is not None:
        # An intermediate node can be the best at any bandwidth; without it, the local route is needed.
        routes += (_route(problem, options, home[0], 0.0),)
    if home:
        routes += tuple(
            _route(problem, options, index, 0.0) for index in ladder(options, home[0], limits.ladder)
        )
    return RouteTable(
        routes=routes,
        accuracy=accuracy,
        loss=max(accuracy_in_time(options, full_map(options, deadline), limits) - accuracy, 0.0),
    )


def _routes(problem: EntryProblem, options: Candidates, ranges: list[tuple[int, float]]) -> tuple[Route, ...]:
    routes: list[Route] = []
    for index, start in reversed(ranges):
        route = _route(problem, options, index, start)
        if (
            not routes or route.min_bandwidth < routes[-1].min_bandwidth
        ):  # otherwise the range is below 1 bit/s
            routes.append(route)
    return tuple(routes)


def _route(problem: EntryProblem, options: Candidates, index: int, start: float) -> Route:
    limits = problem.tables
    threshold = float(options.thresholds(problem.slo.latency)[index])
    met_from = threshold if threshold <= limits.high else None
    min_bandwidth = math.ceil(start * limits.safety)
    shown_at = min_bandwidth or (limits.high if met_from is None else met_from * limits.safety)
    near = int(options.intermediate[index])
    return Route(
        exit=options.exits[int(options.exit[index])].name,
        cut=options.tensor(index),
        accuracy=float(options.accuracy[index]),
        min_bandwidth=min_bandwidth,
        met_from=met_from,
        latency=options.latency(index, shown_at).total % OVERLOADED,
        head=None if options.cut[index] == 0 else float(options.head[index]),
        tail=float(options.tail[index]) if _reaches_triton(options, index) else None,
        bits=int(options.bits[index]),
        codec=options.codec_name(index),
        intermediate=options.intermediate_name(index),
        second_cut=options.second_tensor(index),
        intermediate_compute=None
        if options.intermediate[index] == NONE
        else float(options.intermediate_compute[index]),
        threshold=None if math.isnan(options.threshold[index]) else float(options.threshold[index]),
        worth=float(options.worth[index]),
        cost=float(options.costs(shown_at)[index]) if problem.has_prices else None,
        packed=None if options.cut[index] == 0 else problem.entry.packs,
        intermediate_packed=None if near == NONE else problem.intermediates[near].profile.packs,
        energy=float(options.energies(shown_at)[index]) if problem.has_power else None,
    )


def _reaches_triton(options: Candidates, index: int) -> bool:
    last = options.cut[index] if options.intermediate[index] == NONE else options.second[index]
    return bool(last != LOCAL)


def _reasons(
    problem: EntryProblem, every: Candidates, table: RouteTable, short: str | None, met_from: float | None
) -> tuple[str, ...]:
    if short:
        return (short,)
    reasons = []
    last = table.routes[-1]
    if met_from:
        home = every.latencies(0.0).min()
        reasons.append(
            f"{seconds_text(problem.slo.latency)} is met from {bandwidth_text(met_from)}; below, "
            + (
                f"{last.name} takes {seconds_text(last.latency)}"
                if home < OVERLOADED
                else "no route meets it"
            )
        )
    return tuple(reasons)
