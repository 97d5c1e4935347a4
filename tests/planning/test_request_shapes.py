"""The shapes of requests: counts of them within a bound, quantiles, and the shapes to measure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning.errors import BadValueError
from edge_planning.request_shapes import RequestShape, ShapeCounts, by_size, measured_shapes, quantile


def image(*sizes: int) -> RequestShape:
    return RequestShape.of({"images": (1, 3, *sizes)})


SHAPES = st.lists(st.tuples(st.integers(1, 64), st.integers(1, 64)).map(lambda s: image(*s)), max_size=200)


def test_a_shape_is_written_as_people_write_it() -> None:
    assert str(RequestShape.of({"sr": (), "images": (1, 3, 64, 64)})) == "images=1x3x64x64, sr=scalar"


@given(SHAPES, st.integers(1, 8))
def test_counts_stay_within_their_bound_and_lose_no_request(shapes: list[RequestShape], most: int) -> None:
    counts = ShapeCounts(most=most)
    for shape in shapes:
        counts.add(shape)
    assert len(counts.counts()) <= most
    assert sum(counts.counts().values()) == len(shapes)


@given(SHAPES.filter(bool), st.integers(1, 8), st.sampled_from([50.0, 95.0, 100.0]))
def test_a_quantile_of_bounded_counts_is_never_too_small(
    shapes: list[RequestShape], most: int, percentile: float
) -> None:
    exact, bounded = ShapeCounts(most=10**6), ShapeCounts(most=most)
    for shape in shapes:
        exact.add(shape)
        bounded.add(shape)
    found, wanted = (quantile(each.counts(), percentile) for each in (bounded, exact))
    assert found is not None
    assert wanted is not None
    assert found.size >= wanted.size


def test_the_quantile_is_the_shape_that_so_many_requests_do_not_exceed() -> None:
    counts = {image(64, 64): 90, image(128, 128): 9, image(256, 256): 1}
    assert quantile(counts, 90) == image(64, 64)
    assert quantile(counts, 95) == image(128, 128)
    assert quantile(counts, 100) == image(256, 256)


def test_without_requests_there_is_no_quantile() -> None:
    assert quantile({}, 95) is None
    assert quantile({image(1, 1): 0}, 95) is None


@pytest.mark.parametrize("percentile", [0.0, 100.5])
def test_a_percentile_out_of_range_is_named(percentile: float) -> None:
    with pytest.raises(BadValueError, match=f"percentile {percentile}"):
        quantile({}, percentile)


def test_a_shape_between_the_typical_and_the_largest_is_measured_too() -> None:
    found = measured_shapes(image(320, 320), image(640, 640))
    assert found == (image(320, 320), image(480, 480), image(640, 640))


def test_the_size_between_is_a_multiple_of_what_divides_both() -> None:
    found = measured_shapes(image(416, 416), image(640, 640))
    assert found[1] == image(512, 512)


def test_close_sizes_have_one_between_them_too() -> None:
    assert measured_shapes(image(32, 64), image(64, 64))[1] == image(48, 64)


def test_one_shape_is_measured_once() -> None:
    assert measured_shapes(image(640, 640), image(640, 640)) == (image(640, 640),)


@given(SHAPES.filter(lambda shapes: len(shapes) > 1))
def test_at_most_three_shapes_are_measured_and_both_given_ones_are_among_them(
    shapes: list[RequestShape],
) -> None:
    found = measured_shapes(shapes[0], shapes[1])
    assert set(shapes[:2]) <= set(found)
    assert len(found) <= 3
    assert list(found) == by_size(found)


def test_shapes_of_different_inputs_cannot_be_compared() -> None:
    with pytest.raises(BadValueError, match=r"images=1x3x4x4 and the largest text=1x9 differ"):
        measured_shapes(image(4, 4), RequestShape.of({"text": (1, 9)}))
