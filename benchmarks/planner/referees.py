"""Reference solutions of partitioning, implemented directly from its definition.

`price` computes the cost of given tiers in plain Python. `by_milp` finds the best ones as a mixed integer
program in HiGHS. Both read only the graph, nothing that the planner derived from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import highspy
import numpy as np

from edge_planning.graphs.values import Graph
from edge_planning.partitioning import PartitionProblem


def price(graph: Graph, problem: PartitionProblem, tiers: Sequence[int]) -> float:
    """Returns seconds; infinite if data would flow back, a fixed layer is elsewhere or memory lacks."""
    made = dict.fromkeys(graph.inputs, 0)
    made |= {name: tiers[v] for v, layer in enumerate(graph.layers) for name in layer.outputs}
    read = dict(made)
    for v, layer in enumerate(graph.layers):
        for name in layer.inputs:
            if made[name] > tiers[v]:
                return inf
            read[name] = max(read[name], tiers[v])
    if any(tiers[v] != tier for v, tier in problem.fixed.items()):
        return inf
    stages = [0.0] * len(problem.seconds)
    held = [0.0] * len(problem.seconds)
    for v, tier in enumerate(tiers):
        stages[tier] += float(problem.seconds[tier, v])
        held[tier] += 0.0 if problem.memory is None else float(problem.memory[v])
    if problem.limits is not None and any(h > lim for h, lim in zip(held, problem.limits, strict=True)):
        return inf
    for hop, rate in enumerate(problem.hop_seconds_per_byte.tolist()):
        size = sum(graph.tensors[name].size for name in made if made[name] <= hop < read[name])
        if problem.returned:
            size += sum(graph.tensors[name].size for name in graph.outputs if made[name] > hop)
        stages.append(size * rate + (float(problem.hop_fixed[hop]) if max(tiers) > hop else 0.0))
    return max(stages) if problem.objective == "bottleneck" else sum(stages)


def by_milp(graph: Graph, problem: PartitionProblem) -> tuple[int, ...] | None:
    """Returns the best tier of each layer; None if no assignment is allowed. RuntimeError: HiGHS failed.

    HiGHS 1.15.1 is wrong about a few of these programs in a thousand where memory or the bottleneck counts:
    with its presolve it calls feasible ones infeasible (as in its issue 3090), without it a partition optimal
    that is not, and a few end with an error. So those are solved both ways, and the cheaper one counts, as
    `price` has it.
    """
    program, at = _program(graph, problem)
    hard = problem.limits is not None or problem.objective == "bottleneck"
    found, failures = [], []
    for presolve in (False, True) if hard else (False,):
        try:
            values = program.solved(presolve=presolve)
        except RuntimeError as error:
            failures.append(error)
            continue
        if values is not None:
            found.append(tuple(int(np.argmax(values[columns])) for columns in at))
    if len(failures) == 1 + hard:
        raise failures[0]
    return min(found, key=lambda tiers: price(graph, problem, tiers), default=None)


def _program(graph: Graph, problem: PartitionProblem) -> tuple["_Program", list[list[int]]]:
    """at[v, k] is 1 when layer v runs at tier k, crosses[t, h] when tensor t is sent over hop h, used[h] when
    anything runs behind it. With the columns of `at`.
    """
    count, tiers = len(graph.layers), len(problem.seconds)
    hops = range(tiers - 1)
    maker = {name: v for v, layer in enumerate(graph.layers) for name in layer.outputs}
    program = _Program()
    unit = float(problem.seconds.max(initial=0.0)) or 1.0  # tolerances of HiGHS are absolute
    at = [
        [program.column(0, 0.0 if problem.fixed.get(v, k) != k else 1.0, whole=True) for k in range(tiers)]
        for v in range(count)
    ]
    used = [program.column(0, 1) for _ in hops]
    stages: list[dict[int, float]] = [
        {at[v][k]: float(problem.seconds[k, v]) / unit for v in range(count)} for k in range(tiers)
    ]

    def behind(v: int, hop: int, factor: float) -> dict[int, float]:
        return dict.fromkeys(at[v][hop + 1 :], factor)

    for v in range(count):
        program.row(dict.fromkeys(at[v], 1.0), 1, 1)
    for hop in hops:
        rate = float(problem.hop_seconds_per_byte[hop]) / unit
        stage = {used[hop]: float(problem.hop_fixed[hop]) / unit}
        crosses: dict[str, int] = {}
        for v, layer in enumerate(graph.layers):
            program.row({used[hop]: 1.0} | behind(v, hop, -1), 0)
            for name in dict.fromkeys(layer.inputs):
                before = behind(maker[name], hop, 1) if name in maker else {}
                if name not in crosses:
                    crosses[name] = program.column(0, 1)
                    stage[crosses[name]] = rate * graph.tensors[name].size
                program.row({crosses[name]: 1.0} | before | behind(v, hop, -1), 0)
                if before:
                    program.row(behind(v, hop, 1) | dict.fromkeys(before, -1.0), 0)
        for name in graph.outputs if problem.returned else ():
            for column in at[maker[name]][hop + 1 :] if name in maker else ():
                stage[column] = stage.get(column, 0.0) + rate * graph.tensors[name].size
        stages.append(stage)
    if problem.memory is not None and problem.limits is not None:
        scale = float(problem.memory.max(initial=0.0)) or 1.0
        for k, limit in enumerate(problem.limits.tolist()):
            held = {at[v][k]: float(problem.memory[v]) / scale for v in range(count)}
            program.row(held, -inf, limit / scale)
    if problem.objective == "bottleneck":
        worst = program.column(0, inf, 1.0)
        for stage in stages:
            program.row({worst: 1.0} | {column: -factor for column, factor in stage.items()}, 0)
    else:
        for stage in stages:
            for column, factor in stage.items():
                program.costs[column] += factor
    return program, at


@dataclass(slots=True)
class _Program:
    costs: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[Mapping[int, float], float, float]] = field(default_factory=list)

    def column(self, low: float, high: float, cost: float = 0.0, *, whole: bool = False) -> int:
        self.costs.append(cost)
        self.low.append(low)
        self.high.append(high)
        self.whole.append(whole)
        return len(self.costs) - 1

    def row(self, factors: Mapping[int, float], low: float, high: float = inf) -> None:
        self.rows.append((factors, low, high))

    def solved(self, *, presolve: bool) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
        """The columns' values; None for what is infeasible."""
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.costs), len(self.rows)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = map(np.array, (self.costs, self.low, self.high))
        lp.row_lower_ = np.array([low for _, low, _ in self.rows], dtype=float)
        lp.row_upper_ = np.array([high for _, _, high in self.rows], dtype=float)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[one] for one in self.whole]
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.cumsum([0, *(len(factors) for factors, _, _ in self.rows)])
        lp.a_matrix_.index_ = np.array([c for factors, _, _ in self.rows for c in factors])
        lp.a_matrix_.value_ = np.array(
            [f for factors, _, _ in self.rows for f in factors.values()], dtype=float
        )
        highs = highspy.Highs()  # type: ignore[no-untyped-call]
        options = {"output_flag": False, "threads": 1, "mip_rel_gap": 1e-9, "mip_abs_gap": 0.0}
        for name, value in (options | {"presolve": "on" if presolve else "off"}).items():
            highs.setOptionValue(name, value)
        highs.passModel(lp)
        highs.run()
        status = highs.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS: {highs.modelStatusToString(status)}")
        return np.array(highs.getSolution().col_value)
