"""Candidates and route tables of single demands; equal problems are solved once, whatever their names.

Two problems are equal if they differ only in the names of the entry node and of the Triton server (unless
constraints or intermediate nodes name places) and in the measured bandwidth, which changes only messages.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from operator import attrgetter

from edge_planning.choosing.candidates import Candidates, Mask
from edge_planning.choosing.entries import check_objective, plan_of, with_measured_bandwidth
from edge_planning.choosing.enumeration import candidates
from edge_planning.choosing.loading import Unloaded, unloaded, without_load
from edge_planning.plans import Infeasible, Plan
from edge_planning.pools.recent import Recent
from edge_planning.problems import EntryProblem, IntermediateNode

KEPT_PLANS = 20_000
KEPT_CANDIDATES = 500

Key = tuple[object, ...]
_NODE, _PEER = "\0node", "\0peer"  # placeholders that no name contains
_LARGE = ("model", "entry", "remote", "tables", "codecs", "confidences")
_SMALL = tuple(
    each.name
    for each in fields(EntryProblem)
    if each.name not in (*_LARGE, "bandwidth", "intermediates", "node", "peer")
)
_large, _small = attrgetter(*_LARGE), attrgetter(*_SMALL)


class Questions:
    """Solved problems of one pool: those that were used last, so that memory is bounded.

    A plan hands its own to the next one (PoolPlan.questions). What is found here never changes a result.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[object, int]] = {}
        self._buckets: dict[object, list[tuple[object, int]]] = {}
        self._count = 0
        self._unloaded: Recent[Key, Unloaded] = Recent(KEPT_CANDIDATES)
        self._candidates: Recent[Key, Candidates] = Recent(KEPT_CANDIDATES)
        self._plans: Recent[tuple[Key, bytes | None], Plan | Infeasible] = Recent(KEPT_PLANS)

    def again(self) -> None:
        """Forgets the values (models, profiles) that no problem had since the last call."""
        self._buckets = {}
        for value, number in {number: (value, number) for value, number in self._numbers.values()}.values():
            self._buckets.setdefault(_bucket(value), []).append((value, number))
        self._numbers = {}

    def key(self, problem: EntryProblem) -> Key:
        """Returns a key that is equal for equal problems."""
        named = problem.must_run_at or problem.must_not_run_at or problem.intermediates
        names = (problem.node, problem.peer) if named else ()
        return (
            names,
            *(self._number(value) for value in _large(problem)),
            self._intermediates(problem.intermediates),
            *_small(problem),
        )

    def candidates(self, problem: EntryProblem) -> Candidates:
        """Returns all candidates of a problem.

        Raises:
            BadObjectiveError: As plan_entry.
        """
        return self._candidates_of(problem, self.key(problem))

    def plan(self, problem: EntryProblem, admitted: Mask | None = None) -> Plan | Infeasible:
        """Returns plan_entry's result from the admitted candidates (default: all)."""
        key = self.key(problem)
        which = (key, None if admitted is None else admitted.tobytes())
        found = self._plans.get(which)
        if found is not None and _met(found, problem.bandwidth):
            return _named(found, problem)
        every = self._candidates_of(problem, key)
        every = every if admitted is None else every.select(admitted)
        if found is None:
            found = self._plans.put(which, plan_of(_nameless(problem), every))
        plan = _named(found, problem)
        return plan if isinstance(plan, Infeasible) else with_measured_bandwidth(problem, every, plan)

    def _candidates_of(self, problem: EntryProblem, key: Key) -> Candidates:
        found = self._candidates.get(key)
        if found is not None:
            return found
        check_objective(problem)
        nameless = _nameless(problem)
        idle = without_load(nameless)
        if idle is None:
            return self._candidates.put(key, candidates(nameless))
        base = self.key(idle)
        start = self._unloaded.get(base) or self._unloaded.put(base, unloaded(idle))
        return self._candidates.put(key, start.under(nameless))

    def _number(self, value: object) -> int:
        """Returns the number of the first value that is equal."""
        known = self._numbers.get(id(value))
        if known is not None:
            return known[1]
        bucket = self._buckets.setdefault(_bucket(value), [])
        number = next((number for one, number in bucket if one == value), None)
        if number is None:
            self._count += 1
            number = self._count
            bucket.append((value, number))
        self._numbers[id(value)] = value, number  # the value stays alive, so that its id stays its own
        return number

    def _intermediates(self, nodes: Sequence[IntermediateNode]) -> Key:
        return tuple((one.name, self._number(one.profile), one.bandwidth, one.rtt, one.load) for one in nodes)


def _bucket(value: object) -> object:
    return type(value), getattr(value, "name", None)


def _met(plan: Plan | Infeasible, bandwidth: float | None) -> bool:
    """Returns whether the measured bandwidth adds no reason to a plan, for certain."""
    if bandwidth is None or isinstance(plan, Infeasible):
        return True
    return plan.met_from is not None and bandwidth > plan.met_from * (1 + 1e-9)


def _nameless(problem: EntryProblem) -> EntryProblem:
    """Returns the problem without names of places, unless constraints or routes use them."""
    plain = replace(problem, bandwidth=None)
    if problem.must_run_at or problem.must_not_run_at or problem.intermediates:
        return plain
    return replace(plain, node=_NODE, peer=_PEER)


def _named(plan: Plan | Infeasible, problem: EntryProblem) -> Plan | Infeasible:
    """Returns the result of a nameless problem with the names in its reasons."""
    if not plan.reasons:
        return plan
    reasons = (one.replace(_NODE, problem.node).replace(_PEER, problem.peer) for one in plan.reasons)
    return replace(plan, reasons=tuple(reasons))
