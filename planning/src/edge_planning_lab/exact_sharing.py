"""The joint choice of `edge_planning.sharing` by mixed-integer programming (HiGHS): its referee.

Tests and benchmarks compare the product's solver with it. No deployed component runs it.
"""

from dataclasses import dataclass

import highspy
import numpy as np

from edge_planning.errors import require
from edge_planning.sharing.arrays import REFUSED, Floats, Integers
from edge_planning.sharing.frames import Frame, frame
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.solving import known_references, net_utility


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """The exact result.

    Attributes:
        choices: [D].
        level: The highest level (at most 1).
        utility: The highest utility subject to the floor.
        bound: Upper bound of the utility.
        optimal: Whether every step was solved to optimality.
    """

    choices: Integers
    level: float
    floor: float
    utility: float
    bound: float
    optimal: bool

    @property
    def gap(self) -> float:
        """Gap of the utility; 1 if HiGHS had no bound or no plan in time."""
        if not np.isfinite(self.bound):
            return 1.0
        return max(self.bound - self.utility, 0.0) / self.bound if self.bound > 0 else 0.0


def share_exactly(
    problem: SharingProblem,
    references: Floats | None = None,
    *,
    floor: float | None = None,
    seconds: float = 60.0,
    tolerance: float = 1e-9,
) -> Exact:
    """Returns the optimum of the joint choice; each step is limited to `seconds` in HiGHS.

    With a `floor`, the level is not maximized: the plan satisfies that floor.
    """
    require(bool(len(problem)), "demands: the list is empty")
    require(seconds > 0, f"seconds {seconds} must be > 0")
    require(floor is None or floor >= 0, f"floor {floor} must be >= 0")
    framed = frame(problem, known_references(problem, references))
    model = _Model(framed, seconds, tolerance)
    for priority in np.unique(problem.priority)[::-1].tolist():
        model.limit_refusals(priority)
    level = float("nan")
    if floor is None:
        level = model.highest_level()
        floor = (1 - problem.level_slack) * level
    model.hold(floor)
    found, bound = model.best(problem.net[model.demand, model.option])
    choices = np.full(len(problem), REFUSED, dtype=np.int64)
    if len(found):
        on = found[: model.count] > 0.5
        choices[model.demand[on]] = model.option[on]
    return Exact(choices, level, floor, net_utility(problem, choices), bound, model.optimal)


class _Model:
    """A column per allowed candidate of every demand, one per refusal, and one for the level."""

    def __init__(self, framed: Frame, seconds: float, tolerance: float) -> None:
        problem = framed.problem
        self.framed, self.optimal = framed, True
        self.demand, self.option = (one.astype(np.int64) for one in np.nonzero(framed.allowed))
        self.count, self.size = len(self.demand), len(problem)
        highs = highspy.Highs()  # type: ignore[no-untyped-call]
        highs.setOptionValue("output_flag", False)  # noqa: FBT003
        highs.setOptionValue("threads", 1)
        highs.setOptionValue("time_limit", seconds)
        highs.setOptionValue("mip_rel_gap", tolerance)
        highs.setOptionValue("mip_abs_gap", 1e-9)
        highs.passModel(self._program())
        self.highs, self.seconds = highs, seconds

    def _program(self) -> highspy.HighsLp:
        problem, framed = self.framed.problem, self.framed
        size, resources, tenants = self.size, len(problem.resources), len(problem.tenants)
        demand, option = self.demand, self.option
        scale = np.where(framed.asking, framed.scale, 1.0)
        capacity = np.where(problem.capacity > 0, problem.capacity, 1.0)
        tenant = problem.tenant[demand]
        index = np.concatenate(
            (demand[:, None], size + problem.rows[demand], (size + resources + tenant)[:, None]), axis=1
        )
        amount = np.concatenate(
            (
                np.ones((self.count, 1)),
                problem.uses[demand, :, option] / capacity[problem.rows[demand]],
                (-problem.worth[demand, option] / scale[tenant])[:, None],
            ),
            axis=1,
        )
        keep = amount != 0
        starts = np.concatenate(([0], np.cumsum(keep.sum(axis=1))))
        rising = size + resources + np.flatnonzero(framed.asking)
        index = np.concatenate((index[keep], np.arange(size), rising))
        amount = np.concatenate((amount[keep], np.ones(size + len(rising))))
        starts = np.concatenate((starts, starts[-1] + 1 + np.arange(size), [len(index)]))
        columns = self.count + size + 1
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = columns, size + resources + tenants
        lp.col_cost_ = np.zeros(columns)
        lp.col_lower_, lp.col_upper_ = np.zeros(columns), np.ones(columns)
        lp.row_lower_ = np.concatenate((np.ones(size), np.full(resources + tenants, -np.inf)))
        limits = np.where(problem.capacity > 0, 1.0, 0.0)
        lp.row_upper_ = np.concatenate((np.ones(size), limits, np.zeros(tenants)))
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = starts.astype(np.int32), index.astype(np.int32)
        lp.a_matrix_.value_ = amount
        kinds = [highspy.HighsVarType.kInteger] * (columns - 1) + [highspy.HighsVarType.kContinuous]
        lp.integrality_ = kinds
        lp.sense_ = highspy.ObjSense.kMaximize
        return lp

    def best(self, gain: Floats, refusal: Floats | None = None, level: float = 0.0) -> tuple[Floats, float]:
        """Returns the best columns for these gains, and the bound; no columns if none was found in time."""
        refusal = np.zeros(self.size) if refusal is None else refusal
        cost = np.concatenate((gain, refusal, [level]))
        self.highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        self.highs.run()
        self.optimal &= self.highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        info = self.highs.getInfo()
        if info.primal_solution_status != 2:
            return np.zeros(0), float(info.mip_dual_bound)
        return np.asarray(self.highs.getSolution().col_value), float(info.mip_dual_bound)

    def limit_refusals(self, priority: int) -> None:
        """Minimizes the refusals of a priority and fixes their number."""
        among = np.flatnonzero(self.framed.problem.priority == priority)
        refusal = np.zeros(self.size)
        refusal[among] = -1.0
        found, _ = self.best(np.zeros(self.count), refusal)
        least = float(round(found[self.count + among].sum())) if len(found) else float(len(among))
        columns = (self.count + among).astype(np.int32)
        self.highs.addRow(-highspy.kHighsInf, least, len(columns), columns, np.ones(len(columns)))

    def highest_level(self) -> float:
        if not self.framed.asking.any():
            return 1.0
        found, _ = self.best(np.zeros(self.count), None, 1.0)
        return float(found[-1]) if len(found) else 0.0

    def hold(self, level: float) -> None:
        """Requires the floor of a level for every tenant in later steps."""
        low = max(min(level, 1.0) - 1e-9, 0.0)
        self.highs.changeColBounds(self.count + self.size, low, low)
