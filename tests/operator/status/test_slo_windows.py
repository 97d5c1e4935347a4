"""Windows of SLO attainment are sums of what was counted, whatever restarts, resets and clocks do."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_operator.pool.slo import (
    NOTHING,
    SPANS,
    Counters,
    History,
    Point,
    begun,
    decoded,
    encoded,
    extended,
    increase,
    looked,
    settled,
    windows,
)

START = 1_770_000_000.0
HOUR = 3600.0


def every(seconds: float, count: int, more: Counters) -> History:
    """So many reports at even distances, and what each adds."""
    history: History = ()
    for n in range(1, count + 1):
        at = START + n * seconds
        history = extended(history, more, at, at - seconds)
    return history


def counted(history: History, at: float) -> dict[str, Counters]:
    return {window.span: window.counted for window in windows(history, at)}


steps = st.lists(
    st.tuples(
        st.integers(1, 200_000),  # seconds since the report before
        st.integers(0, 500),  # requests
        st.integers(0, 500),  # of which so many did not meet the SLO, at most all
        st.floats(0, 1),  # part of the seconds in which nothing was counted
    ),
    max_size=60,
)


def told(reports: list[tuple[int, int, int, float]]) -> tuple[History, float]:
    history: History = ()
    at = START
    for seconds, requests, missed, quiet in reports:
        before, at = at, at + seconds
        more = Counters(requests, requests - min(missed, requests))
        history = extended(history, more, at, before + quiet * seconds)
    return history, at


@given(steps)
def test_a_window_never_has_more_requests_than_were_counted_nor_more_met_than_requests(
    reports: list[tuple[int, int, int, float]],
) -> None:
    history, at = told(reports)
    found = counted(history, at)
    total = sum(requests for _, requests, _, _ in reports)
    for shorter, longer in itertools.pairwise(found.values()):
        assert shorter.requests <= longer.requests
        assert shorter.met <= longer.met
    for counters in found.values():
        assert 0 <= counters.met <= counters.requests <= total


@given(steps)
def test_all_that_was_counted_within_28_days_is_in_the_longest_window(
    reports: list[tuple[int, int, int, float]],
) -> None:
    history, at = told(reports)
    if at - START <= SPANS["28d"]:
        total = sum(requests for _, requests, _, _ in reports)
        missed = sum(min(missed, requests) for _, requests, missed, _ in reports)
        assert counted(history, at).get("28d", NOTHING) == (total, total - missed)


@given(steps)
def test_a_history_is_small_and_comes_back_from_its_text(
    reports: list[tuple[int, int, int, float]],
) -> None:
    history, _ = told(reports)
    assert len(history) <= 70
    assert len(encoded(history)) <= 4096
    assert decoded(encoded(history)) == history


def test_a_history_of_a_month_of_reports_stays_within_its_bound() -> None:
    history = every(60.0, 40_000, Counters(10**6, 10**6 - 3))
    assert len(history) <= 70
    assert len(encoded(history)) <= 4096


def test_an_even_load_is_counted_in_every_window_by_its_length() -> None:
    history = every(10.0, 3 * 8640, Counters(20, 19))  # 2 requests a second for three days
    found = counted(history, START + 3 * 86400)
    for span, seconds in tuple(SPANS.items())[:3]:
        assert found[span].requests == pytest.approx(2 * seconds, rel=0.1)
        assert found[span].met / found[span].requests == pytest.approx(0.95, abs=0.01)
    assert found["28d"].requests == 2 * 3 * 86400


def test_misses_leave_the_short_window_first() -> None:
    history = every(10.0, 60, Counters(10, 5))  # ten bad minutes
    at = START + 600
    for _ in range(60):  # ten good ones
        at += 10
        history = extended(history, Counters(10, 10), at, at - 10)
    found = counted(history, at)
    assert found["5m"].met == found["5m"].requests
    assert found["1h"] == (1200, 900)


def test_requests_after_a_quiet_time_count_when_they_arrived() -> None:
    history = every(10.0, 6, Counters(10, 10))
    at = START + 60 + HOUR
    history = extended(history, Counters(10, 0), at, unchanged_until=at - 10)
    found = counted(history, at)
    assert found["5m"] == (10, 0)
    history = extended(
        history, Counters(10, 0), at + HOUR, unchanged_until=0.0
    )  # of an operator that was down
    assert counted(history, at + HOUR)["5m"].requests == pytest.approx(10 * 300 / HOUR, abs=1)


def test_a_window_says_how_much_of_it_is_known() -> None:
    history = every(10.0, 12, Counters(1, 1))
    covered = {window.span: window.covered for window in windows(history, START + 120)}
    assert covered == {"5m": 120.0, "1h": 120.0, "6h": 120.0, "28d": 120.0}
    history = every(10.0, 60, Counters(1, 1))
    assert windows(history, START + 600)[0].covered == 300.0


def test_a_point_from_a_clock_that_was_ahead_counts_as_now() -> None:
    ahead = extended((), Counters(5, 5), START + 999, START + 900)
    history = extended(ahead, Counters(1, 0), START, START - 10)
    assert [point.at for point in history] == sorted(point.at for point in history)
    assert history[-1] == Point(int(START), Counters(6, 5))
    assert counted(history, START)["28d"].requests <= 6


@pytest.mark.parametrize("text", ["", "quick", "1,2", "1,2,3,4", "5,1,1;4,2,2", "1,9,9;2,3,3", "1,1,1;2,2,4"])
def test_a_history_that_cannot_be_begins_again(text: str) -> None:
    assert decoded(text) == ()


def test_counters_of_a_runtime_that_began_again_add_only_what_is_above_them() -> None:
    tally = looked(begun({"a": Counters(10, 10)}, Counters(10, 10)), {"a": Counters(10, 10)}, START)
    assert increase(tally, {"a": Counters(4, 4)}) == NOTHING
    tally = settled(tally, {"a": Counters(4, 4)}, START)
    assert increase(tally, {"a": Counters(13, 12)}) == (3, 2)


def test_what_was_counted_while_the_operator_was_down_is_counted_once() -> None:
    found = {"a": Counters(30, 20), "b": Counters(5, 5)}
    tally = looked(begun(found, stored=Counters(25, 20)), found, START)
    assert increase(tally, found) == (10, 5)
    tally = settled(tally, found, START)
    assert increase(looked(tally, found, START + 10), found) == NOTHING


def test_entry_nodes_that_left_or_returned_while_the_operator_was_down_add_nothing() -> None:
    found = {"a": Counters(30, 20)}
    assert increase(begun(found, stored=Counters(1000, 990)), found) == NOTHING
    tally = looked(begun(found, Counters(30, 20)), found, START)
    both = found | {"b": Counters(500, 400)}  # could not be read before
    tally = looked(tally, both, START + 10)
    assert increase(tally, both) == NOTHING
    assert increase(tally, both | {"b": Counters(501, 401)}) == (1, 1)
    without = looked(tally, found, START + 20)
    assert increase(looked(without, both, START + 30), both) == NOTHING
