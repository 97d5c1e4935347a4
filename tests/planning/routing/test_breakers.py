"""The circuit breaker as a function of a hop's results and their times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_planning.routing.breakers import CLOSED, Breaker, abandoned, checked, failed, may_try, seen, tried


def _opened(now: float = 10.0) -> Breaker:
    return failed(CLOSED, now, late=False, trial=False)


def test_one_refusal_opens_it_and_two_late_answers_in_a_row_do() -> None:
    assert not _opened().closed
    once = failed(CLOSED, 1.0, late=True, trial=False)
    assert once.closed
    assert not failed(once, 1.1, late=True, trial=False).closed


def test_it_is_half_open_after_a_second_and_for_one_request_at_a_time() -> None:
    breaker = _opened(10.0)
    assert [may_try(breaker, now) for now in (10.0, 10.9, 11.0)] == [False, False, True]
    breaker = tried(breaker)
    assert not may_try(breaker, 11.5)
    assert may_try(abandoned(breaker), 11.5)


def test_trials_that_fail_come_less_and_less_often_but_never_end() -> None:
    breaker, now, pauses = _opened(0.0), 1.0, []
    for _ in range(6):
        breaker = failed(tried(breaker), now, late=True, trial=True)
        pauses.append(breaker.retry_at - now)
        now = breaker.retry_at
    assert pauses == [2, 4, 8, 8, 8, 8]


def test_requests_that_set_out_before_it_opened_do_not_lengthen_the_pause() -> None:
    breaker = _opened(10.0)
    for now in (10.01, 10.02, 10.03):
        breaker = failed(breaker, now, late=True, trial=False)
    assert breaker.retry_at == 11.0


def test_a_hop_that_answers_a_health_check_after_silence_may_be_tried_at_once() -> None:
    breaker = checked(_opened(10.0), healthy=False, now=10.1)
    assert not may_try(breaker, 10.2)
    assert may_try(checked(breaker, healthy=True, now=10.6), 10.6)


def test_a_hop_that_is_healthy_all_along_but_late_has_to_wait_its_time() -> None:
    assert not may_try(checked(_opened(10.0), healthy=True, now=10.1), 10.2)


def test_a_link_that_has_become_faster_since_ends_the_pause_and_a_steady_one_does_not() -> None:
    breaker = _opened(10.0)
    for now, bandwidth in ((10.1, 20e6), (10.2, 22e6), (10.3, 18e6)):
        breaker = seen(breaker, bandwidth, now)
    assert not may_try(breaker, 10.4)
    for now, bandwidth in ((10.5, 1e6), (10.6, 20e6)):
        breaker = seen(breaker, bandwidth, now)
    assert may_try(breaker, 10.6)


@given(
    st.lists(
        st.tuples(st.floats(0.001, 3), st.sampled_from(["late", "failed", "healthy", "silent"])), max_size=60
    )
)
def test_whatever_happens_it_lets_one_request_try_within_eight_seconds(
    events: list[tuple[float, str]],
) -> None:
    breaker, now = _opened(0.0), 0.0
    for pause, event in events:
        now += pause
        if event in ("healthy", "silent"):
            breaker = checked(breaker, healthy=event == "healthy", now=now)
        elif may_try(breaker, now):
            breaker = tried(breaker)
            assert not may_try(breaker, now)
            breaker = failed(breaker, now, late=event == "late", trial=True)
    assert may_try(breaker, now + 8.0)
