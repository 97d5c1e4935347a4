"""Edgent's AlexNet and device classes against the published figures."""

import pytest

from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3, DeviceClass
from edge_planning.costs.estimates import class_profile
from edge_planning.graphs.slices import layers_between
from edge_planning_lab.alexnet import NARROW, alexnet

MODEL = alexnet()
FULL = MODEL.exits[-1]


def test_the_exits_have_the_published_numbers_of_layers() -> None:
    assert MODEL.graph is not None
    lengths = [len(layers_between(MODEL.graph, (), exit_.outputs)) for exit_ in MODEL.exits]
    assert lengths == [12, 16, 19, 20, 22]


def test_the_device_alone_takes_more_than_two_seconds_when_it_loads_the_model() -> None:
    assert MODEL.graph is not None
    assert RASPBERRY_PI_3.loading is not None
    layers = layers_between(MODEL.graph, (), FULL.outputs)
    weights = sum(layer.parameters for layer in layers)
    compute = class_profile(MODEL, RASPBERRY_PI_3).whole(FULL)
    loading = RASPBERRY_PI_3.loading.seconds({"bytes": weights})
    assert compute == pytest.approx(0.5459, abs=1e-3)
    assert loading == pytest.approx(1.5124, abs=1e-3)
    assert compute + loading > 2.0
    assert class_profile(MODEL, RASPBERRY_PI_3, loading=True).whole(FULL) == pytest.approx(compute + loading)


@pytest.mark.parametrize(("bandwidth", "published"), [(1e6, 0.123), (50e3, 2.317)])
def test_the_edge_alone_takes_the_published_time_within_4_percent(bandwidth: float, published: float) -> None:
    seconds = FULL.cuts[0].size * 8 / bandwidth + class_profile(MODEL, DESKTOP).whole(FULL)
    assert seconds == pytest.approx(published, rel=0.04)


def test_a_narrow_model_is_a_quarter_of_the_work_for_the_pi() -> None:
    narrow = alexnet(NARROW)
    assert class_profile(narrow, RASPBERRY_PI_3).whole(narrow.exits[-1]) == pytest.approx(0.1088, abs=1e-3)


@pytest.mark.parametrize("device_class", [RASPBERRY_PI_3, DESKTOP])
def test_the_rate_of_flops_is_that_of_the_regressions_on_this_model(device_class: DeviceClass) -> None:
    assert MODEL.graph is not None
    work = sum(layer.flops for layer in layers_between(MODEL.graph, (), FULL.outputs))
    seconds = class_profile(MODEL, device_class).whole(FULL)
    assert work / seconds == pytest.approx(device_class.flops_per_second, rel=0.05)


@pytest.mark.parametrize("device_class", [RASPBERRY_PI_3, DESKTOP])
def test_a_deeper_exit_takes_longer(device_class: DeviceClass) -> None:
    profile = class_profile(MODEL, device_class)
    times = [profile.whole(exit_) for exit_ in MODEL.exits]
    assert times == sorted(times)
