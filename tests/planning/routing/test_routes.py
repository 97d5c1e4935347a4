"""The routing decision: a function of the table, the link, the last state and the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning.links.estimates import LinkView
from edge_planning.routing.routes import (
    DWELL,
    RouteRequest,
    RouteRequirement,
    RouteState,
    bandwidth_alone,
    best,
    carries,
    decide,
    route_to_test,
)

TABLE = (RouteRequirement(8e6, True, 0.9), RouteRequirement(1e6, True, 0.8), RouteRequirement(0, False, 0.7))
REMOTE_ONLY = (RouteRequirement(0, True),)
# Through Triton, through another edge node only, local.
NEAR = (RouteRequirement(8e6, True, 0.9), RouteRequirement(0, False, 0.8), RouteRequirement(0, False, 0.7))


def _decide(
    bandwidth: float | None, state: RouteState = RouteState(), *, up: bool = True, now: float = 0.0
) -> int:
    return decide(TABLE, LinkView(up, bandwidth), state, now)[0]


@pytest.mark.parametrize(
    ("bandwidth", "route"), [(20e6, 0), (8e6, 0), (7.9e6, 1), (1e6, 1), (0.9e6, 2), (0.0, 2)]
)
def test_the_first_route_whose_need_is_covered_answers(bandwidth: float, route: int) -> None:
    assert _decide(bandwidth) == route


def test_a_link_that_is_down_or_not_measured_yet_means_the_local_route() -> None:
    assert _decide(20e6, up=False) == 2
    assert _decide(None) == 2


@pytest.mark.parametrize(("bandwidth", "route"), [(8.0e6, 1), (8.7e6, 1), (8.9e6, 0)])
def test_upward_it_waits_until_the_need_is_exceeded_by_a_tenth(bandwidth: float, route: int) -> None:
    assert _decide(bandwidth, RouteState(active=1)) == route


def test_downward_it_follows_at_once() -> None:
    assert _decide(7.99e6, RouteState(active=0)) == 1
    assert _decide(0.1e6, RouteState(active=0)) == 2


@pytest.mark.parametrize(("bandwidth", "route"), [(0.4e6, 1), (9e6, 0)])
def test_a_fallback_does_not_keep_a_route_that_is_almost_never_in_time(bandwidth: float, route: int) -> None:
    table = (RouteRequirement(4e6, True, 0.97, bits=32768), RouteRequirement(0, False, 0.81))
    link = LinkView(True, bandwidth, surprises=(-0.3, 0.0, 0.0))
    request = RouteRequest(2.0, fallbacks=[(0.81, 0.001), None])
    assert decide(table, link, RouteState(active=0), 0.0, request=request)[0] == route


@pytest.mark.parametrize(("fallback", "route"), [(0.88, 0), (0.5, 1)])
def test_the_plans_order_decides_unless_another_route_is_clearly_better(fallback: float, route: int) -> None:
    table = (
        RouteRequirement(8e6, True, 0.9),
        RouteRequirement(1e6, True, 0.9),
        RouteRequirement(0, False, 0.5),
    )
    link = LinkView(True, 9e6, surprises=(-0.3, 0.0, 0.0))  # one transfer in three misses the first need
    request = RouteRequest(2.0, fallbacks=[(fallback, 0.001), (fallback, 0.001), None])
    assert decide(table, link, RouteState(), 0.0, request=request)[0] == route


def test_noise_of_a_few_percent_around_a_threshold_causes_one_switch() -> None:
    state, seen = RouteState(), []
    for i in range(100):
        index, state = decide(TABLE, LinkView(True, 8e6 * (1.04 if i % 2 else 0.96)), state, float(i))
        seen.append(index)
    assert set(seen) == {1}


def test_routes_whose_breaker_is_open_are_skipped() -> None:
    assert decide(TABLE, LinkView(True, 20e6), RouteState(active=0), 0.0, {0, 1})[0] == 2
    assert decide(TABLE, LinkView(True, 20e6), RouteState(active=0), 0.0, {0})[0] == 1


def test_without_a_local_route_the_remote_one_is_tried_whatever_the_link_says() -> None:
    for link in (LinkView(False, None), LinkView(True, None), LinkView(True, 5.0)):
        assert decide(REMOTE_ONLY, link, RouteState(), 0.5, {0})[0] == 0


def test_upward_it_waits_a_dwell_time_after_a_switch_and_downward_it_does_not() -> None:
    index, state = decide(TABLE, LinkView(False, 20e6), RouteState(active=0), 10.0)
    assert index == 2
    assert [decide(TABLE, LinkView(True, 20e6), state, now)[0] for now in (10.1, 10.49, 10.5)] == [2, 2, 0]
    index, state = decide(TABLE, LinkView(True, 20e6), state, 10.5)
    index, state = decide(TABLE, LinkView(False, 20e6), state, 10.6)
    assert index == 2
    assert [decide(TABLE, LinkView(True, 20e6), state, now)[0] for now in (11.1, 11.49, 11.5)] == [2, 2, 0]


@given(
    st.lists(
        st.tuples(st.floats(0.001, 0.4), st.booleans(), st.floats(1e5, 3e7), st.sets(st.integers(0, 1))),
        min_size=20,
        max_size=200,
    )
)
def test_over_time_there_is_no_more_than_one_switch_in_each_dwell_time(
    steps: list[tuple[float, bool, float, set[int]]],
) -> None:
    state, now, switches = RouteState(active=0), 0.0, 0
    for pause, up, bandwidth, blocked in steps:
        now += pause
        before = state.active
        _, state = decide(TABLE, LinkView(up, bandwidth), state, now, blocked)
        switches += state.active != before
    # Downward switches can precede their dwell time, at most once for each route below.
    assert switches <= now / DWELL + len(TABLE)


def test_a_route_whose_hops_stay_between_edge_nodes_does_not_need_the_measured_link() -> None:
    for link in (LinkView(False, None), LinkView(True, None), LinkView(False, 20e6)):
        assert decide(NEAR, link, RouteState(), 0.0)[0] == 1
        assert decide(NEAR, link, RouteState(active=0), 0.0)[0] == 1


def test_a_dead_intermediate_node_is_passed_over_whether_or_not_the_link_is_up() -> None:
    assert decide(NEAR, LinkView(False, None), RouteState(active=1), 0.0, {1})[0] == 2
    assert decide(NEAR, LinkView(True, 1e6), RouteState(active=1), 0.0, {1})[0] == 2
    assert decide(NEAR, LinkView(True, 20e6), RouteState(active=1), 0.0, {0})[0] == 1


@pytest.mark.parametrize(
    ("bandwidth", "testable", "tested"),
    [
        (20e6, {0, 1}, 0),
        (20e6, {1}, 1),  # the best one is being tested
        (20e6, set(), None),
        (4e6, {0, 1}, 1),
        (0.5e6, {0, 1}, None),  # the local route is the best one anyway
    ],
)
def test_a_request_tests_the_best_blocked_route_whose_breaker_is_half_open(
    bandwidth: float, testable: set[int], tested: int | None
) -> None:
    link, request = LinkView(True, bandwidth), RouteRequest(1.0)
    assert route_to_test(TABLE, link, request, 2, {2}, testable) == tested


def test_a_table_without_a_local_route_has_nothing_to_test() -> None:
    assert route_to_test(REMOTE_ONLY, LinkView(True, 1e6), RouteRequest(1.0), 0, (), {0}) is None


LADDER = (
    RouteRequirement(8e6, True, 0.9, bits=1e6),
    *(RouteRequirement(0, False, w) for w in (0.8, 0.7, 0.6)),
)


@pytest.mark.parametrize(("wait", "route"), [(0.01, 1), (0.05, 2), (0.08, 3), (0.5, 3)])
def test_behind_a_queue_the_most_accurate_local_route_in_time_is_taken_else_the_fastest(
    wait: float, route: int
) -> None:
    request = RouteRequest(0.1, wait=wait, here=(0.0, 0.05, 0.02, 0.002))
    assert decide(LADDER, LinkView(False, None), RouteState(active=1), 0.0, request=request)[0] == route


def test_what_waits_leaves_time_to_return_the_response() -> None:
    here = (0.0, 0.095, 0.02, 0.002)  # 92 ms of 100 ms can be used
    found = [best(LADDER, LinkView(False, None), RouteRequest(0.1, wait, here)) for wait in (0.0, 1e-6)]
    assert found == [1, 2]


# The plan needs 8 Mbit/s for the rates of all services; a request alone needs 1 Mbit/s for 1 Mbit in 1 s.
CROWDED = (RouteRequirement(8e6, True, 0.9, bits=1e6, alone=1e6), RouteRequirement(0, False, 0.7, here=0.1))


@pytest.mark.parametrize(("bandwidth", "route"), [(9e6, 0), (4e6, 0), (1.2e6, 0), (0.9e6, 1)])
def test_a_link_below_the_planned_rates_serves_a_request_that_is_in_time_on_it(
    bandwidth: float, route: int
) -> None:
    assert best(CROWDED, LinkView(True, bandwidth), RouteRequest(1.0)) == route


@pytest.mark.parametrize(("backlog", "route"), [(1e6, 0), (4e6, 1)])
def test_below_the_planned_rates_a_request_stays_at_the_node_if_too_many_bits_are_in_transfer(
    backlog: float, route: int
) -> None:
    assert best(CROWDED, LinkView(True, 4e6, backlog=backlog), RouteRequest(1.0)) == route


@pytest.mark.parametrize(("bandwidth", "route"), [(9e6, 0), (4e6, 1)])
def test_a_request_beyond_the_planned_rate_uses_the_link_only_as_planned(
    bandwidth: float, route: int
) -> None:
    assert best(CROWDED, LinkView(True, bandwidth), RouteRequest(1.0, beyond=True)) == route


@pytest.mark.parametrize(("bandwidth", "carried"), [(4e6, True), (1e6, True), (0.9e6, False), (None, True)])
def test_a_link_carries_a_route_from_the_bandwidth_of_a_request_alone(
    bandwidth: float | None, carried: bool
) -> None:
    assert carries(LinkView(True, bandwidth), CROWDED[0]) is carried
    assert not carries(LinkView(False, bandwidth), CROWDED[0])


def test_the_bandwidth_of_a_request_alone_is_that_at_which_it_takes_the_latency_of_the_slo() -> None:
    # 1 Mbit at 8 Mbit/s takes 125 ms of the 225 ms, so the rest leaves 400 ms of 500 ms.
    assert bandwidth_alone(8e6, 0.225, 1e6, 0.5) == pytest.approx(2.5e6)


@pytest.mark.parametrize(
    ("min_bandwidth", "latency", "bits"),
    [(8e6, 0.5, 1e6), (8e6, 0.7, 1e6), (8e6, 0.3, 0.0), (0.0, 0.3, 1e6), (1e6, 1.6, 1e6)],
)
def test_where_rates_do_not_raise_it_the_bandwidth_of_a_request_alone_is_the_planned_one(
    min_bandwidth: float, latency: float, bits: float
) -> None:
    assert bandwidth_alone(min_bandwidth, latency, bits, 0.5) == min_bandwidth
