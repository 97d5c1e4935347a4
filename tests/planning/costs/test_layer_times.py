"""Seconds of layers: measured first, then regressed, then from FLOPs; each names its source."""

from dataclasses import replace

import pytest

from edge_planning import BadValueError, Model, Timing
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3, DeviceClass
from edge_planning.costs.estimates import EstimateSource, TimeEstimate, class_profile, layer_times, total
from edge_planning.costs.regressions import Regression
from edge_planning.graphs import Graph
from edge_planning_lab.alexnet import alexnet

MODEL = alexnet()
assert MODEL.graph is not None
GRAPH: Graph = MODEL.graph
NUMBER = {layer.name: index for index, layer in enumerate(GRAPH.layers)}


def test_estimates_say_that_unknown_sizes_count_as_one() -> None:
    assert class_profile(MODEL, DESKTOP).assumptions == ()
    unsized = replace(MODEL, graph=replace(GRAPH, unsized=("boxes", "scores", "classes", "kept")))
    (sentence,) = class_profile(unsized, DESKTOP).assumptions
    assert "boxes, scores, classes and 1 more" in sentence
    assert "lower bounds" in sentence


def test_a_convolution_on_the_pi_is_the_published_line() -> None:
    # 6.13e-3 * 3 + 2.67e-2 * 25 * 96 - 9.909 ms
    estimate = layer_times(GRAPH, RASPBERRY_PI_3)[NUMBER["conv1"]]
    assert estimate.seconds == pytest.approx(0.05418939)
    assert estimate.source is EstimateSource.REGRESSION
    assert estimate.error == 0.2


def test_a_line_below_zero_stops_at_the_floor() -> None:
    # The desktop's line decreases with the outputs: 1.07e-4 * 4096 - 1.83e-4 * 4096 + 0.164 < 0.
    assert layer_times(GRAPH, DESKTOP)[NUMBER["fc6"]].seconds == 1e-5


def test_a_kind_without_a_regression_is_charged_by_its_flops() -> None:
    bare = replace(RASPBERRY_PI_3, regressions={})
    estimate = layer_times(GRAPH, bare)[NUMBER["conv2"]]
    assert estimate == TimeEstimate(2 * 25 * 96 * 256 * 256 / 1.4e9, 0.5, EstimateSource.FLOPS)


def test_a_layer_that_lacks_its_variables_is_charged_by_its_flops() -> None:
    first = replace(GRAPH.layers[0], variables={"input": 3072.0})
    graph = replace(GRAPH, layers=(first, *GRAPH.layers[1:]))
    assert layer_times(graph, RASPBERRY_PI_3)[0].source is EstimateSource.FLOPS


def test_a_measured_slice_is_shared_out_among_its_layers_as_they_were_estimated() -> None:
    plain = layer_times(GRAPH, RASPBERRY_PI_3)
    times = layer_times(GRAPH, RASPBERRY_PI_3, {("image", "pool1"): Timing(0.1, 0.12)})
    inside = [NUMBER[name] for name in ("conv1", "relu1", "pool1")]
    assert sum(times[index].seconds for index in inside) == pytest.approx(0.1)
    assert {times[index].source for index in inside} == {EstimateSource.MEASURED}
    assert {times[index].error for index in inside} == {0.0}
    ratio = times[inside[0]].seconds / times[inside[2]].seconds
    assert ratio == pytest.approx(plain[inside[0]].seconds / plain[inside[2]].seconds)
    assert times[NUMBER["lrn1"]] == plain[NUMBER["lrn1"]]


def test_of_two_measured_slices_that_overlap_the_shorter_one_counts() -> None:
    measured = {("image", "lrn1"): Timing(0.2, 0.2), ("image", "conv1"): Timing(0.05, 0.05)}
    times = layer_times(GRAPH, RASPBERRY_PI_3, measured)
    assert times[NUMBER["conv1"]].seconds == pytest.approx(0.05)
    assert times[NUMBER["lrn1"]].source is EstimateSource.REGRESSION


def test_a_profile_takes_what_was_measured_and_estimates_the_rest() -> None:
    measured = {("image", "conv1"): Timing(0.07, 0.09)}
    profile = class_profile(MODEL, RASPBERRY_PI_3, measured)
    means = profile.means(MODEL.exits[0])
    assert profile.segments["image", "conv1"] == Timing(0.07, 0.09)
    assert means[0] == pytest.approx(0.07)
    assert means[1] == pytest.approx(1.5e-8 * 96 * 32 * 32 + 0.488e-3)


def test_every_exit_of_a_profile_is_the_sum_of_its_layers() -> None:
    profile = class_profile(MODEL, DESKTOP)
    times = layer_times(GRAPH, DESKTOP)
    trunk = sum(times[NUMBER[name]].seconds for name in ("conv1", "relu1", "pool1", "lrn1"))
    branch = sum(times[index].seconds for name, index in NUMBER.items() if name.startswith("exit1/"))
    assert profile.whole(MODEL.exits[0]) == pytest.approx(trunk + branch)


def test_the_sum_of_estimates_is_as_unsure_as_its_parts_together() -> None:
    parts = [TimeEstimate(0.3, 0.1, EstimateSource.REGRESSION), TimeEstimate(0.1, 0.5, EstimateSource.FLOPS)]
    assert total(parts).seconds == pytest.approx(0.4)
    assert total(parts).error == pytest.approx(0.2)
    assert total(parts).source is EstimateSource.FLOPS
    assert total(parts[:1]).source is EstimateSource.REGRESSION
    with pytest.raises(BadValueError, match="estimates: "):
        total([])


def test_a_slice_whose_layers_cost_nothing_by_estimate_is_shared_out_evenly() -> None:
    free = [replace(layer, kind="identity", flops=0.0) for layer in GRAPH.layers[:2]]
    graph = replace(GRAPH, layers=(*free, *GRAPH.layers[2:]))
    times = layer_times(graph, DESKTOP, {("image", "relu1"): Timing(0.02, 0.02)})
    assert [times[0].seconds, times[1].seconds] == [0.01, 0.01]


def test_a_model_without_a_graph_cannot_be_estimated() -> None:
    with pytest.raises(BadValueError, match="model alexnet: no graph"):
        class_profile(Model("alexnet", MODEL.exits), DESKTOP)


def test_a_measured_slice_between_unknown_tensors_is_named() -> None:
    with pytest.raises(BadValueError, match="conv9"):
        layer_times(GRAPH, DESKTOP, {("image", "conv9"): Timing(1.0, 1.0)})


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_a_variable_that_is_not_a_size_is_named(value: float) -> None:
    with pytest.raises(BadValueError, match=f"variable input {value}"):
        Regression({"input": 1e-6}, 0.0, 0.1).seconds({"input": value})


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_not_a_rate_is_named(rate: float) -> None:
    with pytest.raises(BadValueError, match=f"device class tpu: flops_per_second {rate}"):
        DeviceClass("tpu", {}, rate, "none")


def test_loading_counts_for_a_head_as_soon_as_anything_of_it_runs() -> None:
    warm, cold = class_profile(MODEL, RASPBERRY_PI_3), class_profile(MODEL, RASPBERRY_PI_3, loading=True)
    more = [b - a for a, b in zip(warm.means(MODEL.exits[-1]), cold.means(MODEL.exits[-1]), strict=True)]
    # conv1 has 96 * (75 + 1) floats; a relu has none.
    assert more[0] == pytest.approx(0.842136 + 4.49e-9 * 96 * 76 * 4)
    assert more[1] == pytest.approx(0.0, abs=1e-12)


def test_a_class_of_unknown_loading_time_raises_an_error() -> None:
    with pytest.raises(BadValueError, match="device class desktop: loading"):
        class_profile(MODEL, replace(DESKTOP, loading=None), loading=True)
