"""Triton's load tool runs to its end against the runtime as it does against Triton."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.runtime.models import SIZES, write_models
from benchmarks.runtime.peers import PeerServer, started
from testbed.layout import Layout
from testbed.perf_analyzer import ROOT, PerfAnalyzer, install

pytestmark = pytest.mark.load_tool

SIZE = "1KB"
REQUESTS = ("--request-count", "200")
# The benchmarks' Triton serves the model without a batch: its configuration has an open first dimension.
SHAPES = {"ours": (), "triton": ("--shape", f"x:1,{SIZES[SIZE]}")}
PROTOCOLS = ("http", "grpc")
Start = Callable[[str], PeerServer]


@pytest.fixture(scope="module")
def tool() -> PerfAnalyzer:
    return install(Layout.of_checkout(ROOT))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a server of a model with almost no compute once, until the tests end."""
    folder, known = tmp_path_factory.mktemp("servers"), dict[str, PeerServer]()
    model: Path = write_models(folder / "models")[SIZE]
    with ExitStack() as stack:

        def of(name: str) -> PeerServer:
            if name not in known:
                known[name] = stack.enter_context(started(name, SIZE, model, folder, print))
            return known[name]

        yield of


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("server", ["ours", "triton"])
def test_it_runs_to_its_end(tool: PerfAnalyzer, start: Start, server: str, protocol: str) -> None:
    found = start(server)
    port = found.http if protocol == "http" else found.grpc
    load = tool.measure(
        "m", f"127.0.0.1:{port}", protocol, "--concurrency-range", "2:2", *REQUESTS, *SHAPES[server],
        timeout_seconds=120,
    )  # fmt: skip
    assert load.rate > 0
    assert 0 < load.compute < load.latency  # by the server's statistics, and at the client
    assert 0 < load.p50 <= load.p95 <= load.p99


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("-b", "4"),
        ("--request-rate-range", "200:200"),
        ("--input-data", "zero"),
    ],
    ids=["batches", "rate", "zeros"],
)
def test_the_runtime_answers_its_other_forms_of_load(
    tool: PerfAnalyzer, start: Start, protocol: str, arguments: tuple[str, ...]
) -> None:
    found = start("ours")
    port = found.http if protocol == "http" else found.grpc
    load = tool.measure("m", f"127.0.0.1:{port}", protocol, *REQUESTS, *arguments, timeout_seconds=120)
    assert load.rate > 0


@pytest.mark.parametrize(
    "arguments",
    [("--async",), ("--streaming",), ("--request-parameter", "priority:1:int")],
    ids=["async", "streaming", "priority"],
)
def test_its_forms_of_load_over_grpc_alone_end_well(
    tool: PerfAnalyzer, start: Start, arguments: tuple[str, ...]
) -> None:
    load = tool.measure(
        "m", f"127.0.0.1:{start('ours').grpc}", "grpc", *REQUESTS, *arguments, timeout_seconds=120
    )
    assert load.rate > 0


def test_the_server_statistics_that_it_prints_count_all_requests(tool: PerfAnalyzer, start: Start) -> None:
    said = tool.run("-m", "m", "-u", f"127.0.0.1:{start('ours').http}", *REQUESTS, timeout_seconds=120)
    lines = [line.strip() for line in said.splitlines()]
    assert "Inference count: 200" in lines
    assert "Execution count: 200" in lines
    assert "Successful request count: 200" in lines
