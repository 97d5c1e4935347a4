"""Margins that keep a percentile: split conformal, and adaptive under drift."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import BadValueError
from edge_planning.costs.margins import Margin, conformal_quantile, observe, ratios_needed

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


def missed(state: Margin, series: list[float]) -> tuple[list[bool], Margin]:
    """Which values of a series exceeded the margin at their time, and the final state."""
    misses = []
    for ratio in series:
        misses.append(ratio > state.value)
        state = observe(state, 2.0, 2.0 * ratio)
    return misses, state


@settings(max_examples=50)
@given(st.lists(ratios, min_size=100, max_size=300), st.sampled_from([0.02, 0.05, 0.2]))
def test_the_share_of_misses_stays_within_its_bound_for_any_observations(
    series: list[float], step: float
) -> None:
    # Gibbs and Candes, Proposition 4.1; the 19 ratios of the start are given and do not count as misses.
    misses, _ = missed(Margin(95, (1.0,) * 19, step=step), series)
    bound = (0.95 + step) / (step * len(series))
    assert abs(np.mean(misses) - 0.05) <= bound + 1e-9


def drifting() -> list[float]:
    """A machine that slows down steadily and is fast again after an update; 30 % noise throughout."""
    random = np.random.default_rng(5)
    trend = np.concatenate([np.linspace(1.0, 3.0, 3000), np.ones(1000)])
    return [float(value) for value in trend * random.lognormal(0.0, 0.3, 4000)]


def test_under_drift_only_the_adaptive_margin_stays_true() -> None:
    start = tuple(float(r) for r in np.random.default_rng(6).lognormal(0.0, 0.3, 500))
    frozen = conformal_quantile(start, 95)
    series = drifting()
    adaptive, _ = missed(Margin(95, start), series)
    static, _ = missed(Margin(95, start, step=0.0), series)
    assert np.mean([ratio > frozen for ratio in series[:3000]]) > 0.4
    assert np.mean(static[:3000]) > 0.075  # the window alone lags behind
    assert np.mean(adaptive[:3000]) == pytest.approx(0.05, abs=0.01)
    assert np.mean(adaptive) == pytest.approx(0.05, abs=0.01)


def test_the_window_is_bounded_and_keeps_the_newest() -> None:
    _, state = missed(Margin(95, window=20), [1.0] * 30 + [2.0] * 15)
    assert state.ratios == (1.0,) * 5 + (2.0,) * 15


def test_observing_changes_nothing_but_the_margin() -> None:
    state = Margin(95, (1.0,) * 19)
    assert observe(state, 1.0, 3.0) == observe(state, 1.0, 3.0)
    assert state.ratios == (1.0,) * 19
    assert observe(state, 1.0, 3.0).miss == pytest.approx(0.05 - 0.02 * 0.95)
    assert observe(state, 1.0, 0.5).miss == pytest.approx(0.05 + 0.02 * 0.05)


def test_the_prior_stands_in_until_there_is_enough_to_go_by() -> None:
    state = Margin(95, (1.0,) * 18, prior=1.4)
    assert state.value == 1.4
    assert Margin(95, (1.0,) * 18).value == 10.0
    assert observe(state, 1.0, 1.0).value == 1.0


def test_the_margin_is_the_limit_after_too_many_misses_and_nothing_after_too_few() -> None:
    state = Margin(95, (1.0,) * 30)
    assert replace(state, miss=-0.01).value == 10.0
    assert replace(state, miss=1.2).value == 0.0


@pytest.mark.parametrize("value", [0.0, -2.0, float("nan"), float("inf")])
def test_times_that_are_invalid_are_named(value: float) -> None:
    with pytest.raises(BadValueError, match=f"margin: measured time {value} s"):
        observe(Margin(), 1.0, value)
    with pytest.raises(BadValueError, match=f"margin: predicted time {value} s"):
        observe(Margin(), value, 1.0)


def test_other_bad_values_are_named() -> None:
    with pytest.raises(BadValueError, match="margin: no residuals"):
        conformal_quantile([], 95)
    with pytest.raises(BadValueError, match="margin: percentile 100 "):
        conformal_quantile([1.0], 100)
    with pytest.raises(BadValueError, match=r"margin: window 500 .*percentile 99\.9"):
        Margin(99.9)
    with pytest.raises(BadValueError, match="margin: limit nan"):
        Margin(limit=float("nan"))
    with pytest.raises(BadValueError, match=r"margin: prior 0\.0 .*limit 10\.0"):
        Margin(prior=0.0)
    with pytest.raises(BadValueError, match=r"margin: step -0\.1"):
        Margin(step=-0.1)
    with pytest.raises(BadValueError, match="margin: miss nan"):
        Margin(miss=float("nan"))
