"""A runtime's reports about its link, and the cost of measuring it."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import numpy as np
import pytest

Stack = Any


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


def _link(stack: Stack, **more: str) -> Any:
    """The link of a placement with a probe every tenth of a second."""
    return {
        "peer": "cloud",
        "probe": f"http://127.0.0.1:{stack.probe.port}/v1/probe",
        "interval": "100ms",
    } | more


def test_level_low_quantile_and_moment_of_the_last_measurement_are_metrics(stack: Stack) -> None:
    stack.start(stack.placement(stack.remote("pool1"), stack.local("exit1")))
    stack.wait(lambda: stack.metric("edge_link_bandwidth_bits") > 0, within=10)
    level, low = (stack.metric(f"edge_link_bandwidth{name}_bits") for name in ("", "_low"))
    assert 0 < low <= level
    assert abs(time.time() - stack.metric("edge_link_measured_timestamp_seconds")) < 60
    stack.hop.mode = stack.probe.mode = "refuse"
    stack.wait(lambda: stack.metric("edge_link_bandwidth_low_bits") == 0, within=10)


def test_probes_of_an_idle_link_stay_within_the_budget(stack: Stack) -> None:
    """64 KiB an hour are four probes' worth at first, and then almost nothing for three seconds."""
    stack.start(
        stack.placement(stack.remote("pool1"), stack.local("exit1"), link=_link(stack, budget="64Ki"))
    )
    stack.wait(lambda: stack.metric("edge_probe_bytes_total") > 30_000, within=10)
    pause, until = threading.Event(), time.monotonic() + 3
    while time.monotonic() < until:
        assert stack.metric("edge_probe_bytes_total") < 80_000
        pause.wait(0.1)
    assert re.search(r'edge_probe_bytes_total\{peer="cloud",service="digits"\} \d', stack.metrics())


def test_without_a_probe_budget_a_link_is_still_found_down_and_up_again(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.remote("pool1"), stack.local("exit1"), link=_link(stack, budget="0")))
    stack.wait_for_route(image, "final@pool1")
    stack.hop.mode = stack.probe.mode = "hang"
    stack.wait(lambda: [stack.infer(image), stack.metric("edge_link_bandwidth_bits")][1] == 0, within=10)
    stack.hop.mode = stack.probe.mode = "pass"
    stack.wait_for_route(image, "final@pool1", within=30)
