"""Compares the runtime with KServe's Python server, MLServer and Triton: `make bench-runtime`.

All serve the same model with one thread, run in parallel and receive requests of the same client. Prints
progress to stderr and one JSON object as its last line. --quick sends few requests: a check that everything
runs, not a measurement. --peers selects the servers; the others are not installed. The last two parts shape
links between network namespaces and need root; without it they are left out with a message.
"""

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.runtime import (
    batching,
    compatibility,
    deadlines,
    end_to_end,
    idle,
    load_tool,
    overheads,
    peers,
    preparing,
    startup,
    switching,
    throughputs,
)
from benchmarks.runtime.commands import Measure, Say, described, reported, say
from benchmarks.runtime.peers import NAMES
from testbed.errors import TestbedError


class PeerMeasure(Protocol):
    """Measures the named servers and returns the results."""

    def __call__(
        self, names: Sequence[str], folder: Path, say: Say, /, *, quick: bool
    ) -> dict[str, object]: ...


def _without_peers(measure: Measure) -> PeerMeasure:
    return lambda _names, folder, say, *, quick: measure(folder, say, quick=quick)


PARTS: dict[str, PeerMeasure] = {
    "overheads": overheads.measure,
    "throughputs": throughputs.measure,
    "perf_analyzer": load_tool.measure,
    "switching": _without_peers(switching.measure),
    "startup": _without_peers(startup.measure),
    "idle": _without_peers(idle.measure),
    "preparing": _without_peers(preparing.measure),
    "compatibility": compatibility.measure,
    "batching": _without_peers(batching.measure),
    "end_to_end": _without_peers(end_to_end.measure),
    "deadlines": _without_peers(deadlines.measure),
}


def indented(line: str) -> None:
    """Prints a line about the progress of a part."""
    say(f"  {line}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the named parts against the named servers, all by default."""
    parser = described("bench_runtime", __doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="CHECKOUT",
        help="also measure the runtime of another checkout (after its `make setup`), as `before`",
    )
    given = parser.parse_args(argv)
    names = list(given.peers)
    if given.before is not None:
        peers.use_before(given.before)
        names.append(peers.BEFORE)
    return reported("runtime", lambda folder: measure(folder, given.only, names, quick=given.quick))


def measure(folder: Path, parts: Sequence[str], names: Sequence[str], *, quick: bool) -> dict[str, object]:
    """Returns the machine and the results of the parts; `left_out` has the reasons of skipped ones."""
    machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    found: dict[str, object] = {"quick": quick, "machine": machine}
    for name in parts:
        say(f"{name}:")
        started = time.perf_counter()
        try:
            found |= PARTS[name](names, folder, indented, quick=quick)
        except TestbedError as error:
            indented(str(error))
            found[name] = {"left_out": str(error)}
        say(f"  took {time.perf_counter() - started:.0f} s")
    return found


if __name__ == "__main__":
    sys.exit(main())
