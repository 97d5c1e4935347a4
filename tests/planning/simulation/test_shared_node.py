"""Several services at one node: they share its queue and its link, by the decisions of the runtime."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import Route, RouteTable
from edge_planning_lab.baselines import SimulatedCandidates, clairvoyant
from edge_planning_lab.schedules import exhaustive_schedule, known_requests
from edge_planning_lab.simulation import (
    Bandwidth,
    SharedOutcome,
    SharedRun,
    SharedService,
    Uplink,
    simulate_shared,
)
from edge_planning_lab.simulation.shared_node import Beyond

from .conftest import make_options

IN_TIME, LATE, REFUSED = SharedOutcome.IN_TIME, SharedOutcome.LATE, SharedOutcome.REFUSED
NO_LINK = Bandwidth.constant(0.0)


def table_of(options: SimulatedCandidates, routes: Mapping[str, float]) -> RouteTable:
    """Routes by name, with the bandwidth from which each is used."""
    found = []
    for name, bandwidth in routes.items():
        exit_, cut = name.split("@")
        i = options.find(name)
        seconds = float(options.head[i] + options.tail[i] + options.fixed[i])
        bits = round(float(options.bits[i]))
        latency = seconds + (bits / bandwidth if bits else 0.0)
        accuracy = float(options.accuracy[i])
        where = None if cut == "local" else cut
        found.append(Route(exit_, where, accuracy, round(bandwidth), bandwidth, latency, None, None, bits))
    return RouteTable(tuple(found), 0.0, 0.0)


SMALL = {"small@local": 0.0}


def service(
    arrivals: list[float],
    deadline: float = 0.5,
    routes: Mapping[str, float] = SMALL,
    beyond: Beyond = lambda _: False,
) -> SharedService:
    options = make_options(deadline)
    return SharedService("s", options, table_of(options, routes), np.array(arrivals), beyond)


def run_of(*services: SharedService, link: Bandwidth = NO_LINK, duration: float = 20.0) -> SharedRun:
    return simulate_shared(services, Uplink("up", link), duration)


def test_requests_of_two_services_wait_in_one_queue_by_their_deadlines() -> None:
    # The run of 0.2 s that has begun is not interrupted; then the short deadline is first.
    found = run_of(service([0.0, 0.01], 1.0), service([0.02], 0.7))
    assert found.answered == pytest.approx([0.2, 0.6, 0.4])


def test_a_request_that_no_route_can_answer_in_time_is_refused_at_once() -> None:
    found = run_of(service([0.0, 0.01, 0.02], 0.5))
    assert list(found.outcome) == [IN_TIME, IN_TIME, REFUSED]
    assert found.accuracy == pytest.approx([0.6, 0.6, 0.0])


def test_requests_beyond_the_planned_rate_run_after_those_within_it() -> None:
    found = run_of(service([0.0]), service([0.01], 1.0, beyond=lambda _: True), service([0.02], 1.2))
    assert found.answered == pytest.approx([0.2, 0.6, 0.4])


def test_behind_a_queue_a_cheaper_local_route_answers() -> None:
    ladder = {"full@local": 0.0, "small@local": 0.0}
    found = run_of(service([0.0, 0.01], 1.2, ladder))
    options = make_options()
    assert [options.names[i] for i in found.by] == ["full@local", "small@local"]


def test_transfers_of_all_services_share_the_link() -> None:
    remote = {"full@input": 3e5, "small@local": 0.0}
    alone = run_of(service([5.0], 1.0, remote), link=Bandwidth.constant(1e6))
    both = run_of(service([5.0], 1.0, remote), service([5.0], 1.0, remote), link=Bandwidth.constant(1e6))
    assert alone.answered == pytest.approx([5.15])  # 100 kbit, 40 ms at the server, 10 ms
    assert sorted(both.answered) == pytest.approx([5.15, 5.25])


def test_below_the_planned_rates_the_link_serves_what_is_in_time_on_it() -> None:
    # Planned for 4 Mbit/s; one transfer takes 0.1 s of 0.5 s at 1 Mbit/s.
    remote = {"full@input": 4e6, "small@local": 0.0}
    options = make_options(0.5)
    link = Bandwidth.constant(1e6)
    within = run_of(service([5.0], 0.5, remote), link=link)
    beyond = run_of(service([5.0], 0.5, remote, lambda _: True), link=link)
    assert [options.names[int(one.by[0])] for one in (within, beyond)] == ["full@input", "small@local"]


def test_a_late_hop_falls_back_to_the_local_route() -> None:
    remote = {"full@input": 3e5, "small@local": 0.0}
    link = Bandwidth((0.0, 5.01), (1e6, 0.0))  # it stops during the transfer
    found = run_of(service([5.0], 0.5, remote), link=link)
    assert list(found.outcome) == [IN_TIME]
    assert (list(found.fallback), list(found.accuracy)) == ([True], [0.6])


def test_what_is_stopped_ends_at_its_next_operator() -> None:
    # full@local takes 0.8 s, with ends of operators at 0.05 s: given up at 0.5 s, it ends at 0.8 s.
    slow = service([0.0], 0.5, {"full@local": 0.0})
    found = run_of(slow, service([0.49], 1.0))
    assert list(found.outcome) == [LATE, IN_TIME]
    assert found.answered[1] == pytest.approx(1.0)


arrivals = st.lists(st.floats(0.0, 3.0), min_size=0, max_size=4).map(sorted)
deadlines = st.sampled_from([0.3, 0.6, 1.2])
rates = st.lists(st.sampled_from([0.0, 1e5, 4e5, 2e6]), min_size=1, max_size=4)


@settings(max_examples=60)
@given(st.lists(st.tuples(arrivals, deadlines), min_size=1, max_size=3), rates)
def test_no_run_exceeds_the_best_of_all_schedules_or_what_each_request_gets_alone(
    given_: list[tuple[list[float], float]], levels: list[float]
) -> None:
    link = Bandwidth([float(i) for i in range(len(levels))], levels)
    routes = {"full@input": 3e5, "full@local": 0.0, "small@local": 0.0}
    services = [service(times, deadline, routes) for times, deadline in given_]
    found = run_of(*services, link=link)
    assert len(found.outcome) == sum(len(times) for times, _ in given_)
    assert set(found.outcome.tolist()) <= {IN_TIME, LATE, REFUSED}
    for number, one in enumerate(services):
        mine = found.service == number
        best, _ = clairvoyant(link, one.options, one.arrivals)
        assert (found.accuracy[mine] <= best + 1e-9).all()
        answered = mine & (found.outcome == IN_TIME)
        latency = found.answered[answered] - found.arrived[answered]
        assert (latency <= one.options.deadline + 1e-9).all()
    if len(found.outcome) <= 6:
        known = known_requests([one.options for one in services], [one.arrivals for one in services], link)
        assert found.accuracy.sum() <= exhaustive_schedule(known).utility + 1e-9


@settings(max_examples=30)
@given(st.lists(arrivals, min_size=2, max_size=3))
def test_the_node_computes_no_more_than_it_has_time_for(times: list[list[float]]) -> None:
    found = run_of(*(service(each, 1.2) for each in times))
    answered = np.sort(found.answered[found.outcome == IN_TIME])
    assert (np.diff(answered) >= 0.2 - 1e-9).all()


def test_a_service_without_requests_changes_nothing() -> None:
    one = service([0.0, 0.1, 0.3], 1.0)
    alone, beside = run_of(one), run_of(one, service([]))
    assert alone.answered == pytest.approx(beside.answered)
