"""The memory that a joint choice takes for each demand: a pool of 10,000 must fit the operator's limit."""

import tracemalloc
from typing import Any

import pytest

from benchmarks.planner.whole_pools import made
from edge_planning.pools import plan_pool
from edge_planning.pools.contention import Contention

MOST = 30_000
"""Bytes for a demand; with the candidates of all demands kept, a joint choice takes 44,000."""


def test_a_joint_choice_does_not_keep_the_candidates_of_all_demands(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks: list[float] = []
    choose = Contention.choose

    def traced(self: Contention, units: Any, ledger: Any, wanted: Any) -> Any:
        tracemalloc.start()
        try:
            return choose(self, units, ledger, wanted)
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1] / len(units))
            tracemalloc.stop()

    monkeypatch.setattr(Contention, "choose", traced)
    plan_pool(made(60, 6, 60.0, 4, 1))
    assert peaks
    assert max(peaks) < MOST
