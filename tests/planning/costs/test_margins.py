"""Margins that keep a percentile: split conformal."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning import BadValueError
from edge_planning.costs.margins import conformal_quantile, planned_margin, ratios_needed

ratios = st.floats(0.01, 9.9)


@given(st.lists(ratios, min_size=2, max_size=60), st.floats(1, 99.9))
def test_every_one_of_exchangeable_ratios_is_covered_by_the_others_as_often_as_asked(
    values: list[float], percentile: float
) -> None:
    # Exact, for any values: leave each out in turn and count how often the quantile of the rest covers it.
    covered = sum(
        value <= conformal_quantile(values[:index] + values[index + 1 :], percentile)
        for index, value in enumerate(values)
    )
    assert covered / len(values) >= percentile / 100 - 1e-9


@given(st.lists(ratios, min_size=1, max_size=60), st.floats(1, 99.9), st.floats(1, 99.9))
def test_a_higher_percentile_never_has_a_lower_margin(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert conformal_quantile(values, low) <= conformal_quantile(values, high)


def test_the_rank_is_the_published_one() -> None:
    values = [float(n) for n in range(1, 100)]
    assert conformal_quantile(values, 95) == 95.0  # ceil(100 * 0.95)
    assert conformal_quantile(values, 99) == 99.0
    assert conformal_quantile(values, 99.5) == inf


@pytest.mark.parametrize(("percentile", "needed"), [(50, 1), (90, 9), (95, 19), (99, 99), (99.9, 999)])
def test_a_percentile_needs_so_many_ratios(percentile: float, needed: int) -> None:
    assert ratios_needed(percentile) == needed
    assert conformal_quantile([1.0] * needed, percentile) == 1.0
    if needed > 1:
        assert conformal_quantile([1.0] * (needed - 1), percentile) == inf


def test_new_ratios_are_covered_19_times_in_20_when_nothing_drifts() -> None:
    random = np.random.default_rng(1)
    shares = []
    for _ in range(40):
        values = random.lognormal(0.0, 0.3, 220)
        margin = conformal_quantile(values[:200].tolist(), 95)
        shares.append(float(np.mean(values[200:] <= margin)))
    assert np.mean(shares) == pytest.approx(0.953, abs=0.02)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_residual_that_is_not_a_ratio_is_named(ratio: float) -> None:
    with pytest.raises(BadValueError, match=f"margin: residual {ratio}"):
        planned_margin([*[1.0] * 19, ratio], 95, 1.0)


def test_a_planned_margin_is_at_least_1_and_at_most_10() -> None:
    assert planned_margin([0.5] * 30, 95, 2.0) == 1.0
    assert planned_margin([30.0] * 30, 95, 2.0) == 10.0


def test_other_bad_values_are_named() -> None:
    with pytest.raises(BadValueError, match="margin: no residuals"):
        conformal_quantile([], 95)
    with pytest.raises(BadValueError, match="margin: percentile 100 "):
        conformal_quantile([1.0], 100)
