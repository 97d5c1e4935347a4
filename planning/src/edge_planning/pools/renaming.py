"""Results for every entry node of a group, from those of its first."""

import re
from dataclasses import replace

from edge_planning.plans import Infeasible
from edge_planning.pools.reservations import Resource, renamed
from edge_planning.pools.results import Placed, Refusal
from edge_planning.pools.values import PoolDemand


def placed_at(placed: Placed, first: PoolDemand, member: PoolDemand) -> Placed:
    """Returns the table of the same service at another entry node of the group."""
    if member is first:
        return placed
    reasons = tuple(_said(one, first.node, member.node) for one in placed.plan.reasons)
    return Placed(
        placed.plan if reasons == placed.plan.reasons else replace(placed.plan, reasons=reasons),
        placed.server,
        renamed(placed.reservation, first.node, member.node),
        placed.in_time,
        None if placed.short is None else refused_at(placed.short, first, member),
    )


def refused_at(refusal: Refusal, first: PoolDemand, member: PoolDemand) -> Refusal:
    """Returns the refusal of the same service at another entry node of the group."""
    if member is first:
        return refusal
    before, after = first.node, member.node

    def name(one: str) -> str:
        return one.removesuffix(before) + after if one.endswith(f"@{before}") else one

    resource = refusal.resource
    if resource is not None and resource.place == before:
        resource = Resource(resource.kind, after)
    infeasible = refusal.infeasible
    if infeasible is not None:
        reasons = tuple(_said(one, before, after) for one in infeasible.reasons)
        infeasible = Infeasible(reasons, infeasible.nearest_slo)
    return replace(
        refusal,
        message=_said(refusal.message, before, after),
        resource=resource,
        users=tuple((name(user), amount) for user, amount in refusal.users),
        room=replace(refusal.room, remove=tuple(name(one) for one in refusal.room.remove)),
        infeasible=infeasible,
    )


def _said(sentence: str, before: str, after: str) -> str:
    return re.sub(rf"(?<![\w.-]){re.escape(before)}(?![\w-])(?!\.\w)", lambda _: after, sentence)
