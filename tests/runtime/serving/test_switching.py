"""A thousand tables in sequence under continuous load, as the benchmark counts them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.runtime.switching import switch_under_load


def test_a_thousand_switches_under_load_lose_no_request_and_mix_no_two_tables(tmp_path: Path) -> None:
    found = asyncio.run(switch_under_load(tmp_path, 1000, answers=4))
    assert (found["switches"], found["failed"], found["mixed"]) == (1000, 0, 0)
    assert isinstance(found["requests"], int)
    assert found["requests"] >= 4000
    assert isinstance(found["memory_ratio"], float)
    assert found["memory_ratio"] < 1.2
    for spans in ("gap_of_a_switch_ms", "gap_without_a_switch_ms"):
        gaps = found[spans]
        assert isinstance(gaps, dict)
        assert list(gaps) == ["p50", "p90", "p99", "most"]
        assert 0 < gaps["p50"] <= gaps["p90"] <= gaps["p99"] <= gaps["most"]
