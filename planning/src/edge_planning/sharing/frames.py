"""A joint choice as a linear program: its rows, their scale, and the bounds that prices prove."""

from dataclasses import dataclass

import numpy as np

from edge_planning.sharing.arrays import Floats, Integers, Mask
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.relaxation import RelaxedProgram

REFUSAL = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The rows of the program: resources, tenants, and the cap of the level.

    Resource rows are in units of their capacity, tenant rows in units of their scale.

    Attributes:
        references: Utility of level 1 at weight 1 [T].
        scale: Normalized weight x reference [T]; 0 for a tenant without a level.
    """

    problem: SharingProblem
    references: Floats
    scale: Floats
    allowed: Mask

    @property
    def asking(self) -> Mask:
        """Mask of the tenants that have a level."""
        return np.asarray(self.scale > 0)

    @property
    def servable(self) -> bool:
        """Whether every demand has a candidate that uses no resource of capacity 0."""
        return bool(self.allowed.any(axis=1).all())

    def floors(self, level: float) -> Floats:
        """Returns the utility that a level guarantees each tenant [T]."""
        return np.asarray(min(level, 1.0) * self.scale)

    def level(self, utility: Floats) -> float:
        """Returns the highest level that all tenants reach, at most 1."""
        asking = self.asking
        return min(float((utility[asking] / self.scale[asking]).min()), 1.0) if asking.any() else 1.0


def frame(problem: SharingProblem, references: Floats) -> Frame:
    """Returns the frame of a problem; weights are relative to the greatest."""
    weights = np.array([tenant.weight for tenant in problem.tenants])
    weights = weights / weights.max()
    empty = problem.capacity == 0
    allowed = problem.valid
    if empty.any():
        allowed = allowed & ~((problem.uses > 0) & empty[problem.rows][:, :, None]).any(axis=1)
    return Frame(problem, references, weights * references, allowed)


def program(
    frame: Frame, gain: Floats, *, floors: Floats | None, rises: Mask, penalty: Floats | None
) -> RelaxedProgram:
    """Returns the program max gain x + level; the utility of rising tenants is at least level x scale.

    `floors` [T] are minimum utilities of the other tenants; None omits the tenants' rows. `penalty` [D] is
    the cost of a refusal; None forbids refusals.
    """
    problem = frame.problem
    count, slots, width = problem.uses.shape
    resources = len(problem.resources)
    capacity = np.where(problem.capacity > 0, problem.capacity, 1.0)
    extra, fair = int(penalty is not None), floors is not None
    amounts = np.zeros((count, slots + int(fair), width + extra))
    np.multiply(problem.uses, (1 / capacity)[problem.rows][:, :, None], out=amounts[:, :slots, :width])
    rows = problem.rows
    limit, rising = np.ones(resources), np.zeros(resources)
    reward = 0.0
    if floors is not None:
        scale = np.where(frame.asking, frame.scale, 1.0)
        amounts[:, slots, :width] = -problem.worth / scale[problem.tenant][:, None]
        rows = np.concatenate((rows, (resources + problem.tenant)[:, None]), axis=1)
        limit = np.concatenate((limit, np.where(rises, 0.0, -floors / scale)))
        rising = np.concatenate((rising, rises.astype(np.float64)))
        reward = float(problem.worth.max(axis=1).sum()) if rises.any() else 0.0
    allowed = frame.allowed
    if penalty is not None:
        gain = np.concatenate((gain, -penalty[:, None]), axis=1)
        allowed = np.concatenate((allowed, np.full((count, 1), True)), axis=1)
    mean = float(problem.worth.max(axis=1).mean()) if count else 1.0
    return RelaxedProgram(gain, allowed, rows, amounts, limit, rising, reward, mean)


def penalties(frame: Frame) -> Floats:
    """Returns the cost of a refusal in the relaxation [D]: above any utility, higher for high priorities."""
    problem = frame.problem
    _, rank = np.unique(problem.priority, return_inverse=True)
    step = min(10.0, 1e4 ** (1 / max(int(rank.max(initial=0)), 1)))
    best = float(problem.worth.max(initial=0.0))
    return np.asarray(REFUSAL * max(best, 1e-9) * step ** rank.reshape(-1))


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """The bound that prices prove. best [D]: each demand's best score. total: the bound."""

    price: Floats
    tenant_price: Floats
    best: Floats
    total: float


def proof(frame: Frame, gain: Floats, price: Floats, refused: Integers, *, fair: bool = True) -> Proof:
    """Evaluates the dual function at any prices >= 0, in the problem's own units.

    For all x within capacity: sum gain x + sum_t tenant_price_t U_t <= total, if no more demands of a
    priority are refused than in `refused` (indices of demands). Demands without an allowed candidate are
    always refused.
    """
    problem = frame.problem
    resources = len(problem.resources)
    per_unit = price[:resources] / np.where(problem.capacity > 0, problem.capacity, 1.0)
    tenant_price = np.zeros(len(problem.tenants))
    if fair:
        tenant_price = np.where(
            frame.asking, price[resources:] / np.where(frame.asking, frame.scale, 1.0), 0.0
        )
    table = weighed(frame, gain, per_unit, tenant_price)
    able: Mask = np.asarray(frame.allowed.any(axis=1))
    best = np.where(able, table.max(axis=1), 0.0)
    total = float(best.sum() + per_unit @ problem.capacity)
    for priority in np.unique(problem.priority[refused]).tolist():
        among = best[able & (problem.priority == priority)]
        dropped = int((able[refused] & (problem.priority[refused] == priority)).sum())
        total -= float(np.minimum(np.sort(among)[:dropped], 0.0).sum())
    return Proof(per_unit, tenant_price, best, total)


def weighed(frame: Frame, gain: Floats, per_unit: Floats, tenant_price: Floats) -> Floats:
    """Returns gain plus the prices of the tenants' floors minus the prices of resources [D, O]."""
    problem = frame.problem
    paid = np.einsum("dko,dk->do", problem.uses, per_unit[problem.rows])
    table = gain + problem.worth * tenant_price[problem.tenant][:, None] - paid
    return table if frame.allowed.all() else np.where(frame.allowed, table, -np.inf)


def level_bound(frame: Frame, found: Proof) -> float:
    """Returns an upper bound of the level from a proof without gains: sum_t tenant_price_t U_t <= total."""
    promised = float(found.tenant_price @ frame.scale)
    return min(max(found.total / promised, 0.0), 1.0) if promised > 0 else 1.0
