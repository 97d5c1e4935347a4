"""The prepared choice equals the planner's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.chain import instance
from edge_planning import BadValueError, candidates, choose
from edge_planning_lab.baselines.choosers import chooser


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.floats(1e4, 1e9))
def test_a_prepared_chooser_decides_as_choose_does(seed: int, bandwidth: float) -> None:
    problem = instance(np.random.default_rng(seed))
    options, deadline = candidates(problem), problem.slo.latency
    quick, full = chooser(options).at(bandwidth, deadline), choose(options, deadline, bandwidth)
    assert full is not None
    assert (quick.latency, quick.met) == (full.latency, full.met)


def test_a_deadline_that_is_not_a_number_is_named() -> None:
    options = candidates(instance(np.random.default_rng(1)))
    with pytest.raises(BadValueError, match="deadline nan s"):
        chooser(options).at(1e6, math.nan)
