"""Measures the planner's correctness and speed: `make bench-planner`.

Prints progress to stderr and one JSON object as its last line. --quick takes fewer instances: a check that
everything runs, not a measurement. --only selects parts.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from benchmarks.planner import chain, costs, dags, operator_costs, pool_referee, sharing, whole_pools


class PlannerMeasure(Protocol):
    """Measures one part of the planner and returns the results."""

    def __call__(self, progress: Callable[[str], None], /, *, quick: bool) -> Mapping[str, object]: ...


PARTS: Mapping[str, PlannerMeasure] = {
    "chain": chain.measure,
    "dags": dags.measure,
    "sharing": sharing.measure,
    "pools": whole_pools.measure,
    "pool_gap": pool_referee.measure,
    "costs": costs.measure,
    "operator_costs": operator_costs.measure,
}


def say(line: str) -> None:
    """Prints progress to stderr; standard output is for the JSON."""
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the named parts, all by default."""
    parser = argparse.ArgumentParser(prog="bench_planner", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few instances, in seconds")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    arguments = parser.parse_args(argv)
    found: dict[str, object] = {
        "quick": arguments.quick,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
    }
    for name in arguments.only:
        say(f"{name}:")
        started = time.perf_counter()
        found |= PARTS[name](lambda line: say(f"  {line}"), quick=arguments.quick)
        say(f"  took {time.perf_counter() - started:.0f} s")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
