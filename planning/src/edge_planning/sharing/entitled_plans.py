"""Shares a pool between tenants by what they are entitled to."""

from dataclasses import dataclass, field

import numpy as np

from edge_planning.errors import require
from edge_planning.sharing.arrays import REFUSED, Integers
from edge_planning.sharing.entitlements import Entitlements, entitlements
from edge_planning.sharing.guarantees import Guarantee, guarantees
from edge_planning.sharing.holdings import Holdings, members_of, uses_by_tenant
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.lending import lend
from edge_planning.sharing.settling import settled
from edge_planning.sharing.tenant_shares import TenantShare, tenant_shares


@dataclass(frozen=True, slots=True, eq=False)
class EntitledPlan:
    """The plan of a pool that tenants share by entitlement.

    Attributes:
        choices: The candidate of each demand, or REFUSED [D].
        refused: Indices of refused demands.
        moved: Indices of demands that left the candidate in use.
        spent: How many of these moves the budget limits.
        waiting: Indices of demands for whose moves the budget does not suffice.
        tenants: What each tenant has, in the order of the problem's tenants.
        guaranteed: What each tenant has within its entitlement alone, for the next plan.
    """

    problem: SharingProblem
    choices: Integers
    refused: tuple[int, ...]
    moved: tuple[int, ...]
    spent: int
    waiting: tuple[int, ...]
    tenants: tuple[TenantShare, ...]
    entitled: Entitlements = field(repr=False)
    guaranteed: dict[str, Guarantee] = field(repr=False)

    @property
    def utility(self) -> float:
        """Sum of the worth of all choices."""
        served = np.flatnonzero(self.choices != REFUSED)
        return float(self.problem.worth[served, self.choices[served]].sum())


def share_by_entitlement(
    problem: SharingProblem, *, moves: int | None = None, previous: EntitledPlan | None = None
) -> EntitledPlan:
    """Returns one candidate for every demand, or refusal.

    In this order: no tenant lacks anything within its entitlement; fewest refusals, those of the highest
    priority and of the tenants that borrow least admitted first; what is idle lent by weighted max-min of
    the largest borrowed share; accuracy; fewest moves (docs/sharing.md).

    moves: How many demands can leave `problem.current` for accuracy alone. Default: no limit.
    previous: A plan of the same tenants, which only saves time: guarantees of tenants for which nothing has
        changed are taken over. The result is the same without it.

    Raises:
        BadValueError: There are no demands, or `moves` is negative.
    """
    require(bool(len(problem)), "demands: the list is empty")
    require(moves is None or moves >= 0, f"moves {moves} must be >= 0")
    entitled = entitlements(problem)
    empty = problem.capacity <= 0
    allowed = problem.valid & ~((problem.uses > 0) & empty[problem.rows][:, :, None]).any(axis=1)
    found = guarantees(problem, entitled, {} if previous is None else previous.guaranteed)
    choice = np.full(len(problem), REFUSED, dtype=np.int64)
    for tenant, members in zip(problem.tenants, members_of(problem), strict=True):
        if len(members):
            choice[members] = found[tenant.name].choices
    if problem.measured is not None:
        entitled = entitled.keeping(uses_by_tenant(problem, choice) + problem.measured)
    holdings = Holdings(problem, entitled, allowed, choice)
    lend(holdings)
    result = settled(holdings, choice, moves)
    final = Holdings(problem, entitled, allowed, result.choices)
    current = problem.current
    return EntitledPlan(
        problem=problem,
        choices=result.choices,
        refused=tuple(np.flatnonzero(result.choices == REFUSED).tolist()),
        moved=tuple(np.flatnonzero((current != REFUSED) & (result.choices != current)).tolist()),
        spent=result.spent,
        waiting=result.waiting,
        tenants=tenant_shares(final),
        entitled=entitled,
        guaranteed=found,
    )
