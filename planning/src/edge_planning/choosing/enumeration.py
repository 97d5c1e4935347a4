"""Enumerates candidates: exit x cut x codec x up to three tiers, vectorized over the cuts."""

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from edge_planning.choosing.candidates import COLUMNS, LOCAL, NONE, Candidates, Integers, Mask
from edge_planning.choosing.confidences import leaving_early
from edge_planning.choosing.exit_costs import Rows, Work, rows, usable_codecs, work_of
from edge_planning.problems import EntryProblem, Mode, Privacy

WHOLE = ("exit", "cut", "intermediate", "second", "first_codec", "codec")


def candidates(problem: EntryProblem) -> Candidates:
    """Returns all candidates that the constraints allow; can be empty (see sentences.nothing_allowed).

    With an intermediate node and Triton there are n * (n - 1) / 2 pairs of cuts per exit. If only latency and
    accuracy decide and the intermediate node's memory and rate do not count, only the best first cut for each
    second cut can be chosen, at any bandwidth. A running minimum finds all of them exactly in O(n).
    """
    found: list[Rows] = []
    for number in range(len(problem.model.exits)):
        full = number == len(problem.model.exits) - 1
        if full or problem.mode in (Mode.AUTO, Mode.RIGHT_SIZING_ONLY):
            work = work_of(problem, number)
            found += [_kept(work, row) for row in _placements(work, full=full)]
    columns: dict[str, Any] = {
        name: np.concatenate([row[name] for row in found]).astype(np.int64 if name in WHOLE else np.float64)
        if found
        else np.zeros(0, dtype=np.int64 if name in WHOLE else np.float64)
        for name in COLUMNS
        if name != "worth"
    }
    columns["worth"] = columns["accuracy"]  # until the objective has seen all columns
    made = Candidates(
        problem.model.exits, problem.codecs, problem.intermediates, **columns, prices=problem.prices
    )
    return with_worth(problem, made)


def with_worth(problem: EntryProblem, made: Candidates) -> Candidates:
    """Returns the candidates with their worth to the objective, if it has one."""
    worth = problem.objective.worth
    if worth is None:
        return made
    # Tables need one worth for all bandwidths: that in the middle of the range.
    middle = sqrt(problem.tables.low * problem.tables.high)
    return replace(made, worth=worth(made, middle))


def _placements(work: Work, *, full: bool) -> Iterator[Rows]:
    problem = work.problem
    cuts = _cuts(work)
    if full and problem.mode is Mode.AUTO and problem.confidences:
        # Runtimes apply the threshold to every request of a local route.
        yield from leaving_early(work)
    elif problem.mode is not Mode.CLOUD_ONLY:
        yield rows(work, np.array([LOCAL]))
    if not len(cuts):
        return
    if problem.remote is not None:
        for codec in usable_codecs(work):
            yield rows(work, cuts, codec=codec)
    if problem.mode is not Mode.CLOUD_ONLY:
        for intermediate in range(len(problem.intermediates)):
            yield from _by_intermediate(work, cuts, intermediate)


def _cuts(work: Work) -> Integers:
    """Returns the cuts at which mode and privacy allow activations to leave the entry node."""
    problem, exit_ = work.problem, work.exit
    if problem.mode in (Mode.LOCAL_ONLY, Mode.RIGHT_SIZING_ONLY) or problem.privacy is Privacy.LOCAL:
        return np.zeros(0, dtype=np.int64)
    cuts = np.arange(1 if problem.mode is Mode.CLOUD_ONLY else work.end)
    if problem.privacy is Privacy.INPUT_STAYS_LOCAL:
        inputs = problem.model.input_copies.union(exit_.cuts[0].tensors)
        cuts = cuts[[inputs.isdisjoint(exit_.cuts[n].tensors) for n in cuts]]
    return cuts


def _by_intermediate(work: Work, cuts: Integers, intermediate: int) -> Iterator[Rows]:
    """Yields rows of entry node and intermediate node, and of all three tiers if there is Triton."""
    problem = work.problem
    codecs = usable_codecs(work)
    simple = problem.objective.latency_and_accuracy
    load = problem.intermediates[intermediate].load
    limited = np.isfinite(load.memory) and bool(problem.model.memory)
    for first in codecs:
        alone = rows(work, cuts, intermediate, first=first)
        yield alone
        if problem.remote is None or len(cuts) < 2:
            continue
        seconds = work.intermediates[intermediate]
        growing = (1 + work.intermediate_extras[intermediate]) * (seconds[-1] - seconds[cuts])
        spent = sum(
            np.asarray(alone[name], dtype=np.float64) for name in ("head", "margin", "fixed", "hop", "queue")
        )
        spent = spent - work.intermediate_extras[intermediate] * (seconds[-1] - seconds[cuts])
        # If losses differ between cuts, the fastest first cut need not be the best. With a rate, waiting
        # depends on both cuts.
        alone_there = not load.rate and load.others is None
        if simple and not limited and alone_there and problem.codecs[first].at is None:
            cost = spent + growing  # of a first cut, without the part that the second cut decides
            cost = np.where(_fits(work, alone), cost, np.inf)
            lowest = np.minimum.accumulate(cost)
            best = np.maximum.accumulate(np.where(cost <= lowest, np.arange(len(cuts)), 0))
            second = cuts[1:]
            start = cuts[best[np.searchsorted(cuts, second, side="left") - 1]]
        else:
            one, other = np.meshgrid(cuts, cuts, indexing="ij")
            start, second = one[one < other], other[one < other]
        for codec in codecs:
            yield rows(work, start, intermediate, second, first, codec)


def _fits(work: Work, row: Rows) -> Mask:
    fits: Mask = np.asarray(row["memory"], dtype=np.float64) <= work.problem.load.memory
    problem = work.problem
    busy = np.asarray(row["head"]) > 0
    if problem.node in problem.must_run_at:
        fits = fits & busy
    if problem.node in problem.must_not_run_at:
        fits = fits & ~busy
    return fits


def _kept(work: Work, row: Rows) -> Rows:
    """Returns the rows that satisfy the minimum accuracy, the pinned places and the memory of every place."""
    problem, end = work.problem, work.end
    cut, second, intermediate = (
        np.asarray(row[name], dtype=np.int64) for name in ("cut", "second", "intermediate")
    )
    accuracy = np.asarray(row["accuracy"], dtype=np.float64)
    keep = np.logical_and(_fits(work, row), accuracy >= (problem.min_accuracy or 0.0))
    at = np.where(cut == LOCAL, end, cut)
    last = np.where(intermediate == NONE, at, np.where(second == NONE, end, second))
    keep &= work.memory[end] - work.memory[last] <= problem.remote_load.memory
    keep &= _pinned(problem, problem.peer, last < end)
    for number, place in enumerate(problem.intermediates):
        there = intermediate == number
        size = (work.memory[last] - work.memory[at]) * place.profile.memory
        keep &= ~there | (size <= place.load.memory)
        keep &= _pinned(problem, place.name, there)
    return row if keep.all() else {name: column[keep] for name, column in row.items()}


def _pinned(problem: EntryProblem, place: str, there: Mask) -> Mask:
    allowed = np.ones(len(there), dtype=np.bool_)
    if place in problem.must_run_at:
        allowed &= there
    if place in problem.must_not_run_at:
        allowed &= ~there
    return allowed
