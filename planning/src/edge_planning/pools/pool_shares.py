"""What each tenant of a pool that is shared by entitlement has of it."""

from collections import defaultdict
from collections.abc import Mapping
from math import inf
from types import MappingProxyType

from edge_planning.pools.accounts import TOLERANCE, Accounts, kind_of, units
from edge_planning.pools.held import Held
from edge_planning.pools.reservations import Resource
from edge_planning.pools.results import Placed, PoolShare, Refusal
from edge_planning.pools.values import PoolProblem
from edge_planning.sharing import Kept, Limit, ResourceKind, Shortage


def pool_shares(
    problem: PoolProblem,
    accounts: Accounts | None,
    placed: Mapping[str, Placed],
    refused: Mapping[str, Refusal],
    taken: Mapping[str, Mapping[Resource, float]] = MappingProxyType({}),
) -> tuple[PoolShare, ...]:
    """Returns what each tenant has, by name; nothing if tenants do not share by entitlement.

    taken: What measured requests take beside what is reserved, by demand.
    """
    if accounts is None:
        return ()
    totals = Accounts(accounts.claims, accounts.capacity)
    services: dict[str, set[str]] = defaultdict(set)
    for demand in problem.demands:
        services[demand.owner].add(f"{demand.tenant}/{demand.service}")
        if demand.name in placed:
            totals.change(Held(demand, placed[demand.name].reservation), 1)
            for resource, amount in taken.get(demand.name, {}).items():
                totals.add(demand.owner, resource, amount)
    servers = {one.name for one in problem.servers}
    lent, unit = _lent(totals), units(problem)
    lacking = _shortages(problem, placed, refused)
    found = []
    for tenant in problem.owners:
        name, kinds = tenant.name, dict[ResourceKind, list[float]]()
        dominant = borrowed = 0.0
        for resource, each in totals.claims.items():
            used, nominal = totals.used(name, resource), each[name].nominal
            beyond = used - nominal if used > nominal * (1 + TOLERANCE) + 1e-12 else 0.0
            amounts = kinds.setdefault(kind_of(resource, servers), [0.0] * 4)
            for at, amount in enumerate((nominal, used, beyond, lent.get((name, resource), 0.0))):
                amounts[at] += amount * unit.get(resource, 1.0)
            size = totals.capacity[resource]
            if size > 0:
                dominant, borrowed = max(dominant, used / size), max(borrowed, beyond / size)
        weighted = borrowed / tenant.weight if tenant.weight > 0 else inf if borrowed else 0.0
        found.append(
            PoolShare(
                name,
                {kind: Kept(*amounts) for kind, amounts in kinds.items()},
                dominant,
                borrowed,
                weighted,
                len(services[name]),
                lacking.get(name, ()),
            )
        )
    return tuple(found)


def _lent(accounts: Accounts) -> dict[tuple[str, Resource], float]:
    """Returns what others use of each tenant's entitlement.

    What belongs to none is borrowed first, then what owners lend, each in proportion to what it can lend.
    """
    found: dict[tuple[str, Resource], float] = {}
    for resource, each in accounts.claims.items():
        used = {name: accounts.used(name, resource) for name in each}
        unowned = max(accounts.capacity[resource] - sum(one.nominal for one in each.values()), 0.0)
        needed = sum(max(used[name] - one.nominal, 0.0) for name, one in each.items()) - unowned
        idle = {name: max(one.nominal - max(used[name], one.kept), 0.0) for name, one in each.items()}
        total = sum(idle.values())
        if needed > 0 and total > 0:
            part = min(needed / total, 1.0)
            found |= {(name, resource): amount * part for name, amount in idle.items() if amount}
    return found


def _shortages(
    problem: PoolProblem, placed: Mapping[str, Placed], refused: Mapping[str, Refusal]
) -> dict[str, tuple[Shortage, ...]]:
    services: dict[tuple[str, bool, str, Limit], dict[str, float]] = defaultdict(dict)
    for demand in problem.demands:
        table = placed.get(demand.name)
        lack = table.short if table is not None else refused.get(demand.name)
        if lack is None or lack.infeasible is not None:
            continue
        limit = Limit.BORROWING if lack.claim is not None and lack.claim.limited else Limit.CAPACITY
        key = (
            demand.owner,
            table is None,
            "" if lack.resource is None else str(lack.resource),
            Limit.BUDGET if lack.waiting else limit,
        )
        name, missing = f"{demand.tenant}/{demand.service}", max(lack.asked - lack.left, 0.0)
        services[key][name] = min(missing, services[key].get(name, inf))
    found: dict[str, list[Shortage]] = defaultdict(list)
    for (owner, gone, resource, limit), names in services.items():
        found[owner].append(Shortage(tuple(names), gone, resource, limit, min(names.values())))
    return {
        owner: tuple(sorted(each, key=lambda one: (not one.refused, -len(one.services), one.resource)))
        for owner, each in found.items()
    }
