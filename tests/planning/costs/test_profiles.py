"""Times of an exit's segments on a measured class."""

import pytest

from edge_planning import BadValueError, ClassProfile, Cut, Exit, Timing

EXIT = Exit("final", "logits", 0.9, (Cut("image", 4000), Cut("pool", 1000)))
SEGMENTS = {("image", "pool"): Timing(0.006, 0.007), ("pool", "logits"): Timing(0.002, 0.002)}


def test_segments_are_scaled_to_sum_to_the_exit_measured_in_one_piece() -> None:
    profile = ClassProfile("camera", SEGMENTS, {"final": Timing(0.004, 0.005)})
    assert profile.means(EXIT) == pytest.approx([0.003, 0.001])
    assert profile.whole(EXIT) == 0.004


def test_without_the_whole_the_segments_stand_for_it() -> None:
    profile = ClassProfile("camera", SEGMENTS)
    assert profile.means(EXIT) == [0.006, 0.002]
    assert profile.whole(EXIT) == pytest.approx(0.008)


def test_the_measured_percentile_makes_the_margin() -> None:
    profile = ClassProfile("camera", SEGMENTS, {"final": Timing(0.004, 0.005)})
    assert profile.margin(EXIT, 95) == pytest.approx(1.25)


def test_a_planned_margin_replaces_the_measured_one() -> None:
    profile = ClassProfile("camera", SEGMENTS, {"final": Timing(0.004, 0.005)}, {"final": 1.4})
    assert profile.margin(EXIT, 95) == 1.4


@pytest.mark.parametrize("percentile", [0.0, 100.0, -5.0, float("nan")])
def test_a_percentile_out_of_range_is_named(percentile: float) -> None:
    with pytest.raises(BadValueError, match=f"margin: percentile {percentile} "):
        ClassProfile("camera", SEGMENTS).margin(EXIT, percentile)
