"""Values that rise with the size of a request, between the sizes at which they were measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning.costs.curves import Curve
from edge_planning.errors import BadProfileError

SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=6, unique=True).map(sorted)
POINTS = SIZES.flatmap(
    lambda sizes: st.tuples(
        st.just(sizes),
        st.lists(st.floats(0, 1e6), min_size=len(sizes), max_size=len(sizes)),
    )
)


@given(POINTS, st.floats(1e-3, 1e10), st.floats(1e-3, 1e10))
def test_a_larger_request_never_costs_less(
    points: tuple[list[int], list[float]], one: float, other: float
) -> None:
    curve = Curve.through(zip(*points, strict=True))
    smaller, larger = curve.at(min(one, other)), curve.at(max(one, other))
    assert 0 <= smaller <= larger * (1 + 1e-9) + 1e-9


@given(POINTS)
def test_rising_measurements_are_returned_at_their_sizes(points: tuple[list[int], list[float]]) -> None:
    sizes, values = points[0], sorted(points[1])
    curve = Curve.through(zip(sizes, values, strict=True))
    assert [curve.at(size) for size in sizes] == pytest.approx(values)


@given(SIZES.filter(lambda sizes: len(sizes) > 1), st.floats(0, 10), st.floats(1e-3, 10), st.floats(1, 1e9))
def test_what_is_linear_in_the_size_is_known_everywhere_above_the_smallest(
    sizes: list[int], fixed: float, slope: float, size: float
) -> None:
    curve = Curve.through((each, fixed + slope * each) for each in sizes)
    wanted = fixed + slope * size
    assert curve.at(size) == pytest.approx(wanted, rel=1e-6, abs=1e-6 * slope * sizes[-1])
    assert curve.error is None or curve.error < 1e-6


@given(POINTS)
def test_noise_is_averaged_and_not_followed(points: tuple[list[int], list[float]]) -> None:
    curve = Curve.through(zip(*points, strict=True))
    assert sum(curve.values) == pytest.approx(sum(points[1]), rel=1e-6, abs=1e-6)


def test_the_error_is_that_of_a_size_predicted_from_its_neighbors() -> None:
    curve = Curve.through([(100, 1.0), (200, 4.0), (300, 9.0)])
    assert curve.error == pytest.approx(0.25)  # 5 in place of 4


def test_two_sizes_say_nothing_of_the_error() -> None:
    assert Curve.through([(100, 1.0), (200, 2.0)]).error is None


def test_a_fall_between_two_sizes_is_their_mean() -> None:
    curve = Curve.through([(100, 3.0), (200, 2.0), (400, 5.0)])
    assert curve.values == (2.5, 2.5, 5.0)


def test_one_size_is_proportional_above_and_constant_below() -> None:
    curve = Curve.through([(100, 2.0)])
    assert (curve.at(50), curve.at(100), curve.at(400)) == (2.0, 2.0, 8.0)


def test_the_last_slope_continues_above_the_largest_size() -> None:
    assert Curve.through([(100, 1.0), (200, 2.0), (400, 6.0)]).at(500) == pytest.approx(8.0)


def test_above_the_largest_size_two_close_ones_do_not_flatten_the_slope() -> None:
    assert Curve.through([(100, 1.0), (390, 4.0), (400, 4.0)]).at(700) == pytest.approx(7.0)


def test_below_the_smallest_size_values_fall_at_most_in_proportion_to_the_size() -> None:
    steep = Curve.through([(100, 1.0), (110, 4.0), (200, 4.0)])
    assert (steep.at(50), steep.at(10)) == pytest.approx((0.5, 0.1))
    assert Curve.through([(100, 2.0), (200, 3.0)]).at(50) == pytest.approx(1.5)


@pytest.mark.parametrize("points", [[], [(0, 1.0)], [(5, -1.0)], [(5, float("nan"))], [(float("inf"), 1.0)]])
def test_points_without_a_size_or_a_value_are_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(BadProfileError, match="curve"):
        Curve.through(points)
