"""Regressions from measured layers."""

import re
from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning import BadValueError
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import EstimateSource, layer_times
from edge_planning.costs.fitting import Sample, fit, fit_class, fit_family
from edge_planning.costs.variables import variables_of
from edge_planning.graphs import Graph, Layer, Tensor
from edge_planning_lab.alexnet import alexnet


def pools(seconds_per_input: float, intercept: float, noise: float, count: int = 40) -> list[Sample]:
    random = np.random.default_rng(3)
    samples = []
    for _ in range(count):
        size = float(random.uniform(1e3, 1e5))
        seconds = (seconds_per_input * size + intercept) * float(random.lognormal(0.0, noise))
        samples.append(Sample("maxpool", {"input": size, "output": size / 4}, seconds))
    return samples


def test_a_line_without_noise_is_found_again() -> None:
    found = fit(pools(2e-7, 1e-3, 0.0), ["input"])
    assert found.regression is not None
    assert found.regression.coefficients["input"] == pytest.approx(2e-7, rel=1e-6)
    assert found.regression.intercept == pytest.approx(1e-3, rel=1e-6)
    assert found.r2 == pytest.approx(1.0)
    assert found.error == pytest.approx(0.0, abs=1e-6)


def test_the_error_is_the_relative_spread_around_the_line() -> None:
    found = fit(pools(2e-7, 1e-3, 0.1, count=400), ["input"])
    assert found.error == pytest.approx(0.1, rel=0.1)
    assert found.r2 == pytest.approx(0.95, abs=0.04)
    assert found.regression is not None
    assert found.regression.error == found.error


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_the_error_is_what_layers_outside_the_fit_show(noise: float) -> None:
    samples = pools(2e-7, 1e-3, noise, count=600)
    found = fit(samples[:60], ["input", "output"])
    assert found.regression is not None
    outside = [found.regression.seconds(s.variables) / s.seconds - 1 for s in samples[60:]]
    assert found.error == pytest.approx(float(np.sqrt(np.mean(np.square(outside)))), rel=0.25)


def test_a_layer_far_beyond_the_fitted_ones_is_charged_by_its_flops() -> None:
    samples = [
        Sample("gemm", {"input": 1.0 * n, "output": 2.0 * n, "flops": 1e4 * n}, 1e-5 * n) for n in range(1, 9)
    ]
    lab = fit_class("lab", samples, source="a test").device_class
    layer = Layer("fc", "gemm", ("a",), ("b",), 1e4, 0, 0, 0, {"input": 16.0, "output": 16.0})
    tensors = {name: Tensor(name, (1,), 1, 4) for name in ("a", "b")}
    inside = Graph("fc", ("a",), ("b",), (layer,), tensors)
    outside = replace(inside, layers=(replace(layer, variables={"input": 17.0, "output": 16.0}),))
    assert layer_times(inside, lab)[0].source is EstimateSource.REGRESSION
    assert layer_times(outside, lab)[0].source is EstimateSource.FLOPS


def test_no_coefficient_is_negative_where_the_unconstrained_line_falls() -> None:
    samples = [Sample("relu", {"input": 100.0 * n}, 0.01 - 1e-5 * n) for n in range(1, 11)]
    found = fit(samples, ["input"])
    assert found.regression is not None
    assert found.regression.coefficients == {"input": 0.0}
    assert found.regression.intercept == pytest.approx(0.00994, rel=1e-2)


@given(st.integers(0, 10_000))
def test_the_fit_is_the_non_negative_solution_relative_to_its_own_predictions(
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    inputs = random.uniform(0.1, 5.0, (12, 2))
    seconds = random.uniform(0.5, 2.0, 12)
    samples = [Sample("gemm", {"a": a, "b": b}, s) for (a, b), s in zip(inputs, seconds, strict=True)]
    found = fit(samples, ["a", "b"])
    assert found.regression is not None
    predicted = np.array([found.regression.seconds(sample.variables) for sample in samples])
    columns = np.column_stack([inputs, np.ones(12)])
    expected, _ = import_module("scipy.optimize").nnls(columns / predicted[:, None], seconds / predicted)
    got = [*found.regression.coefficients.values(), found.regression.intercept]
    assert got == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_sum_of_many_layers_is_not_predicted_too_short() -> None:
    samples = pools(2e-7, 1e-3, 0.4, count=800)
    found = fit(samples[:400], ["input"])
    assert found.regression is not None
    predicted = sum(found.regression.seconds(sample.variables) for sample in samples[400:])
    assert predicted == pytest.approx(sum(sample.seconds for sample in samples[400:]), rel=0.06)


def convolutions(sizes: list[int]) -> list[Sample]:
    """Convolutions whose time is proportional to their work, on maps of several sizes."""
    samples = []
    for size in sizes:
        for filters in (16, 32, 48, 64):
            flops = 2 * 9 * 16 * filters * size**2
            variables = {"input_maps": 16.0, "filter_work": 9.0 * filters, "flops": float(flops)}
            more = {"parameters": 4.0 * 9 * 16 * filters, "output": float(filters * size**2)}
            samples.append(Sample("conv", variables | more, 1e-9 * flops))
    return samples


def test_where_maps_differ_in_size_the_work_predicts_better_than_edgents_variables() -> None:
    found = fit_family(convolutions([8, 16, 32, 64]))
    assert found.regression is not None
    assert set(found.regression.coefficients) == {"flops", "parameters", "output"}
    assert found.error < 0.01


def test_edgents_variables_are_kept_where_they_predict_better() -> None:
    samples = []
    for maps, filters in product((3, 16, 32, 64), (8, 32, 96)):
        work = {"flops": 2.0 * 9 * maps * filters * 256, "parameters": 36.0 * maps * filters}
        variables = {"input_maps": float(maps), "filter_work": 9.0 * filters, "output": 256.0 * filters}
        samples.append(Sample("conv", variables | work, 6.13e-6 * maps + 2.67e-5 * 9 * filters))
    found = fit_family(samples)
    assert found.regression is not None
    assert found.regression.coefficients["input_maps"] == pytest.approx(6.13e-6)
    assert found.regression.coefficients["filter_work"] == pytest.approx(2.67e-5)


def test_too_few_samples_raise_an_error() -> None:
    found = fit(pools(2e-7, 1e-3, 0.1)[:5], ["input", "output"])
    assert found.regression is None
    assert found.reason is not None
    assert re.search(r"\b5\b.*\b6\b", found.reason)


def test_a_class_fitted_to_another_classs_times_predicts_them() -> None:
    graph = alexnet().graph
    assert graph is not None
    samples = [
        Sample(layer.kind, variables_of(layer), estimate.seconds)
        for layer, estimate in zip(graph.layers, layer_times(graph, RASPBERRY_PI_3), strict=True)
    ]
    result = fit_class("lab-pi", samples, source="a test", fallback=DESKTOP)
    assert result.fits["relu"].error == pytest.approx(0.0, abs=1e-6)
    assert result.fits["lrn"].samples == 5
    fitted = layer_times(graph, result.device_class)
    # The published convolution lines have a negative intercept, which the fit must not have.
    assert result.fits["conv"].error > 0.1
    for layer, mine, theirs in zip(graph.layers, fitted, layer_times(graph, RASPBERRY_PI_3), strict=True):
        if layer.kind in {"relu", "maxpool", "lrn", "dropout", "gemm"}:
            assert mine.seconds == pytest.approx(theirs.seconds, rel=1e-6)


def test_a_family_with_too_few_layers_keeps_the_fallbacks_line() -> None:
    samples = pools(2e-7, 1e-3, 0.05)[:3]
    result = fit_class("lab", samples, source="a test", fallback=RASPBERRY_PI_3)
    assert result.fits["pool"].reason is not None
    assert result.device_class.regressions["pool"] == RASPBERRY_PI_3.regressions["pool"]


def test_the_rate_of_flops_comes_from_all_layers() -> None:
    samples = [
        Sample("softmax", {"input": 10.0, "output": 10.0, "flops": 1e6 * n}, 1e-3 * n) for n in range(1, 9)
    ]
    result = fit_class("lab", samples, source="a test")
    assert result.device_class.flops_per_second == pytest.approx(1e9)
    assert result.device_class.flops_error == pytest.approx(0.0, abs=1e-9)


def test_nothing_to_go_by_is_an_error() -> None:
    with pytest.raises(BadValueError, match=r"samples: .*FLOPs"):
        fit_class("lab", [], source="a test")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_invalid_is_named(seconds: float) -> None:
    with pytest.raises(BadValueError, match=f"sample of relu: time {seconds} s"):
        Sample("relu", {}, seconds)


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(BadValueError, match=r"sample of maxpool: .*filter_work"):
        fit(pools(2e-7, 1e-3, 0.1), ["filter_work"])
