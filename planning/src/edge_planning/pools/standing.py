"""A plan in which published tables stand in place of those that were planned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.plans import Route
from edge_planning.pools.contention import accounts_of
from edge_planning.pools.figures import Figures
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.results import Placed, PoolPlan
from edge_planning.pools.tables import Tables
from edge_planning.pools.values import PoolDemand


@dataclass(frozen=True, slots=True)
class Standing:
    """Published routes and their Triton server. The routes do not say from where they meet the SLO."""

    routes: tuple[Route, ...]
    server: str | None


def with_standing(plan: PoolPlan, standing: Mapping[str, Standing]) -> PoolPlan:
    """Returns a plan with standing tables, and with what demands hold and use by them.

    What tenants have, and why demands lack something, stays that of the plan. standing: by PoolDemand.name,
    only of demands with a table. Cost: the candidates of each demand whose standing routes are others.
    """
    problem, demands = plan.problem, {one.name: one for one in plan.problem.demands}
    uplinks = {one.name: one.uplink for one in problem.nodes}
    servers = {one.name: one.concurrency for one in problem.servers}
    tables = Tables(plan.questions, Figures(), uplinks, servers, problem.runtime_memory)
    changed = {
        name: _standing(tables, demands[name], plan.placed[name], one)
        for name, one in standing.items()
        if not _same(plan.placed[name], one)
    }
    if not changed:
        return plan
    placed = {**plan.placed, **changed}
    capacity = capacities(problem, UPLINK_SHARE)
    ledger = Ledger(problem, capacity, accounts_of(problem, capacity))
    for name, each in placed.items():
        ledger.add(Held(demands[name], each.reservation))
    return replace(plan, placed=placed, used=ledger.totals())


def _same(placed: Placed, standing: Standing) -> bool:
    planned, here = (list(map(_told, routes)) for routes in (placed.plan.table.routes, standing.routes))
    return planned == here and placed.server in (None, standing.server)


def _told(route: Route) -> tuple[object, ...]:
    return route.name, route.min_bandwidth, route.packed, route.intermediate_packed


def _standing(tables: Tables, demand: PoolDemand, placed: Placed, standing: Standing) -> Placed:
    table = replace(placed.plan.table, routes=standing.routes)
    kept = tables.standing(demand, replace(placed.plan, table=table), standing.server)
    return replace(placed, plan=kept.plan, server=kept.server, reservation=kept.reserved)
