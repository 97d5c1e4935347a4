"""Early exits by confidence (BranchyNet, Teerapittayanon et al. 2016; SPINN, 2020).

A local route with a threshold runs the full model with its earlier exits, as the runtimes do. Means (energy,
the load of the node) and accuracy are those of the mixture. The latency at percentile p is the lower of two
safe bounds. First, no input is slower than the full path with its margin at p. Second, if a share c > p
leaves by exit m, at least a share p is no slower than the path to m with its margin at p / c.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_planning.choosing.candidates import LOCAL, Floats
from edge_planning.choosing.exit_costs import Work, before, occupied, rows, waits
from edge_planning.problems import Confidence


def leaving_early(work: Work) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yields the local row of the full model with each threshold."""
    for confidence in work.problem.confidences:
        yield _with(confidence, work)


def _with(confidence: Confidence, work: Work) -> dict[str, npt.NDArray[Any]]:
    problem = work.problem
    spent = _seconds(work)
    whole = spent[-1]
    head, margin = whole, whole * work.extras[0]
    quick = _percentile(confidence, work, spent)
    if quick is not None and sum(quick) <= head + margin:
        head, margin = quick
    leaving = np.array(confidence.leaving)
    mean = float(leaving @ spent)
    changed = {
        "head": head,
        "margin": margin,
        "accuracy": float(leaving @ np.array(confidence.accuracy)),
        "joules": mean * problem.active_power,
        "mean_head": mean,
        "threshold": confidence.threshold,
    }
    alone = rows(work, np.array([LOCAL]))
    busy = occupied(np.array([mean]), alone["receiving"])
    queue = waits(problem.load, busy, work.variances[0], problem.slo.percentile)
    return {**alone, **{name: np.array([value]) for name, value in changed.items()}, "queue": queue}


def _percentile(confidence: Confidence, work: Work, spent: Floats) -> tuple[float, float] | None:
    """Returns (seconds, margin) of the percentile if enough inputs leave early, otherwise None."""
    percentile, gone = work.problem.slo.percentile, 0.0
    for number, share in enumerate(confidence.leaving):
        gone += share
        if gone * 100 > percentile:
            inside = min(percentile / min(gone, 1.0), 99.999)
            factor = work.problem.entry.margin(work.problem.model.exits[number], inside) - 1
            return float(spent[number]), float(spent[number]) * factor
    return None


def _seconds(work: Work) -> Floats:
    """Returns the seconds after which an input leaves at each exit: the trunk, and all branches up to it."""
    problem, places = work.problem, {cut.name: n for n, cut in enumerate(work.exit.cuts)}
    trunk, branches = [], []
    for exit_ in problem.model.exits[:-1]:
        own = max((n for n, cut in enumerate(exit_.cuts) if cut.name in places), default=0)
        trunk.append(float(work.entry[places.get(exit_.cuts[own].name, 0)]))
        cumulated = before(problem.entry, exit_) * problem.load.scale
        branches.append(float(cumulated[-1] - cumulated[own]))
    found: Floats = np.array([*trunk, float(work.entry[work.end])]) + np.cumsum([*branches, 0.0])
    return found
