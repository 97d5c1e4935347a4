"""Compares the planner with published methods on bandwidth traces: `make bench-slo TRACES=dir`.

Edgent's AlexNet with five exits on a Raspberry Pi 3 and a desktop (both as published), deadlines of 100 to
1,000 ms, one request every three seconds. With --load, three services share the Raspberry Pi and its uplink,
and their requests arrive as Poisson processes at 30, 60 and 90 % of what the node computes by their cheapest
exits; the runtime's decisions are compared with an oracle that knows arrivals and link. Prints one JSON
object as its last line; the figures of each trace are written to a file (--out). Progress is printed to
stderr.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.slo import loaded, spaced
from benchmarks.slo.jobs import TraceJob, jobs_of

EVERY = 3.0
Found = TypeVar("Found")


def bar(done: int, total: int, started: float) -> None:
    """Prints a progress bar to stderr."""
    filled = 30 * done // total
    seconds = time.perf_counter() - started
    end = "\n" if done == total else ""
    line = f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} traces, {seconds:.0f} s"
    print(line, end=end, file=sys.stderr, flush=True)


def pool_of(processes: int) -> Pool:
    """Fresh processes."""
    return multiprocessing.get_context("spawn").Pool(processes)


def measured(
    jobs: Sequence[TraceJob], measure: Callable[[TraceJob], tuple[str, Found]], processes: int
) -> dict[str, Found]:
    """Returns the results by trace, sorted by name."""
    results: dict[str, Found] = {}
    started = time.perf_counter()
    bar(0, len(jobs), started)
    with pool_of(processes) as pool:
        longest_first = sorted(jobs, key=lambda job: -len(job.text or ""))
        for name, found in pool.imap_unordered(measure, longest_first):
            results[name] = found
            bar(len(results), len(jobs), started)
    return dict(sorted(results.items()))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    found = argparse.ArgumentParser(prog="bench_slo", description=__doc__)
    found.add_argument("--traces", type=Path, help="a folder of files with lines `seconds Mbit/s`")
    found.add_argument("--out", type=Path, default=Path("build/bench-slo.json"), help="figures by trace")
    found.add_argument("--quick", action="store_true", help="few traces and deadlines, in seconds")
    found.add_argument(
        "--load",
        action="store_true",
        help="several services at one node, at 30, 60 and 90 %% of its capacity, compared with an oracle",
    )
    found.add_argument("--every", type=float, help="seconds between requests (default: 3)")
    found.add_argument("--arrivals", choices=("constant", "poisson"), help="default: constant")
    found.add_argument("--plots", type=Path, metavar="DIR", help="draws the comparison and a run as SVG")
    found.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measures all traces, in one process per CPU."""
    command = parser()
    arguments = command.parse_args(argv)
    if arguments.load:
        given = [name for name in ("every", "arrivals", "plots") if getattr(arguments, name) is not None]
        if given:
            command.error(f"--load: cannot be combined with --{given[0]}")
    started = time.perf_counter()
    every, arrivals = arguments.every or EVERY, arguments.arrivals or "constant"
    jobs, source = jobs_of(arguments.traces, quick=arguments.quick, every=every, arrivals=arrivals)
    if not jobs:
        command.error(f"no traces in {arguments.traces}")
    answer: dict[str, Any]
    if arguments.load:
        loads = measured(jobs, loaded.measure, arguments.processes)
        answer, detail = loaded.verdict(loads, source), loaded.detail(loads)
        settings: dict[str, Any] = {"seconds_per_trace": jobs[0].loaded_seconds}
        table = loaded.text(answer)
    else:
        results = measured(jobs, spaced.measure, arguments.processes)
        answer, detail = spaced.verdict(results, source), spaced.detail(results)
        settings = {"every": every, "arrivals": arrivals}
        table = spaced.text(answer)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"source": source, "traces": detail}, indent=1) + "\n")
    if arguments.plots:
        spaced.draw(answer, jobs[0], arguments.plots)
    print(table, file=sys.stderr)
    seconds = round(time.perf_counter() - started, 1)
    about = {"quick": arguments.quick, **settings, "seconds": seconds, "by_trace": str(arguments.out)}
    print(json.dumps(answer | about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
