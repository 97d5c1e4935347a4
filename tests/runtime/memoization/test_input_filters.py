"""When an input's result is reused, and when the input is computed."""

from __future__ import annotations

import numpy as np

from edge_runtime.memoization.distances import Sketch, sketch
from edge_runtime.memoization.input_filters import FilterVerdict, InputFilter
from edge_runtime.memoization.settings import FilterOptions
from edge_runtime.responses import InferenceResponse


def picture(level: float, side: int = 32) -> Sketch:
    """A ramp from 0 to 1 whose upper half is brighter by `level`: at a distance of about 0.7 of it."""
    image = np.tile(np.linspace(0, 1, side, dtype=np.float32), (side, 1))
    image[: side // 2] += np.float32(level)
    return sketch({"image": image[None, None]})


def response(value: float, accuracy: float = 0.9) -> InferenceResponse:
    return InferenceResponse([np.array([value], np.float32)], {"exit": "final"}, accuracy)


def judged(
    filter_: InputFilter, level: float, now: float, stream: str = "", accuracy: float = 0.9
) -> FilterVerdict:
    return filter_.judge(stream, picture(level), ["y"], accuracy, now)


def started(settings: FilterOptions | None = None) -> InputFilter:
    filter_ = InputFilter(settings or FilterOptions())
    assert judged(filter_, 0, 0.0) == FilterVerdict("computed")
    filter_.computed("", picture(0), ["y"], response(1), 0.0)
    return filter_


def test_what_is_near_gets_the_last_result_again() -> None:
    verdict = judged(started(), 0.01, 0.5)
    assert verdict.outcome == "repeated"
    assert verdict.distance is not None
    assert 0.006 < verdict.distance < 0.008
    assert verdict.response is not None
    assert verdict.response.outputs[0] == [1]
    far = judged(started(), 0.1, 0.5)
    assert (far.outcome, far.response) == ("computed", None)
    assert far.distance is not None
    assert 0.06 < far.distance < 0.08


def test_a_drop_keeps_no_outputs() -> None:
    verdict = judged(started(FilterOptions("Drop")), 0, 0.5)
    assert verdict.outcome == "dropped"
    assert verdict.response is not None
    assert list(verdict.response.outputs) == []


def test_a_slow_drift_is_noticed_since_the_reference_stays_where_it_was_computed() -> None:
    filter_ = started(FilterOptions(max_age=1000))
    outcomes = [judged(filter_, 0.001 * i, float(i)).outcome for i in range(1, 60)]
    first = outcomes.index("computed")
    assert 25 < first < 31  # 0.001 * 28 * 0.7 is 2 % of the contrast
    assert set(outcomes[:first]) == {"repeated"}
    assert set(outcomes[first:]) == {"computed"}


def test_a_still_picture_is_computed_again_after_its_time() -> None:
    filter_ = started(FilterOptions(max_age=2.0))
    assert judged(filter_, 0, 2.0).outcome == "repeated"
    assert judged(filter_, 0, 2.01).outcome == "computed"
    filter_.computed("", picture(0), ["y"], response(2), 2.01)
    again = judged(filter_, 0, 4.0)
    assert again.outcome == "repeated"
    assert again.response is not None
    assert again.response.outputs[0] == [2]


def test_each_stream_has_a_reference_of_its_own() -> None:
    filter_ = started()
    assert judged(filter_, 0, 0.1, "camera-2").distance is None
    filter_.computed("camera-2", picture(1.0), ["y"], response(2), 0.1)
    for stream, level in (("", 0.0), ("camera-2", 1.0)):
        assert judged(filter_, level, 0.2, stream).outcome == "repeated"
        assert judged(filter_, 1.0 - level, 0.2, stream).outcome == "computed"


def test_other_outputs_shapes_or_batches_are_computed() -> None:
    filter_ = started()
    assert filter_.judge("", picture(0), ["y", "z"], 0.9, 0.1).outcome == "computed"
    assert filter_.judge("", picture(0, side=16), ["y"], 0.9, 0.1) == FilterVerdict("computed")
    pair = sketch({"image": np.zeros((2, 1, 32, 32), np.float32)})
    assert filter_.judge("", pair, ["y"], 0.9, 0.1) == FilterVerdict("computed")


def test_a_result_that_would_be_more_accurate_now_is_not_returned_again() -> None:
    filter_ = started()
    assert judged(filter_, 0, 0.1, accuracy=0.95).outcome == "computed"
    assert judged(filter_, 0, 0.1, accuracy=0.5).outcome == "repeated"


def test_what_came_later_stays_the_reference_whichever_is_answered_last() -> None:
    filter_ = started()
    filter_.computed("", picture(1.0), ["y"], response(3), 0.4)
    filter_.computed("", picture(0.5), ["y"], response(2), 0.3)
    assert judged(filter_, 1.0, 0.5).outcome == "repeated"


def test_streams_are_bounded_in_number_and_bytes() -> None:
    few = InputFilter(FilterOptions(), streams=3)
    for i in range(10):
        few.computed(f"camera-{i}", picture(0), ["y"], response(i), 0.0)
    assert len(few) == 3
    assert judged(few, 0, 0.1, "camera-9").outcome == "repeated"
    assert judged(few, 0, 0.1, "camera-0").outcome == "computed"
    small = InputFilter(FilterOptions(), max_bytes=10_000)
    for i in range(100):
        small.computed(f"camera-{i}", picture(0), ["y"], response(i), 0.0)
    assert 4 <= len(small) <= 8
    large = InferenceResponse([np.zeros(5000, np.float32)], {}, 0.9)
    small.computed("camera-99", picture(0), ["y"], large, 0.1)
    assert judged(small, 0, 0.2, "camera-99").outcome == "computed"  # it does not fit, and no older one stays
