"""Partitioning as an integer program solved by HiGHS, for memory limits and for the bottleneck."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_planning.partitioning.partitions import Floats, Partition, PartitionProblem, Unpartitionable
from edge_planning.partitioning.pricing import priced

if TYPE_CHECKING:
    import highspy


def by_integers(problem: PartitionProblem, nodes: int) -> Partition | Unpartitionable:
    """Solves the program: late[h][v] is 1 if layer v runs behind hop h, sent[h][t] if tensor t crosses it."""
    import highspy

    s, tiers = problem.structure, len(problem.seconds)
    layers, tensors, hops = range(len(s.layers)), range(len(s.tensors)), range(tiers - 1)
    model = highspy.Highs()  # type: ignore[no-untyped-call]
    model.setOptionValue("output_flag", False)  # noqa: FBT003
    model.setOptionValue("threads", 1)
    model.setOptionValue("mip_max_nodes", nodes)
    model.setOptionValue("mip_rel_gap", 1e-7)
    model.setOptionValue("mip_abs_gap", 0.0)
    unit = float(problem.seconds.max(initial=0.0)) or 1.0  # HiGHS' tolerances are absolute
    late = [[model.addBinary() for _ in layers] for _ in hops]
    sent = [[model.addVariable(0, 1) for _ in tensors] for _ in hops]
    used = [model.addBinary() for _ in hops]
    for h in hops:
        for v in layers:
            model.addConstr(late[h][v] <= used[h])
            if h:
                model.addConstr(late[h][v] <= late[h - 1][v])
        for t, v in zip(s.tensor_of.tolist(), s.reader.tolist(), strict=True):
            made = s.producer[t]
            if made < 0:
                model.addConstr(sent[h][t] >= late[h][v])
            else:
                model.addConstr(sent[h][t] >= late[h][v] - late[h][made])
                model.addConstr(late[h][v] >= late[h][made])
    for v, tier in problem.fixed.items():
        for h in hops:
            model.addConstr(late[h][v] == float(tier > h))

    def at(weights: Floats, tier: int) -> highspy.highs.highs_linear_expression:
        total = highspy.highs.highs_linear_expression()
        for v in layers:
            total += 0.0 * used[0] + float(weights[v]) * late[tier - 1][v] if tier else float(weights[v])
            if tier < tiers - 1:
                total -= float(weights[v]) * late[tier][v]
        return total

    stages = [at(problem.seconds[i] / unit, i) for i in range(tiers)]
    back = s.results[s.producer[s.results] >= 0].tolist() if problem.returned else []
    for h in hops:
        rate = float(problem.hop_seconds_per_byte[h]) / unit
        total = float(problem.hop_fixed[h]) / unit * used[h]
        for t in tensors:
            total += rate * float(s.size[t]) * sent[h][t]
        for t in back:
            total += rate * float(s.size[t]) * late[h][s.producer[t]]
        stages.append(total)
    if problem.memory is not None and problem.limits is not None:
        unit_bytes = float(problem.memory.max(initial=0.0)) or 1.0
        for i in range(tiers):
            if np.isfinite(problem.limits[i]):
                model.addConstr(at(problem.memory / unit_bytes, i) <= float(problem.limits[i] / unit_bytes))
    worst = model.addVariable(0, highspy.kHighsInf)
    if problem.objective == "bottleneck":
        for stage in stages:
            model.addConstr(worst >= stage)
        model.minimize(worst)
    else:
        goal = highspy.highs.highs_linear_expression()
        for stage in stages:
            goal += stage
        model.minimize(goal)
    if model.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return Unpartitionable(("no partition satisfies the tiers' memory limits and the fixed layers",))
    if not np.isfinite(model.getInfo().objective_function_value) or not model.getSolution().value_valid:
        return Unpartitionable(("the search ended before it found a partition",), proven=False)
    values = np.array(model.getSolution().col_value)
    labels = np.zeros(len(s.layers), dtype=np.int64)
    for h in hops:
        labels += values[[one.index for one in late[h]]] > 0.5
    return priced(problem, labels, model.getInfo().mip_dual_bound * unit)
