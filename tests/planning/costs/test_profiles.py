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


def residual_profile(*residuals: float) -> ClassProfile:
    return ClassProfile("camera", SEGMENTS, {"final": Timing(0.004, 0.005)}, {"final": residuals})


def test_without_enough_residuals_the_measured_percentile_makes_the_margin() -> None:
    assert residual_profile(*[2.0] * 18).margin(EXIT, 95) == pytest.approx(1.25)


def test_residuals_make_the_margin_from_the_nineteenth_on() -> None:
    residuals = [1 + n / 100 for n in range(19)]
    assert residual_profile(*residuals).margin(EXIT, 95) == pytest.approx(1.18)
    # 39 ratios: the 38th smallest of them.
    assert residual_profile(*[1 + n / 100 for n in range(39)]).margin(EXIT, 95) == pytest.approx(1.37)


def test_residuals_never_make_a_plan_count_on_less_than_the_mean() -> None:
    assert residual_profile(*[0.5] * 30).margin(EXIT, 95) == 1.0


@pytest.mark.parametrize("residual", [0.0, -1.0, float("nan"), float("inf")])
def test_a_residual_that_is_not_a_ratio_is_named(residual: float) -> None:
    with pytest.raises(BadValueError, match=f"margin: residual {residual}"):
        residual_profile(*[1.0] * 19, residual).margin(EXIT, 95)


@pytest.mark.parametrize("percentile", [0.0, 100.0, -5.0, float("nan")])
def test_a_percentile_out_of_range_is_named(percentile: float) -> None:
    with pytest.raises(BadValueError, match=f"margin: percentile {percentile} "):
        residual_profile(1.0).margin(EXIT, percentile)
