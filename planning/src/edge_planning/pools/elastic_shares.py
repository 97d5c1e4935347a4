"""How measured requests divide what reservations leave of a resource."""

from collections.abc import Mapping
from typing import NamedTuple

from edge_planning.pools.accounts import Accounts
from edge_planning.pools.reservations import Resource


class Wanted(NamedTuple):
    """An amount of a resource, and the weight of who wants it."""

    amount: float
    weight: float = 1.0


def max_min(wanted: Mapping[str, Wanted], left: float) -> dict[str, float]:
    """Returns the weighted max-min fair parts, by name: each has what it wants, or else as much as others.

    Weights of 0 share what the others leave.
    """
    found: dict[str, float] = {}
    for some in (
        {name: one for name, one in wanted.items() if one.weight > 0},
        {name: Wanted(one.amount) for name, one in wanted.items() if not one.weight > 0},
    ):
        weight = sum(one.weight for one in some.values())
        for name, one in sorted(some.items(), key=lambda each: (each[1].amount / each[1].weight, each[0])):
            found[name] = min(one.amount, left * one.weight / weight)
            left, weight = left - found[name], weight - one.weight
    return found


def tenants_parts(
    wanted: Mapping[str, Wanted], left: float, resource: Resource, accounts: Accounts
) -> dict[str, float]:
    """Returns how much of a resource each tenant's measured requests take, beside all reservations.

    First what the tenant is entitled to, then its part of the rest by weight, up to its borrowing limit and
    without what others do not lend.

    wanted: By tenant, with its weight. left: What all reservations leave.
    """
    claims = {name: accounts.claim(name, resource) for name in wanted}
    used = {name: accounts.used(name, resource) for name in wanted}
    entitled = {
        name: Wanted(min(one.amount, max(claims[name].nominal - used[name], 0.0)))
        for name, one in wanted.items()
    }
    found = max_min(entitled, left)
    rest = left - sum(found.values()) - accounts.kept(resource, found)
    more = {
        name: Wanted(max(min(one.amount, claims[name].most - used[name]) - found[name], 0.0), one.weight)
        for name, one in wanted.items()
    }
    for name, amount in max_min(more, max(rest, 0.0)).items():
        found[name] += amount
    return found
