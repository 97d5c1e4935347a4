"""Invalid values of a simulation are named immediately."""

from collections.abc import Callable
from math import inf, nan

import numpy as np
import pytest

from edge_planning.errors import BadValueError
from edge_planning_lab.simulation import (
    Bandwidth,
    LognormalProcess,
    OutageProcess,
    Uplink,
    poisson,
    read_trace,
)

RNG = np.random.default_rng(0)
LINK = Bandwidth([0.0, 1.0], [1e6, 2e6], 3.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OutageProcess(good_for=nan), "process: good_for nan s"),
        (lambda: OutageProcess(bad=nan), "process: bad nan bit/s"),
        (lambda: OutageProcess().sample(RNG, inf), "process: duration inf s"),
        (lambda: LognormalProcess(step=0.0), "process: step 0.0 s"),
        (lambda: LognormalProcess(levels=()), r"process: levels \(\)"),
        (lambda: LognormalProcess(memory=1.5), "process: memory 1.5"),
        (lambda: Uplink("wan", LINK, probe_every=0.0), "uplink wan: probe_every 0.0"),
        (lambda: poisson(RNG, 1.0, nan), "arrivals: duration nan s"),
        (lambda: read_trace("0 1\nnan 1\n2 1"), "trace: line 2: time nan s"),
        (lambda: LINK.cut([(nan, 2.0)], 10.0), r"bandwidth: outage \(nan, 2.0\) s"),
        (lambda: LINK.finish(nan, 1.0), "bandwidth: 1.0 bits from nan s"),
    ],
)
def test_a_value_that_cannot_be_simulated_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadValueError, match=message):
        make()


def test_endless_bits_never_end() -> None:
    assert LINK.finish(0.0, inf) == inf
