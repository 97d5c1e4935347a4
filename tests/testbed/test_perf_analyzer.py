"""Triton's load tool: the figures that are read from its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import CommandFailedError
from testbed.perf_analyzer import PerfAnalyzer, read_load

TABLE = """\
Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency,\
Avg latency,request/response,response wait
4,1999.5,65,257,100,20,15,5,0,143,275,424,6861,338,65,272
"""


def test_its_table_gives_rates_and_latencies_in_seconds() -> None:
    found = read_load(TABLE)
    assert found.rate == 1999.5
    assert [found.latency, found.p50, found.p95, found.p99] == pytest.approx(
        [338e-6, 143e-6, 424e-6, 6861e-6]
    )
    assert [found.queue, found.compute] == pytest.approx([100e-6, 40e-6])


def _tool(folder: Path, script: str) -> PerfAnalyzer:
    program = folder / "tool"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return PerfAnalyzer([str(program)])


def test_a_measurement_names_model_address_and_protocol(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text(TABLE)
    tool = _tool(
        tmp_path, f'echo "$@" > {tmp_path}/given; while [ "$1" != -f ]; do shift; done; cp {table} "$2"'
    )
    assert tool.measure("m", "localhost:8001", "grpc", "--request-count", "9").rate == 1999.5
    given = (tmp_path / "given").read_text().split()
    assert given[:6] == ["-m", "m", "-u", "localhost:8001", "-i", "grpc"]
    assert given[-2:] == ["--request-count", "9"]


@pytest.mark.parametrize(("script", "code"), [("echo cannot connect; exit 99", 99), ("echo unstable", 0)])
def test_a_tool_that_does_not_reach_its_end_says_why(tmp_path: Path, script: str, code: int) -> None:
    with pytest.raises(CommandFailedError) as caught:
        _tool(tmp_path, script).measure("m", "localhost:8000", "http")
    assert caught.value.code == code
    assert caught.value.output.strip() in ("cannot connect", "unstable")
