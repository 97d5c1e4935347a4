"""What the runtime costs beside KServe's Python server, MLServer and Triton: `make bench-runtime`.

All serve the same model with one thread, run side by side and are asked by the same client. Prints what it is
doing to stderr and one JSON object as its last line. --quick asks each a few times: a check that everything
runs, not a measurement. --peers names the servers; the others are not installed. The last two parts shape
links between network namespaces and need root; without it they say so and are left out.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.runtime import (
    batching,
    compatibility,
    deadlines,
    end_to_end,
    overheads,
    preparing,
    startup,
    switching,
    throughputs,
)
from benchmarks.runtime.peers import NAMES
from testbed.errors import TestbedError

Part = Callable[[Sequence[str], Path, Callable[[str], None], bool], dict[str, object]]

PARTS: dict[str, Part] = {
    "overheads": overheads.measure,
    "throughputs": throughputs.measure,
    "switching": lambda _, *rest: switching.measure(*rest),
    "startup": lambda _, *rest: startup.measure(*rest),
    "preparing": lambda _, *rest: preparing.measure(*rest),
    "compatibility": compatibility.measure,
    "batching": lambda _, *rest: batching.measure(*rest),
    "end_to_end": lambda _, *rest: end_to_end.measure(*rest),
    "deadlines": lambda _, *rest: deadlines.measure(*rest),
}


def say(line: str) -> None:
    """One line of what is going on."""
    print(line, file=sys.stderr, flush=True)


def indented(line: str) -> None:
    """One line of what goes on in a part."""
    say(f"  {line}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the named parts against the named servers, all by default."""
    parser = argparse.ArgumentParser(prog="bench_runtime", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few requests, in seconds")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    arguments = parser.parse_args(argv)
    found: dict[str, object] = {
        "quick": arguments.quick,
        "machine": {
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
        },
    }
    with tempfile.TemporaryDirectory(prefix="bench-runtime-") as folder:
        for name in arguments.only:
            say(f"{name}:")
            started = time.perf_counter()
            try:
                found |= PARTS[name](arguments.peers, Path(folder), indented, arguments.quick)
            except TestbedError as error:
                indented(str(error))
                found[name] = {"left_out": str(error)}
            say(f"  took {time.perf_counter() - started:.0f} s")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
