"""Converts the candidates of an entry node to those of a pool, on Edgent's AlexNet."""

import numpy as np
import pytest

from edge_planning import EntryProblem, candidates
from edge_planning.errors import BadValueError
from edge_planning.sharing import Demand, SharedResource, Tenant, options_of, share, sharing_problem

MBIT = 1e6


def test_candidates_are_in_time_and_none_dominates_another(edgent: EntryProblem) -> None:
    every = candidates(edgent)
    options, index = options_of(every, bandwidth=MBIT, deadline=1.0, rate=2.0, node="pi-1", triton="cloud")
    assert (every.latencies(MBIT)[index] <= 1.0).all()
    assert 2 <= len(options) < len(every)
    for one in options:
        for other in options:
            names = one.uses.keys() | other.uses.keys()
            no_more = all(one.uses.get(name, 0.0) <= other.uses.get(name, 0.0) for name in names)
            assert one is other or not (one.value >= other.value and no_more)
    first = int(index[0])
    assert options[0].uses.get("cpu of pi-1", 0.0) == pytest.approx(2.0 * every.mean_head[first])
    assert options[0].uses.get("uplink of pi-1", 0.0) == pytest.approx(2.0 * every.bits[first])


def test_a_problem_without_a_candidate_in_time_has_none_and_a_bad_rate_is_named(edgent: EntryProblem) -> None:
    every = candidates(edgent)
    assert options_of(every, bandwidth=MBIT, deadline=1e-6, rate=1.0, node="n", triton="c")[0] == ()
    with pytest.raises(BadValueError, match="rate 0"):
        options_of(every, bandwidth=MBIT, deadline=1.0, rate=0.0, node="n", triton="c")


def test_two_services_share_a_node_and_its_uplink(edgent: EntryProblem) -> None:
    options, _ = options_of(
        candidates(edgent), bandwidth=MBIT, deadline=1.0, rate=1.0, node="pi-1", triton="cloud"
    )
    names = sorted({name for option in options for name in option.uses})
    room = {"cpu of pi-1": 1.0, "uplink of pi-1": 0.6 * MBIT, "busy time of cloud": 0.5}
    pool = [SharedResource(name, room.get(name, 1e12)) for name in names]
    demands = [Demand(f"s{n}", "pi-1", "t", options) for n in range(2)]
    problem = sharing_problem([Tenant("t")], pool, demands)
    shared = share(problem)
    assert shared.refused == ()
    taken = np.zeros(len(names))
    for demand, option in enumerate(shared.choices.tolist()):
        np.add.at(taken, problem.rows[demand], problem.uses[demand, :, option])
    assert (taken <= problem.capacity * (1 + 1e-8)).all()
