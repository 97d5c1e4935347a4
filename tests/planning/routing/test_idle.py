"""When sessions are let go, and which route the first request after that loads."""

from __future__ import annotations

from edge_planning.routing.idle import FirstRoute, Kept, first_route, idle_in, let_go, retry_in

FULL, CHEAP = FirstRoute(0.5, 0.05), FirstRoute(0.1, 0.01)


def test_a_service_is_idle_once_the_time_without_requests_has_passed() -> None:
    assert idle_in(60.0, last=100.0, now=130.0) == 30.0
    assert idle_in(60.0, last=100.0, now=160.0) == 0.0
    assert idle_in(60.0, last=100.0, now=500.0) == 0.0


def test_without_memory_for_idle_services_all_are_let_go() -> None:
    assert let_go([Kept("a", 2.0, 10), Kept("b", 1.0, 10)], 0) == ["b", "a"]


def test_those_without_requests_for_the_longest_time_make_room_for_the_others() -> None:
    kept = [Kept("newest", 30.0, 40), Kept("oldest", 10.0, 50), Kept("middle", 20.0, 60)]
    assert let_go(kept, 150) == []
    assert let_go(kept, 149) == ["oldest"]
    assert let_go(kept, 99) == ["oldest", "middle"]
    assert let_go(kept, 39) == ["oldest", "middle", "newest"]


def test_the_first_request_loads_the_most_accurate_route_that_is_in_time() -> None:
    assert first_route([FULL, CHEAP], left=1.0) == 0
    assert first_route([FULL, CHEAP], left=0.3) == 1


def test_the_first_request_loads_the_quickest_route_if_none_is_in_time() -> None:
    assert first_route([FULL, CHEAP], left=0.05) == 1
    assert first_route([CHEAP, FULL], left=0.05) == 0


def test_the_reserve_for_returning_the_response_is_kept() -> None:
    assert first_route([FULL, CHEAP], left=0.55) == 1
    assert first_route([FULL, CHEAP], left=0.60) == 0


def test_a_request_waits_for_the_session_unless_its_own_timeout_is_too_short() -> None:
    assert retry_in(FULL, None) is None
    assert retry_in(FULL, 1.0) is None
    assert retry_in(FULL, 0.3) == 1
    assert retry_in(FirstRoute(4.2, 0.1), 0.3) == 4
