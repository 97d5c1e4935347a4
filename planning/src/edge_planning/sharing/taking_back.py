"""Makes the plan in use fit again: takes lent capacity back for owners that claim their entitlement.

Borrowers step down, those that have borrowed most for their weight first; a demand without a candidate that
suffices is refused, the lowest priority first. No tenant is taken below its entitlement.
"""

from math import inf

import numpy as np

from edge_planning.sharing.arrays import REFUSED
from edge_planning.sharing.guarantees import best_claim
from edge_planning.sharing.holdings import ROUNDING, Holdings


def taken_back(holdings: Holdings) -> bool:
    """Steps borrowers down until all fits and no owner is denied a claim that is worth a move.

    Returns False if that takes more moves than there are candidates; the holdings are then of no use.
    """
    most = len(holdings.journal) + holdings.problem.worth.size
    for row, missing in holdings.overfull():
        if not _freed(holdings, row, missing, None):
            return False
    for tenant in range(len(holdings.use)):
        for row, missing in holdings.above_limit(tenant):
            if not _stepped_down(holdings, tenant, row, missing):
                return False
    open_claims = True
    while open_claims:
        open_claims = False
        for tenant in range(len(holdings.use)):
            while claim := best_claim(holdings, tenant):
                for row, missing in list(holdings.excess(*claim)):
                    if not _freed(holdings, row, missing, tenant):
                        return False
                if not holdings.fits(*claim) or len(holdings.journal) > most:
                    return False
                holdings.move(*claim)
                open_claims = True
    return True


def _freed(holdings: Holdings, row: int, missing: float, owner: int | None) -> bool:
    """Frees an amount of a resource by what tenants other than the owner have borrowed of it."""
    weight, nominal = holdings.entitled.weight, holdings.entitled.nominal
    while missing > ROUNDING * float(holdings.problem.capacity[row]):
        over = {
            tenant: holdings.use[tenant][row] - float(nominal[tenant, row])
            for tenant in range(len(holdings.use))
            if tenant != owner
        }
        slack = ROUNDING * float(holdings.problem.capacity[row])
        borrowers = [tenant for tenant, amount in over.items() if amount > slack]
        if not borrowers:
            return False
        first = max(
            borrowers,
            key=lambda one: (
                over[one] / float(weight[one]) if weight[one] > 0 else inf,
                over[one],
                holdings.problem.tenants[one].name,
            ),
        )
        before = holdings.free[row]
        if not _one_down(holdings, first, row):
            return False
        missing -= holdings.free[row] - before
    return True


def _stepped_down(holdings: Holdings, tenant: int, row: int, missing: float) -> bool:
    """Frees an amount of a resource by one tenant's demands."""
    target = holdings.use[tenant][row] - missing
    while holdings.use[tenant][row] > target + ROUNDING * float(holdings.problem.capacity[row]):
        if not _one_down(holdings, tenant, row):
            return False
    return True


def _one_down(holdings: Holdings, tenant: int, row: int) -> bool:
    """Moves the demand of a tenant that loses least for what it frees of a resource, or refuses one."""
    problem, members = holdings.problem, holdings.members[tenant]
    now = np.array([holdings.choice[one] for one in members.tolist()], dtype=np.int64)
    users, slots = np.nonzero((problem.rows[members] == row) & (now != REFUSED)[:, None])
    if not len(users):
        return False
    demands, have = members[users], now[users]
    growth = holdings.growth(demands, have)
    relief = -growth[np.arange(len(users)), slots]
    useful = (relief > ROUNDING * problem.capacity[row]) & holdings.fitting(tenant, demands, growth)
    worth = problem.worth[demands]
    loss = np.take_along_axis(worth, have[:, None], axis=1) - worth
    who, options = np.nonzero(useful)
    order = np.argsort(loss[who, options] / relief[who, options], kind="stable")
    if len(order):
        holdings.move(int(demands[who[order[0]]]), int(options[order[0]]))
        return True
    used = problem.uses[demands, slots, have]
    holding = np.flatnonzero(used > 0)
    if not len(holding):
        return False
    last = holding[np.lexsort((-used[holding], problem.priority[demands[holding]]))[0]]
    holdings.move(int(demands[last]), REFUSED)
    return True
