"""Joules of a request."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning import BadValueError
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.energy import LTE, UMTS, WIFI, Radio, compute_energy, radio_energy, request_energy


def test_computing_costs_power_times_time() -> None:
    # 3.7 W busy minus 1.4 W idle, for half a second.
    assert compute_energy(0.5, RASPBERRY_PI_3) == pytest.approx(1.15)


def test_sending_a_megabyte_at_5_megabit_over_lte() -> None:
    # (438.39 mW/Mbps * 5 Mbps + 1288.04 mW) * 1.6 s
    assert radio_energy(1_000_000, 5e6, LTE) == pytest.approx((0.43839 * 5 + 1.28804) * 1.6)


@pytest.mark.parametrize(("bandwidth", "order"), [(1e6, [WIFI, UMTS, LTE]), (10e6, [WIFI, LTE, UMTS])])
def test_lte_beats_3g_only_on_fast_links(bandwidth: float, order: list[Radio]) -> None:
    costs = [float(radio_energy(14_434, bandwidth, radio)) for radio in order]
    assert costs == sorted(costs)


def test_a_request_is_the_sum_of_both() -> None:
    energy = request_energy(np.array([0.0, 0.1]), np.array([1000, 0]), 1e6, RASPBERRY_PI_3, WIFI)
    assert energy.compute.tolist() == pytest.approx([0.0, 0.23])
    assert energy.radio.tolist() == pytest.approx([8e-3 * (0.28317 + 0.13286), 0.0])
    assert energy.total.tolist() == pytest.approx([8e-3 * 0.41603, 0.23])


@given(st.floats(1e3, 1e9), st.floats(1e3, 1e9), st.integers(0, 10**8))
def test_a_faster_link_never_costs_more_energy(one: float, other: float, size: int) -> None:
    slow, fast = sorted((one, other))
    assert radio_energy(size, fast, LTE) <= radio_energy(size, slow, LTE) * (1 + 1e-12)


def test_without_a_link_nothing_can_be_sent() -> None:
    assert radio_energy(np.array([0, 1]), 0.0, WIFI).tolist() == [0.0, float("inf")]


def test_a_class_of_unknown_power_raises_an_error() -> None:
    with pytest.raises(BadValueError, match="device class desktop: active_power"):
        compute_energy(0.1, DESKTOP)


@pytest.mark.parametrize(
    ("seconds", "size", "bandwidth", "name"),
    [(float("nan"), 1, 1e6, "seconds nan"), (1.0, -1, 1e6, "size -1"), (1.0, 1, -5.0, "bandwidth -5.0")],
)
def test_bad_values_are_named(seconds: float, size: int, bandwidth: float, name: str) -> None:
    with pytest.raises(BadValueError, match=f"energy: {name} "):
        request_energy(seconds, size, bandwidth, RASPBERRY_PI_3, WIFI)


def test_a_bad_power_is_named() -> None:
    with pytest.raises(BadValueError, match=r"active_power -2\.0"):
        replace(RASPBERRY_PI_3, active_power=-2.0)
    with pytest.raises(BadValueError, match="radio lora: base nan"):
        Radio("lora", 1.0, float("nan"), "a test")
