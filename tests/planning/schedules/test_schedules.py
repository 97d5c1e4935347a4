"""The oracle's schedules: the exhaustive search against all orders, the beam against that search."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning.errors import BadValueError
from edge_planning_lab.baselines import SimulatedCandidates
from edge_planning_lab.schedules import (
    KnownRequests,
    Schedule,
    beam_schedule,
    exhaustive_schedule,
    known_requests,
    worthwhile,
)
from edge_planning_lab.simulation import Bandwidth


def options_of(*candidates: tuple[float, float, float, float], deadline: float = 1.0) -> SimulatedCandidates:
    """Candidates as (head, bits, seconds after the transfer, accuracy)."""
    head, bits, after, accuracy = (np.array(column) for column in zip(*candidates, strict=True))
    count = len(candidates)
    return SimulatedCandidates(
        names=tuple(f"c{i}" for i in range(count)),
        exit=(0,) * count,
        head=head,
        tail=after,
        fixed=np.zeros(count),
        bits=bits,
        accuracy=accuracy,
        deadline=deadline,
        rest=np.full((count, count), np.inf),
    )


SMALL, FULL, SENT = (0.2, 0.0, 0.0, 0.6), (0.8, 0.0, 0.0, 0.9), (0.0, 1e5, 0.05, 0.8)


def replayed(requests: KnownRequests, schedule: Schedule) -> float:
    """Checks that a schedule keeps its deadlines, one request at a time at node and link. Returns its
    utility.
    """
    node = link = utility = 0.0
    for decision in schedule.decisions:
        n, service = decision.request, requests.service[decision.request]
        head, bits, after, accuracy = (
            float(column[service, decision.candidate])
            for column in (requests.head, requests.bits, requests.after, requests.accuracy)
        )
        done = float(requests.arrived[n])
        if head:
            done = node = max(done, node) + head
        if bits:
            done = link = requests.link.finish(max(done, link), bits)
        assert done + after <= requests.due[n] + 1e-9
        utility += accuracy
    assert len({one.request for one in schedule.decisions}) == len(schedule.decisions)
    return utility


def all_orders(requests: KnownRequests) -> float:
    """Returns the best utility, by trying every order and candidate without leaving any out."""
    best = 0.0
    count = len(requests)
    for choice in product(range(-1, requests.head.shape[1]), repeat=count):
        for order in permutations([n for n in range(count) if choice[n] >= 0]):
            node = link = utility = 0.0
            for n in order:
                at = (requests.service[n], choice[n])
                done = float(requests.arrived[n])
                if requests.head[at]:
                    done = node = max(done, node) + float(requests.head[at])
                if requests.bits[at] and done < np.inf:
                    done = link = requests.link.finish(max(done, link), float(requests.bits[at]))
                if done + requests.after[at] > requests.due[n]:
                    break
                utility += float(requests.accuracy[at])
            else:
                best = max(best, utility)
    return best


def test_a_request_is_served_by_the_most_accurate_candidate_in_time() -> None:
    known = known_requests([options_of(SMALL, FULL)], [np.array([0.0, 5.0])], Bandwidth.constant(1e6))
    for found in (beam_schedule(known), exhaustive_schedule(known)):
        assert [(one.request, one.candidate) for one in found.decisions] == [(0, 1), (1, 1)]
        assert found.utility == pytest.approx(1.8)


def test_the_node_is_left_free_for_a_request_that_arrives_later() -> None:
    # The full model would block the node from 0.0 to 0.8 s, and the other request is due at 0.5 s.
    options = [options_of(SMALL, FULL), options_of(SMALL, deadline=0.4)]
    known = known_requests(options, [np.array([0.0]), np.array([0.1])], Bandwidth.constant(0.0))
    for found in (beam_schedule(known), exhaustive_schedule(known)):
        assert found.utility == pytest.approx(1.2)
        assert replayed(known, found) == pytest.approx(1.2)


def test_a_later_request_with_an_earlier_deadline_can_be_first() -> None:
    options = [options_of((0.5, 0.0, 0.0, 0.5), deadline=2.0), options_of(SMALL, deadline=0.25)]
    known = known_requests(options, [np.array([0.0]), np.array([0.1])], Bandwidth.constant(0.0))
    for found in (beam_schedule(known), exhaustive_schedule(known)):
        assert [one.request for one in found.decisions] == [1, 0]


def test_a_request_waits_for_a_link_that_is_known_to_recover() -> None:
    known = known_requests([options_of(SENT)], [np.array([0.0])], Bandwidth((0.0, 0.5), (0.0, 1e6)))
    assert beam_schedule(known).utility == exhaustive_schedule(known).utility == pytest.approx(0.8)


def test_without_requests_there_is_nothing_to_schedule() -> None:
    known = known_requests([options_of(SMALL)], [np.array([])], Bandwidth.constant(1e6))
    assert (beam_schedule(known).utility, exhaustive_schedule(known).utility) == (0.0, 0.0)


def test_the_exhaustive_search_takes_few_requests() -> None:
    known = known_requests([options_of(SMALL)], [np.arange(11.0)], Bandwidth.constant(1e6))
    with pytest.raises(BadValueError, match="11 requests"):
        exhaustive_schedule(known)


def test_each_service_has_an_arrival_list() -> None:
    with pytest.raises(BadValueError, match="1 services"):
        known_requests([options_of(SMALL)], [], Bandwidth.constant(1e6))


def test_candidates_that_are_late_or_hardly_better_than_a_more_accurate_one_are_left_out() -> None:
    late, slower, hardly = (1.2, 0.0, 0.0, 0.95), (0.2, 0.0, 0.1, 0.6), (0.799, 0.0, 0.0, 0.7)
    found = worthwhile(options_of(SMALL, FULL, SENT, late, slower, hardly))
    assert set(found.names) == {"c0", "c1", "c2"}
    assert found.accuracy.tolist() == [0.9, 0.8, 0.6]


seconds = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.6])
candidate = st.tuples(
    st.sampled_from([0.05, 0.1, 0.3, 0.6]), st.just(0.0), st.just(0.0), st.sampled_from([0.5, 0.7, 0.9])
) | st.tuples(
    st.sampled_from([0.0, 0.05, 0.2]), st.sampled_from([2e4, 1e5]), seconds, st.sampled_from([0.6, 0.8])
)
links = st.lists(st.sampled_from([0.0, 1e5, 5e5, 2e6]), min_size=1, max_size=3).map(
    lambda rates: Bandwidth([0.4 * i for i in range(len(rates))], rates)
)


@st.composite
def known(draw: st.DrawFn, most: int, kinds: int) -> KnownRequests:
    services = draw(st.integers(1, 2))
    options = [
        options_of(
            *draw(st.lists(candidate, min_size=1, max_size=kinds)),
            deadline=draw(st.sampled_from([0.3, 0.6, 1.0])),
        )
        for _ in range(services)
    ]
    times = st.lists(st.sampled_from([0.1 * i for i in range(12)]), max_size=most // services)
    arrivals = [np.array(sorted(draw(times))) for _ in range(services)]
    return known_requests(options, arrivals, draw(links))


@settings(max_examples=80)
@given(known(most=4, kinds=2))
def test_the_exhaustive_search_finds_what_trying_everything_finds(requests: KnownRequests) -> None:
    found = exhaustive_schedule(requests)
    assert found.utility == pytest.approx(all_orders(requests))
    assert replayed(requests, found) == pytest.approx(found.utility)


@settings(max_examples=60)
@given(known(most=8, kinds=3))
def test_the_beam_is_near_the_exhaustive_search(requests: KnownRequests) -> None:
    found, best = beam_schedule(requests), exhaustive_schedule(requests)
    assert replayed(requests, found) == pytest.approx(found.utility)
    assert 0.9 * best.utility <= found.utility <= best.utility + 1e-9


@settings(max_examples=30)
@given(known(most=8, kinds=3))
def test_a_wide_beam_over_all_requests_misses_nothing(requests: KnownRequests) -> None:
    found = beam_schedule(requests, width=4096, ahead=8)
    assert found.utility == pytest.approx(exhaustive_schedule(requests).utility)


@settings(max_examples=30)
@given(known(most=8, kinds=3))
def test_a_known_utility_only_saves_the_search_time(requests: KnownRequests) -> None:
    known_utility = beam_schedule(requests).utility
    best = exhaustive_schedule(requests).utility
    assert max(exhaustive_schedule(requests, known_utility).utility, known_utility) == pytest.approx(best)
