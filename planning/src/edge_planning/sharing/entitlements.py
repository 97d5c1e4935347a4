"""What each tenant is entitled to of each resource, how much it can borrow, and how much it lends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_planning.sharing.arrays import Floats
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.quotas import Quota, ResourceKind
from edge_planning.sharing.values import Tenant


@dataclass(frozen=True, slots=True, eq=False)
class Entitlements:
    """T tenants, R resources; amounts in the resources' units.

    Attributes:
        nominal: Entitlement [T, R]; the sum over tenants is at most the capacity.
        most: Largest use, borrowed amounts included; inf without a borrowing limit [T, R].
        kept: Part of the entitlement that is never lent [T, R].
        weight: [T].
        ceiling: Highest priority that counts against other tenants; inf without a ceiling [T].
    """

    nominal: Floats
    most: Floats
    kept: Floats
    weight: Floats
    ceiling: Floats

    def keeping(self, amounts: Floats) -> "Entitlements":
        """Returns entitlements that do not lend these amounts, as far as they are entitled to [T, R]."""
        return replace(self, kept=np.maximum(self.kept, np.minimum(self.nominal, amounts)))


def entitlements(problem: SharingProblem) -> Entitlements:
    """Returns the entitlements of a problem's tenants."""
    return entitlements_to(problem.tenants, problem.capacity, problem.kinds)


def entitlements_to(
    tenants: Sequence[Tenant], capacity: Floats, kinds: Sequence[ResourceKind | None]
) -> Entitlements:
    """Returns what tenants are entitled to of resources with these capacities and kinds.

    A tenant without a nominal quota for a kind is entitled to its weight over the sum of all weights. If
    the quotas of a kind exceed the whole, they shrink in proportion; entitlements by weight shrink first, to
    what the quotas leave.
    """
    shape = len(tenants), len(capacity)
    nominal, most, kept = np.zeros(shape), np.full(shape, np.inf), np.zeros(shape)
    weight = np.array([one.weight for one in tenants], dtype=np.float64)
    total = float(weight.sum())
    by_weight = weight / total if total > 0 else np.zeros(len(tenants))
    for kind in sorted(set(kinds), key=str):
        rows = np.array([row for row, one in enumerate(kinds) if one == kind], dtype=np.int64)
        size = capacity[rows]
        part = _parts([one.nominal for one in tenants], kind, size, by_weight)
        nominal[:, rows] = part[:, None] * size
        for number, tenant in enumerate(tenants):
            borrowing = None if kind is None else tenant.borrowing_limit.get(kind)
            if borrowing is not None:
                most[number, rows] = nominal[number, rows] + borrowing.of(size) * size
            lending = None if kind is None else tenant.lending_limit.get(kind)
            if lending is not None:
                kept[number, rows] = np.maximum(nominal[number, rows] - lending.of(size) * size, 0.0)
    ceiling = np.array([np.inf if one.priority_ceiling is None else one.priority_ceiling for one in tenants])
    return Entitlements(nominal, most, kept, weight, ceiling)


def _parts(
    quotas: Sequence[Mapping[ResourceKind, Quota]], kind: ResourceKind | None, size: Floats, by_weight: Floats
) -> Floats:
    """Returns the part of every resource of a kind to which each tenant is entitled [T]; at most 1 in sum."""
    named = np.array([kind is not None and kind in one for one in quotas], dtype=np.bool_)
    quota = np.array(
        [one[kind].of(size) if kind is not None and kind in one else 0.0 for one in quotas], dtype=np.float64
    )
    quota /= max(float(quota.sum()), 1.0)
    rest = np.where(named, 0.0, by_weight)
    left = max(1.0 - float(quota.sum()), 0.0)
    wanted = float(rest.sum())
    if wanted > left:
        rest *= left / wanted
    return np.asarray(quota + rest)
