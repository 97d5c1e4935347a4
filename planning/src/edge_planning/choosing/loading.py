"""Candidates under any load: only waits and the bandwidth that the uplink needs depend on it."""

from dataclasses import dataclass, replace

import numpy as np

from edge_planning.choosing.candidates import Candidates, Floats
from edge_planning.choosing.enumeration import candidates, with_worth
from edge_planning.choosing.exit_costs import least_bandwidth, occupied, variance_of, waits
from edge_planning.costs.profiles import ClassProfile
from edge_planning.problems import EntryProblem, IntermediateNode, Load


@dataclass(frozen=True, slots=True, eq=False)
class Unloaded:
    """The candidates of a problem without requests.

    Attributes:
        entry, remote, intermediates: Squared coefficient of variation of each candidate's compute time there.
    """

    every: Candidates
    entry: Floats
    remote: Floats
    intermediates: tuple[Floats, ...]

    def under(self, problem: EntryProblem) -> Candidates:
        """Returns the candidates with the load of a problem that is otherwise equal."""
        every, percentile = self.every, problem.slo.percentile
        head = occupied(every.mean_head, every.receiving)
        queue = waits(problem.load, head, self.entry, percentile)
        queue = queue + waits(problem.remote_load, every.tail, self.remote, percentile)
        for number, place in enumerate(problem.intermediates):
            seconds = occupied(every.intermediate_compute, every.receiving_near)
            variance = self.intermediates[number]
            near = waits(place.load, seconds, variance, percentile)
            hop = waits(Load(rate=problem.load.rate), every.hop, 0.0, percentile)
            queue = np.where(every.intermediate == number, queue + near + hop, queue)
        bandwidth = least_bandwidth(problem, every.bits)
        return with_worth(problem, replace(every, queue=queue, least_bandwidth=bandwidth))


def without_load(problem: EntryProblem) -> EntryProblem | None:
    """Returns the problem without requests; None if its candidates are not those of this problem.

    Which first cuts are enumerated depends on the load if no requests wait at an intermediate node
    (enumeration.candidates).
    """
    if not all(one.load.rate or one.load.others for one in problem.intermediates):
        return None
    return replace(
        problem,
        load=_idle(problem.load),
        remote_load=_idle(problem.remote_load),
        intermediates=tuple(_busy(one) for one in problem.intermediates),
        uplink_used=0.0,
    )


def unloaded(problem: EntryProblem) -> Unloaded:
    """Returns the candidates of a problem that `without_load` returned."""
    every = candidates(problem)
    return Unloaded(
        every,
        _variances(every, problem.entry),
        _variances(every, problem.remote or problem.entry),
        tuple(_variances(every, one.profile) for one in problem.intermediates),
    )


def _variances(every: Candidates, profile: ClassProfile) -> Floats:
    by_exit = np.array([variance_of(profile, one) for one in every.exits], dtype=np.float64)
    return by_exit[every.exit]


def _idle(load: Load) -> Load:
    return Load(load.scale, memory=load.memory)


def _busy(place: IntermediateNode) -> IntermediateNode:
    return replace(place, load=Load(place.load.scale, memory=place.load.memory, rate=1.0))
