"""Early exits by confidence (BranchyNet, Teerapittayanon et al. 2016; SPINN, 2020).

A route with a threshold runs the full model with its earlier exits. Exits that branch off at or before the
cut are evaluated at the entry node; inputs that leave there do not cross the link. Means (energy, bytes, the
load of a stage) and accuracy are those of the mixture. The latency at percentile p is the lower of two safe
bounds. First, no input is slower than the full path with its margin at p. Second, if a share c > p leaves at
the entry node by exit m, at least a share p is no slower than the path to m with its margin at p / c, without
the link.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_planning.choosing.candidates import LOCAL, Floats, Integers
from edge_planning.choosing.exit_costs import (
    Work,
    accuracy_after,
    before,
    least_bandwidth,
    loss_of,
    rows,
    usable_codecs,
    waits,
)
from edge_planning.problems import Confidence


def leaving_early(work: Work, cuts: Integers) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yields rows of the full model with each threshold: local, and with each of the cuts and codecs."""
    for confidence in work.problem.confidences:
        yield _with(confidence, work, rows(work, np.array([LOCAL])), 0)
        if len(cuts):
            for codec in usable_codecs(work):
                yield _with(confidence, work, rows(work, cuts, codec=codec), codec)


def _with(
    confidence: Confidence, work: Work, columns: dict[str, npt.NDArray[Any]], codec: int
) -> dict[str, npt.NDArray[Any]]:
    problem = work.problem
    at = np.where(columns["cut"] == LOCAL, work.end, columns["cut"]).astype(np.int64)
    depth, branch, far = _branches(work)
    leaving, accuracy = np.array(confidence.leaving), np.array(confidence.accuracy)
    home = np.logical_or(depth[:, None] <= at, at == work.end)  # [exits, rows]: evaluated at the entry node
    home[-1] = at == work.end
    tried = np.cumsum(branch)[:, None]  # of all branches up to each
    spent = work.entry[depth][:, None] + tried
    crossing = 1 - (leaving[:, None] * home).sum(axis=0)
    crossing = np.where(at == work.end, 0.0, np.maximum(crossing, 0.0))
    branches = (branch[:, None] * home).sum(axis=0)
    worst_head = work.entry[at] + branches
    mean_head = (leaving[:, None] * home * spent).sum(axis=0) + crossing * worst_head
    behind = np.where(at < work.end, (far[:, None] * ~home).sum(axis=0), 0.0)
    tail = work.remote[at] + behind
    bits = np.asarray(columns["bits"], dtype=np.float64)
    margin = worst_head * work.extras[0] + tail * work.extras[1]
    loss = loss_of(problem.codecs[codec], work.exit)[at]
    with np.errstate(invalid="ignore"):
        lost = np.where(np.isinf(loss), np.inf, crossing * loss)
    joules = mean_head * problem.active_power
    if problem.radio is not None:
        joules = joules + crossing * bits * problem.radio.watts_per_bit
    at_home = waits(problem.load, mean_head, work.variances[0], problem.slo.percentile)
    changed: dict[str, Floats] = {
        "head": worst_head,
        "tail": tail,
        "margin": margin,
        "accuracy": accuracy_after((leaving * accuracy).sum(), lost),
        "joules": joules,
        "mean_head": mean_head,
        "mean_tail": crossing * tail,
        "mean_bits": crossing * bits,
        "least_bandwidth": least_bandwidth(problem, crossing * bits),
        "queue": at_home
        + waits(problem.remote_load, crossing * tail, work.variances[1], problem.slo.percentile),
        "threshold": np.full(len(at), confidence.threshold),
    }
    quick = [
        _at_home(confidence, work, home[:, n], spent[:, n if spent.shape[1] > 1 else 0])
        for n in range(len(at))
    ]
    for n, found in enumerate(quick):
        if found is not None and found[0] + found[1] <= worst_head[n] + margin[n] + tail[n]:
            changed["head"][n], changed["margin"][n], changed["tail"][n] = found[0], found[1], 0.0
            for name, value in (
                ("bits", 0.0),
                ("fixed", problem.local_overhead),
                ("queue", at_home[n]),
            ):
                changed.setdefault(name, np.array(columns[name], dtype=np.float64))[n] = value
    return {**columns, **changed}


def _at_home(
    confidence: Confidence, work: Work, home: npt.NDArray[np.bool_], spent: Floats
) -> tuple[float, float] | None:
    """Returns (seconds, margin) of the percentile if it leaves at the entry node, otherwise None."""
    percentile, gone = work.problem.slo.percentile, 0.0
    for number, share in enumerate(confidence.leaving):
        if not home[number]:
            return None
        gone += share
        if gone * 100 > percentile:
            inside = min(percentile / min(gone, 1.0), 99.999)
            factor = work.problem.entry.margin(work.problem.model.exits[number], inside) - 1
            return float(spent[number]), float(spent[number]) * factor
    return None


def _branches(work: Work) -> tuple[Integers, Floats, Floats]:
    """Returns for each exit where its branch leaves the full model, and the branch's seconds at both ends."""
    problem, places = work.problem, {cut.name: n for n, cut in enumerate(work.exit.cuts)}
    depth, near, far = [], [], []
    for exit_ in problem.model.exits[:-1]:
        own = max((n for n, cut in enumerate(exit_.cuts) if cut.name in places), default=0)
        depth.append(places.get(exit_.cuts[own].name, 0))
        cumulated = before(problem.entry, exit_) * problem.load.scale
        near.append(cumulated[-1] - cumulated[own])
        beyond = (
            before(problem.remote, exit_) * problem.remote_load.scale if problem.remote else cumulated * 0
        )
        far.append(beyond[-1] - beyond[own])
    return np.array([*depth, work.end], dtype=np.int64), np.array([*near, 0.0]), np.array([*far, 0.0])
