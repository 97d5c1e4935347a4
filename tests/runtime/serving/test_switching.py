"""A thousand tables one after the other under continuous load, as the benchmark counts them."""

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
