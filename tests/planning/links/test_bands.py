"""A measurement within the band that a table was planned for is not reported."""

import pytest

from edge_planning.links.bands import crosses, departs, differs


@pytest.mark.parametrize(
    ("planned", "measured", "news"),
    [
        (None, 0.002, False),
        (None, 0.0069, False),
        (None, 0.0071, True),
        (0.04, 0.059, False),
        (0.04, 0.061, True),
        (0.04, 0.019, True),
    ],
)
def test_a_round_trip_is_news_beyond_half_and_five_milliseconds(
    planned: float | None, measured: float, news: bool
) -> None:
    assert differs(planned, measured) is news


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        (6e6, 5.1e6, False),
        (6e6, 4.6e6, False),
        (6e6, 4.4e6, True),
        (4e6, 5.4e6, False),
        (4e6, 5.6e6, True),
        (6e6, 90e6, False),
    ],
)
def test_a_bandwidth_is_news_beyond_a_tenth_of_a_border(before: float, now: float, news: bool) -> None:
    assert crosses([5e6, 1e5], before, now) is news


@pytest.mark.parametrize(
    ("known", "measured", "news"),
    [(None, 1e6, True), (8e6, 8e6, False), (8e6, 9.9e6, False), (8e6, 10.1e6, True), (8e6, 6.3e6, True)],
)
def test_a_bandwidth_departs_from_a_known_one_beyond_a_quarter(
    known: float | None, measured: float, news: bool
) -> None:
    assert departs(known, measured) is news
