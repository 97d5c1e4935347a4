"""Measures the runtime and Triton with Triton's load tool, perf_analyzer."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.runtime.commands import Say
from benchmarks.runtime.models import SIZES, write_models
from benchmarks.runtime.peers import BEFORE, ROOT, started
from testbed.layout import Layout
from testbed.perf_analyzer import Load, install

_SIZE: Final = "48KB"
_CONCURRENCY: Final = 4
_ROUNDS: Final = 5
_MEASURED: Final = ("ours", BEFORE, "triton")  # those that have the extensions that the tool needs
# The windows that are compared may differ by this many percent, since other programs use the machine, too.
_STABLE: Final = 50
_PROTOCOLS: Final = ("http", "grpc")


def measure(names: Sequence[str], folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `perf_analyzer`: the tool's figures of each server by protocol, the medians of some rounds.

    The servers run in parallel and are measured in turns, so that other load on the machine affects all of
    them.
    `rate_over_triton` has the runtime's inferences per second over Triton's.
    """
    measured = [name for name in names if name in _MEASURED]
    if not measured:
        return {}
    tool = install(Layout.of_checkout(ROOT), say)
    window, rounds = (300, 1) if quick else (1000, _ROUNDS)
    more = ["--concurrency-range", f"{_CONCURRENCY}:{_CONCURRENCY}", "--max-trials", "20"]
    more += ["--measurement-interval", str(window), "--stability-percentage", str(_STABLE)]
    model = write_models(folder / "models")[_SIZE]
    loads: dict[str, dict[str, list[Load]]] = {n: {p: [] for p in _PROTOCOLS} for n in measured}
    with ExitStack() as stack:
        servers = {n: stack.enter_context(started(n, _SIZE, model, folder, say)) for n in measured}
        for _ in range(rounds):
            for protocol in _PROTOCOLS:
                for name, server in servers.items():
                    port = server.http if protocol == "http" else server.grpc
                    shape = f"1,{SIZES[_SIZE]}" if name == "triton" else f"{SIZES[_SIZE]}"
                    load = tool.measure(
                        "m",
                        f"127.0.0.1:{port}",
                        protocol,
                        *more,
                        "--shape",
                        f"x:{shape}",
                        timeout_seconds=120,
                    )
                    loads[name][protocol].append(load)
    figures = {
        name: {protocol: _figures(found) for protocol, found in by_protocol.items()}
        for name, by_protocol in loads.items()
    }
    for name, by_protocol in figures.items():
        say(f"{name}: " + ", ".join(f"{p} {found['rate_rps']}/s" for p, found in by_protocol.items()))
    found: dict[str, object] = {"concurrency": _CONCURRENCY, **figures}
    if {"ours", "triton"} <= figures.keys():
        found["rate_over_triton"] = {
            p: round(figures["ours"][p]["rate_rps"] / figures["triton"][p]["rate_rps"], 3) for p in _PROTOCOLS
        }
    return {"perf_analyzer": found}


def _figures(loads: Sequence[Load]) -> dict[str, float]:
    """Medians of the rounds; times in milliseconds."""
    return {
        "rate_rps": round(median(load.rate for load in loads), 1),
        "mean_ms": round(1e3 * median(load.latency for load in loads), 3),
        "p50_ms": round(1e3 * median(load.p50 for load in loads), 3),
        "p99_ms": round(1e3 * median(load.p99 for load in loads), 3),
        "queue_ms": round(1e3 * median(load.queue for load in loads), 3),
        "compute_ms": round(1e3 * median(load.compute for load in loads), 3),
    }
