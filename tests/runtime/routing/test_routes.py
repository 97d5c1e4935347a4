"""The routing decision: a function of the table, the link, the last state and the time."""

from __future__ import annotations

import pytest

from edge_runtime.routes import Choice, LinkView, RouteState, after_hop, after_recovery, decide

TABLE = (Choice(8e6, True), Choice(1e6, True), Choice(0, False))
REMOTE_ONLY = (Choice(0, True),)


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


def test_noise_of_a_few_percent_around_a_threshold_causes_one_switch() -> None:
    state, seen = RouteState(), []
    for i in range(100):
        index, state = decide(TABLE, LinkView(True, 8e6 * (1.04 if i % 2 else 0.96)), state, float(i))
        seen.append(index)
    assert set(seen) == {1}


def test_a_failed_hop_sends_requests_to_the_local_route_for_a_while() -> None:
    state = after_hop(RouteState(active=0), False, 10.0)
    assert _decide(20e6, state, now=10.5) == 2
    assert _decide(20e6, state, now=11.1) == 0


def test_hops_that_go_on_failing_are_tried_less_and_less_but_never_given_up() -> None:
    state, now, pauses = RouteState(active=0), 0.0, []
    for _ in range(7):
        state = after_hop(state, False, now)
        pauses.append(state.blocked_until - now)
        now = state.blocked_until
    assert pauses == [1, 2, 4, 8, 8, 8, 8]


def test_a_hop_that_succeeds_or_a_link_that_returns_clears_the_pause() -> None:
    failed = after_hop(RouteState(active=0), False, 10.0)
    assert _decide(20e6, after_hop(failed, True, 10.1), now=10.2) == 0
    assert _decide(20e6, after_recovery(failed), now=10.2) == 0


def test_a_link_that_has_become_faster_since_the_failure_ends_the_pause() -> None:
    state = RouteState(active=0)
    for now in (10.0, 12.0, 15.0):
        state = after_hop(state, False, now)
    seen = []
    for now, bandwidth in ((15.1, 20e6), (15.2, 1e6), (15.3, 1.2e6), (15.4, 20e6), (15.5, 20e6)):
        index, state = decide(TABLE, LinkView(True, bandwidth), state, now)
        seen.append(index)
    assert seen == [2, 2, 2, 0, 0]


def test_a_pause_behind_a_steady_link_is_kept() -> None:
    state = after_hop(after_hop(RouteState(active=0), False, 0.0), False, 10.0)
    seen = []
    for i in range(19):
        index, state = decide(TABLE, LinkView(True, 20e6 * (1.1 if i % 2 else 0.9)), state, 10.0 + 0.1 * i)
        seen.append(index)
    assert set(seen) == {2}


def test_without_a_local_route_the_remote_one_is_tried_whatever_the_link_says() -> None:
    for link in (LinkView(False, None), LinkView(True, None), LinkView(True, 5.0)):
        assert decide(REMOTE_ONLY, link, after_hop(RouteState(), False, 0.0), 0.5)[0] == 0
