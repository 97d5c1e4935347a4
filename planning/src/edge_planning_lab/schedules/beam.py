"""A good schedule of many requests, by beam search."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_planning.choosing.candidates import Floats
from edge_planning_lab.schedules.known import Decision, KnownRequests, Schedule

WIDTH = 128
"""Schedules that are kept after each request."""
AHEAD = 4
"""Requests without a decision, the earliest first, of which the next one in a schedule is taken."""
_PRICES = (0.2, 1.0, 4.0, 16.0)
"""Utility that a second of the node, or of the link, may be worth. Schedules are compared by each pair of
prices: those are kept which leave node and link free early, and those of high utility."""

_REACH = 60
"""How far ahead of the first undecided request another one can be decided; they are bits of an integer."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Beam:
    """Partial schedules [schedules], in all of which the same number of requests is decided.

    first: the first undecided request. later: those decided after it, as bits. parent, request, candidate:
    the step from the beam before; candidate -1: the request is not served.
    """

    node: Floats
    link: Floats
    utility: Floats
    first: Integers
    later: Integers
    parent: Integers
    request: Integers
    candidate: Integers

    def select(self, kept: Integers) -> "_Beam":
        return _Beam(*(getattr(self, name)[kept] for name in self.__slots__))


def beam_schedule(requests: KnownRequests, width: int = WIDTH, ahead: int = AHEAD) -> Schedule:
    """Returns the best schedule that is found.

    Each step decides one request: one of the `ahead` earliest undecided ones by any candidate, or that the
    earliest one is not served. Of the schedules with the same decided requests, those that another one beats
    or equals in utility, node and link are left out; `width` of the others are kept.
    """
    none, zero = np.zeros(1, dtype=np.int64), np.zeros(1)
    beam = _Beam(zero, zero, zero, none, none, none, none, none)
    steps: list[_Beam] = []
    for decided in range(1, len(requests) + 1):
        soon = float(requests.arrived[min(decided, len(requests) - 1)])
        beam = _kept(_extended(requests, beam, ahead), width, soon)
        steps.append(beam)
    return _schedule(steps)


def _extended(requests: KnownRequests, beam: _Beam, ahead: int) -> _Beam:
    """Returns all schedules with one more decision."""
    total = len(requests)
    window = np.stack([_undecided(beam, k) for k in range(ahead)], axis=1)  # [schedules, ahead]
    there = (window < total) & (window - beam.first[:, None] <= _REACH)
    request = np.where(there, window, 0)
    service = requests.service[request]
    arrived, due = requests.arrived[request][..., None], requests.due[request][..., None]
    head, bits = requests.head[service], requests.bits[service]
    after, accuracy = requests.after[service], requests.accuracy[service]
    node = beam.node[:, None, None]
    ready = np.where(head > 0, np.maximum(arrived, node) + head, arrived)
    possible = there[..., None] & (ready + after <= due)
    parent, place, candidate = np.nonzero(possible)
    at = (parent, place, candidate)
    sends = bits[at] > 0
    done = ready[at]
    begin = np.maximum(done[sends], beam.link[parent[sends]])
    crossed = done.copy()
    crossed[sends] = requests.link.finish_many(begin, bits[at][sends])
    in_time = crossed + after[at] <= due[parent, place, 0]
    # A first request that cannot be in time any more is decided at once, so that the number of decisions says
    # how far a schedule is.
    hopeful = np.zeros(len(beam.node), dtype=np.bool_)
    hopeful[parent[in_time & (place == 0)]] = True
    kept = in_time & hopeful[parent]
    parent, place, candidate, sends = parent[kept], place[kept], candidate[kept], sends[kept]
    done, crossed = done[kept], crossed[kept]
    computes = head[parent, place, candidate] > 0
    served = _Beam(
        np.where(computes, done, beam.node[parent]),
        np.where(sends, crossed, beam.link[parent]),
        beam.utility[parent] + accuracy[parent, place, candidate],
        beam.first[parent],
        beam.later[parent],
        parent,
        request[parent, place],
        candidate,
    )
    all_ = np.arange(len(beam.node))
    skipped = _Beam(
        beam.node, beam.link, beam.utility, beam.first, beam.later, all_, beam.first, np.full(len(all_), -1)
    )
    return _decided(_joined(served, skipped), requests)


def _undecided(beam: _Beam, number: int) -> Integers:
    """Returns the index of the undecided request with this number, from 0, of each schedule."""
    found = beam.first.copy()
    for _ in range(number):
        found += 1
        while True:
            taken = (beam.later >> (found - beam.first - 1)) & 1 == 1
            if not taken.any():
                break
            found[taken] += 1
    return found


def _joined(one: _Beam, other: _Beam) -> _Beam:
    columns = (np.concatenate((getattr(one, n), getattr(other, n))) for n in _Beam.__slots__)
    return _Beam(*columns)


def _decided(beam: _Beam, requests: KnownRequests) -> _Beam:
    """Marks the last request of each schedule as decided, and lets node and link be free no earlier than the
    first undecided one arrives: before, they are of no use.
    """
    offset = beam.request - beam.first
    later = np.where(offset > 0, beam.later | (1 << np.maximum(offset - 1, 0)), beam.later)
    first = beam.first.copy()
    step = offset == 0
    while step.any():  # the first is decided: those that follow it may be, too
        first[step] += 1
        decided = (later & 1 == 1) & step
        later = np.where(step, later >> 1, later)
        step = decided
    soonest = requests.arrived[np.minimum(first, len(requests) - 1)]
    return _Beam(
        np.maximum(beam.node, soonest),
        np.maximum(beam.link, soonest),
        beam.utility,
        first,
        later,
        beam.parent,
        beam.request,
        beam.candidate,
    )


def _kept(beam: _Beam, width: int, soon: float) -> _Beam:
    """Returns `width` schedules at most: the best by each pair of prices, in turn.

    soon: before this time, it is not worth anything if node or link are free.
    """
    chosen = _best_by_prices(beam, 4 * width, soon)
    beam = beam.select(chosen)
    beam = beam.select(np.flatnonzero(~_beaten(beam)))
    return beam if len(beam.node) <= width else beam.select(_best_by_prices(beam, width, soon))


def _best_by_prices(beam: _Beam, count: int, soon: float) -> Integers:
    total = len(beam.node)
    if total <= count:
        return np.arange(total)
    orders = []
    node, link = np.maximum(beam.node, soon), np.maximum(beam.link, soon)
    for of_node in _PRICES:
        for of_link in _PRICES:
            score = beam.utility - of_node * node - of_link * link
            top = np.argpartition(-score, count - 1)[:count]
            orders.append(top[np.argsort(-score[top], kind="stable")])
    turns = np.stack(orders, axis=1).ravel()
    _, first = np.unique(turns, return_index=True)
    return turns[np.sort(first)[:count]]


def _beaten(beam: _Beam) -> npt.NDArray[np.bool_]:
    """Returns which schedules another one with the same decided requests beats, or equals before them."""
    order = np.lexsort((beam.link, beam.node, -beam.utility))
    node, link, first, later = (c[order] for c in (beam.node, beam.link, beam.first, beam.later))
    same = (first[:, None] == first[None]) & (later[:, None] == later[None])
    better = same & (node[:, None] <= node[None]) & (link[:, None] <= link[None])
    found = np.zeros(len(order), dtype=np.bool_)
    found[order] = np.triu(better, 1).any(axis=0)
    return found


def _schedule(steps: list[_Beam]) -> Schedule:
    if not steps:
        return Schedule(0.0, ())
    at = int(steps[-1].utility.argmax())
    utility, decisions = float(steps[-1].utility[at]), list[Decision]()
    for step in reversed(steps):
        if step.candidate[at] >= 0:
            decisions.append(Decision(int(step.request[at]), int(step.candidate[at])))
        at = int(step.parent[at])
    return Schedule(utility, tuple(reversed(decisions)))
