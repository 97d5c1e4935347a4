"""Explains what a service gets at one entry node of a planned pool. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from edge_api import Placement
from edge_api.placements import Route
from edge_api.quantities import Duration, Quantity
from edge_operator.explaining.values import (
    EntryExplanation,
    Lost,
    PlannedLink,
    PlannedMargin,
    PlannedPacking,
    PlannedRate,
    PlannedRoute,
    ResourceUse,
    Table,
    Weighed,
)
from edge_operator.pool import server_links
from edge_operator.pool.demands import PooledPlan
from edge_operator.pool.pooled import PlannedEntry, PooledService
from edge_operator.pool.published_tables import in_force
from edge_operator.pool.shortages import binding, lack
from edge_planning import EntryProblem, Infeasible, Plan, explain, plans, rejected
from edge_planning.choosing.sentences import sufficient_seconds
from edge_planning.plans import Rejection
from edge_planning.pools import PoolDemand
from edge_planning.pools.occupancy import Occupancy, Use
from edge_planning.pools.reservations import Kind

_RESOURCES = {Kind.CPU: "Cpu", Kind.MEMORY: "Memory", Kind.UPLINK: "Uplink", Kind.BUSY: "Triton"}
_NOTHING = Infeasible((), None)
_BESIDE_OTHERS = "meets the SLO alone, but its table does not fit beside those of other services"


class EntryExplainer:
    """Explains the entries of a planned pool. What is used, and what is left, is by the tables in force."""

    def __init__(self, plan: PooledPlan) -> None:
        self._placed = plan.plan.placed
        self._demands: Mapping[str, PoolDemand] = {one.name: one for one in plan.plan.problem.demands}
        self._occupancy = Occupancy(in_force(plan.plan, plan.adopted))

    def explain(self, service: PooledService, entry: PlannedEntry) -> EntryExplanation:
        """Returns the plan of an entry node with everything that it rejected."""
        node = entry.member.node.name
        demand = self._demands[f"{service.key.namespace}/{service.key.name}@{node}"]
        server = entry.server.name if entry.server is not None else None
        found = self._occupancy.alternatives(demand.name, server)
        problem, plan, placement = found.problem, entry.plan, service.placements.get(node)
        # The candidate reserves a local route beside it, which a table can be without.
        taken = {route.name for route in plan.table.routes} if isinstance(plan, Plan) else set()
        unfit = {
            name: f"does not fit: {lack(each, demand.name, self._demands)}"
            for name, each in found.unfit.items()
            if name not in taken
        }
        at = explain(problem, problem.model.name, problem.node, excluded=unfit)
        every = {each.name: each for each in rejected(problem, _NOTHING)}
        routes = _routes(plan, every)
        report = placement.status if placement is not None else None
        return EntryExplanation(
            node=node,
            device_class=entry.member.device_class,
            feasible=isinstance(plan, Plan),
            meets_slo=isinstance(plan, Plan) and plan.met,
            active_route=report.active_route if report is not None else None,
            table=self._table(entry, placement, demand.name, service.metadata.digest),
            server=server,
            bandwidth=Quantity(at.bandwidth),
            measured=problem.bandwidth is not None,
            nearest_feasible_latency=_nearest(plan.nearest_slo if plan is not None else None),
            rate=self._rate(service, demand),
            links=_links(problem, server),
            margins=_margins(problem),
            packing=tuple(_packings(problem)),
            request_time=_request_time(problem),
            uses=tuple(map(_use, self._occupancy.uses(demand.name))),
            routes=tuple(map(_route, routes)),
            limits=plan.reasons if plan is not None else (),
            shortage=entry.shortage,
            remedies=at.remedies,
            rejected=_rejected(problem, plan, routes, unfit),
            weighed=tuple(
                Weighed(
                    name=line.name,
                    where=line.where,
                    accuracy=line.accuracy,
                    latency=Duration(line.latency.total) if math.isfinite(line.latency.total) else None,
                    joules=_rounded(line.energy) if problem.has_power else None,
                    cost=_rounded(line.cost) if problem.has_prices else None,
                    reason=line.reason,
                )
                for line in at.lines
            ),
        )

    def _rate(self, service: PooledService, demand: PoolDemand) -> PlannedRate:
        rate, source = demand.rate, "Declared" if service.spec.planned_rate else "Default"
        if demand.observed is not None:
            rate, source = demand.observed.rate, "Measured"
        found: dict[str, object] = {"value": rate, "source": source, "reserved": demand.rate}
        counted = self._occupancy.counted(demand.name)
        if counted is not None:
            found |= {"fitting": float(f"{counted.fitting:.3g}"), "binding": binding(counted.resource)}
        return PlannedRate.model_validate(found)

    def _table(self, entry: PlannedEntry, placement: Placement | None, name: str, digest: str) -> Table:
        if not isinstance(entry.plan, Plan):
            return "None" if placement is None else "WithoutRoom" if entry.plan is None else "Changed"
        if placement is None:
            return "New"
        planned = self._placed[name]
        # A table without routes to Triton names the server whose link is measured.
        same = planned.server in (None, server_links.peer_of(placement))
        same = same and placement.spec.model.digest == digest
        routes = [_published_route(route) for route in placement.spec.routes]
        if same and routes == [_planned_route(route) for route in planned.plan.table.routes]:
            return "Published"
        return "Standing" if entry.adopted else "Changed"


def _published_route(route: Route) -> tuple[object, ...]:
    """Returns what tells a published route from one of another table."""
    edge = [stage for stage in route.stages if stage.runtime == "Edge"]
    here, between = ([s for s in edge if (s.address is None) is at] for at in (True, False))
    packed = (stages[0].packed if stages else None for stages in (here, between))
    return (route.name, int(route.min_bandwidth), *packed)


def _planned_route(route: plans.Route) -> tuple[object, ...]:
    return (route.name, route.min_bandwidth, route.packed, route.intermediate_packed)


def _routes(plan: Plan | Infeasible | None, every: Mapping[str, Rejection]) -> tuple[plans.Route, ...]:
    """Returns the planned routes. A published table that stands does not say from where they meet the SLO."""
    if not isinstance(plan, Plan):
        return ()
    return tuple(
        replace(route, met_from=every[route.name].met_from)
        if route.met_from is None and route.name in every
        else route
        for route in plan.table.routes
    )


def _rejected(
    problem: EntryProblem,
    plan: Plan | Infeasible | None,
    routes: tuple[plans.Route, ...],
    unfit: Mapping[str, str],
) -> tuple[Lost, ...]:
    answer: Plan | Infeasible = _NOTHING
    if isinstance(plan, Plan):
        answer = replace(plan, table=replace(plan.table, routes=routes))
    found = []
    for each in rejected(problem, answer):
        reason = unfit.get(each.name, each.reason)
        if plan is None and each.name not in unfit and each.met_from is not None:
            reason = _BESIDE_OTHERS
        found.append(
            Lost(name=each.name, accuracy=each.accuracy, meets_from=_bandwidth(each.met_from), reason=reason)
        )
    return tuple(found)


def _links(problem: EntryProblem, server: str | None) -> tuple[PlannedLink, ...]:
    measured = None if problem.bandwidth is None else Quantity(problem.bandwidth)
    to_server = PlannedLink(peer=server or "", round_trip=Duration(problem.rtt), bandwidth=measured)
    between = (
        PlannedLink(peer=node.name, round_trip=Duration(node.rtt), bandwidth=Quantity(node.bandwidth))
        for node in problem.intermediates
    )
    return (*((to_server,) if server is not None else ()), *between)


def _margins(problem: EntryProblem) -> tuple[PlannedMargin, ...]:
    return tuple(
        PlannedMargin(
            exit=exit_.name,
            factor=float(f"{problem.entry.margin(exit_, problem.slo.percentile):.4g}"),
            measured=exit_.name in problem.entry.margins,
        )
        for exit_ in problem.model.exits
    )


def _packings(problem: EntryProblem) -> Iterator[PlannedPacking]:
    places = [(problem.node, problem.entry), *((one.name, one.profile) for one in problem.intermediates)]
    for place, profile in places:
        if profile.packing is not None:
            yield PlannedPacking(
                place=place,
                packed=profile.packed,
                memory=profile.memory,
                other_memory=replace(profile, packed=not profile.packed).memory,
                slowdown=profile.packing.slowdown,
            )


def _request_time(problem: EntryProblem) -> Duration | None:
    measured, inputs = problem.entry.requests, float(problem.model.exits[0].cuts[0].size)
    return None if measured is None else Duration(measured.of(inputs, 0.0))


def _use(use: Use) -> ResourceUse:
    return ResourceUse.model_validate(
        {
            "resource": _RESOURCES[use.resource.kind],
            "place": use.resource.place,
            "own": float(f"{use.own:.4g}"),
            "total": float(f"{use.used:.4g}"),
            "capacity": float(f"{use.capacity:.4g}") if math.isfinite(use.capacity) else None,
        }
    )


def _rounded(value: float) -> float | None:
    """Returns a finite value with four significant digits."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _nearest(seconds: float | None) -> Duration | None:
    return None if seconds is None or math.isinf(seconds) else Duration(sufficient_seconds(seconds))


def _route(route: plans.Route) -> PlannedRoute:
    return PlannedRoute(
        name=route.name,
        accuracy=route.accuracy,
        min_bandwidth=Quantity(route.min_bandwidth),
        predicted_latency=Duration(route.latency),
        predicted_cost=None if route.cost is None else _rounded(route.cost),
        meets_from=_bandwidth(route.met_from),
    )


def _bandwidth(bits_per_second: float | None) -> Quantity | None:
    return None if bits_per_second is None else Quantity(math.ceil(bits_per_second))
