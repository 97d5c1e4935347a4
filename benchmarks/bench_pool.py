"""Measures the operator and its runtimes on a pool of nodes: `make bench-pool`.

Starts the testbed, or uses the running one, and installs the operator. Prints progress to stderr and one JSON
object as its last line. --only selects the sections; --quick counts few things for a short time: a check that
everything runs, not a measurement. --keep leaves a testbed running that the benchmark started. Needs root.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.pool import converge, density, idle, restart, site, tails
from benchmarks.runtime.commands import described, reported, say
from demo.errors import DemoError
from testbed import Testbed
from testbed.errors import TestbedError

ROOT = Path(__file__).resolve().parents[1]
# By the key of its result.
SECTIONS: dict[str, Callable[..., object]] = {
    "density": density.measure,
    "idle": idle.measure,
    "restart": restart.measure,
    "tail_mb": tails.measure,
    "converge": converge.measure,
}
# As they are named on the command line.
NAMES = {"tail" if key == "tail_mb" else key: key for key in SECTIONS}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the named sections, all by default."""
    parser = described("bench_pool", __doc__)
    parser.add_argument("--only", nargs="+", choices=list(NAMES), default=list(NAMES), metavar="SECTION")
    parser.add_argument("--keep", action="store_true", help="leave the testbed running")
    given = parser.parse_args(argv)
    keys = [NAMES[name] for name in given.only]
    return reported("pool", lambda folder: measure(folder, keys, quick=given.quick, keep=given.keep))


def measure(folder: Path, keys: Sequence[str], *, quick: bool, keep: bool) -> dict[str, object]:
    """Returns the results of the sections; `left_out` has the reasons of those that failed."""
    bed = Testbed.of_checkout(ROOT)
    keep = keep or bed.running()
    found: dict[str, object] = {"quick": quick}
    left_out: dict[str, str] = {}
    try:
        pool = site.prepared(ROOT, say)
        for key in keys:
            say(f"{key}:")
            try:
                found[key] = SECTIONS[key](pool, quick=quick)
            except (TestbedError, DemoError) as error:
                say(str(error))
                left_out[key] = str(error)
    except DemoError as error:
        raise TestbedError(str(error)) from error
    finally:
        if not keep:
            bed.down()
    return found | ({"left_out": left_out} if left_out else {})


if __name__ == "__main__":
    sys.exit(main())
