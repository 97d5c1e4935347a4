import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning.errors import BadValueError
from edge_planning_lab.replanning import BandwidthSample, Forecast, Nothing, State, observed
from messages import mentions

LEVELS = np.array([0.05, 0.1, 0.5, 0.9])


def constant(rng: np.random.Generator, count: int) -> np.ndarray:
    return 2e6 * np.exp(0.2 * rng.standard_normal(count))


def wandering(rng: np.random.Generator, count: int) -> np.ndarray:
    """A mean-reverting level (Ornstein-Uhlenbeck) with noise."""
    level = np.zeros(count)
    for k in range(1, count):
        level[k] = 0.95 * level[k - 1] + 0.2 * rng.standard_normal()
    return 1e6 * np.exp(level + 0.15 * rng.standard_normal(count))


def stepping(rng: np.random.Generator, count: int) -> np.ndarray:
    """Levels that hold for 20 samples on average."""
    change = rng.random(count) < 0.05
    levels = rng.normal(0, 1, count)[np.cumsum(change)]
    return 1e6 * np.exp(levels + 0.1 * rng.standard_normal(count))


def dipping(rng: np.random.Generator, count: int) -> np.ndarray:
    """A steady link with dips: skewed, unlike any component of the model."""
    dip = rng.random(count) < 0.15
    return 3e6 * np.exp(0.1 * rng.standard_normal(count) - dip * rng.exponential(1.0, count))


Process = Callable[[np.random.Generator, int], np.ndarray]


def walk(values: np.ndarray, every: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """For each sample: whether each quantile was above it; |log error| of the median."""
    state, below, errors = State(), [], []
    for k, value in enumerate(values):
        if k:
            quantiles = state.forecast(k * every).quantiles(LEVELS)
            below.append(value < quantiles)
            errors.append(abs(math.log(quantiles[2] / value)))
        state = observed(state, BandwidthSample(float(value)), k * every)
    return np.array(below), np.array(errors)


@pytest.mark.parametrize("process", [constant, wandering, stepping, dipping])
def test_quantiles_cover_what_they_say(process: Process) -> None:
    below, _ = walk(process(np.random.default_rng(42), 600))

    covered = below[100:].mean(axis=0)

    assert covered == pytest.approx(LEVELS, abs=0.05)


@pytest.mark.parametrize(("process", "gain"), [(constant, 0.8), (wandering, 0.97), (dipping, 0.85)])
def test_the_median_beats_the_last_value(process: Process, gain: float) -> None:
    values = process(np.random.default_rng(43), 600)

    _, errors = walk(values)

    assert errors[20:].mean() < gain * np.abs(np.diff(np.log(values)))[20:].mean()


@pytest.fixture(scope="module")
def known() -> State:
    state = State()
    for k, value in enumerate(wandering(np.random.default_rng(44), 200)):
        state = observed(state, BandwidthSample(float(value)), float(k))
    return state


@settings(max_examples=40)
@given(age=st.floats(0, 1e5), level=st.floats(0.001, 0.999))
def test_quantile_and_probability_are_inverse_at_any_age(known: State, age: float, level: float) -> None:
    forecast = known.forecast(199 + age)

    assert 1 - float(forecast.probability_above(forecast.quantile(level))) == pytest.approx(level, abs=0.005)


@settings(max_examples=40)
@given(age=st.floats(0, 1e4), bandwidths=st.lists(st.floats(0, 1e12), min_size=2, max_size=9))
def test_more_bandwidth_is_never_likelier(known: State, age: float, bandwidths: list[float]) -> None:
    found = known.forecast(199 + age).probability_above(np.sort(bandwidths))

    assert (np.diff(found) <= 1e-12).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_the_forecast_widens_with_age_up_to_what_the_link_has_shown(known: State) -> None:
    widths = []
    for age in (0, 1, 10, 100, 10_000):
        low, high = known.forecast(199 + age).quantiles([0.1, 0.9])
        widths.append(math.log(high / low))

    assert widths[0] < widths[2] < widths[4]
    assert widths[4] < 4  # the link's own 10 and 90 % quantiles are a factor of exp(1.7) apart


def test_before_any_sample_next_to_everything_is_possible() -> None:
    low, high = State().forecast(0).quantiles([0.05, 0.95])

    assert low < 1e5
    assert high > 1e7


def test_nothing_is_surely_above_infinity_and_everything_above_zero(known: State) -> None:
    assert known.forecast(200).probability_above([0.0, math.inf]).tolist() == [1, 0]


def test_the_mean_lies_above_the_median_of_a_skewed_distribution(known: State) -> None:
    forecast = known.forecast(260)

    assert forecast.median < forecast.mean < forecast.quantile(0.95)


@pytest.mark.parametrize("bandwidth", [-1.0, math.nan])
def test_a_bandwidth_that_is_invalid_is_refused_by_name(known: State, bandwidth: float) -> None:
    with pytest.raises(BadValueError, match=f"bandwidth {bandwidth} bit/s"):
        known.forecast(200).probability_above(bandwidth)


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_a_level_that_is_invalid_is_refused_by_name(known: State, level: float) -> None:
    with pytest.raises(BadValueError, match=f"quantile level {level}"):
        known.forecast(200).quantile(level)


def test_a_time_before_the_last_observation_is_refused(known: State) -> None:
    with pytest.raises(BadValueError, match=mentions("10.0 s", "199.0 s")):
        known.forecast(10.0)


def test_time_that_passes_is_not_an_observation(known: State) -> None:
    assert observed(known, Nothing(), 300.0) is known
    assert isinstance(known.forecast(300.0), Forecast)
