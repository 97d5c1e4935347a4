"""Measures the operator and its runtimes on a pool of nodes: `make bench-pool`.

Starts the testbed, or uses the running one, and installs the operator. Prints progress to stderr and one JSON
object as its last line. --only selects the sections; --quick counts few things for a short time: a check that
everything runs, not a measurement. --keep leaves a testbed running that the benchmark started. Needs root.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.pool import converge, density, idle, restart, site, steps, tails
from benchmarks.pool.sections import Section, measured
from benchmarks.runtime.commands import described, reported, say

ROOT = Path(__file__).resolve().parents[1]
# By the key of its result.
SECTIONS: dict[str, Section[site.Site]] = {
    "density": density.measure,
    "idle": idle.measure,
    "restart": restart.measure,
    "tail_mb": tails.measure,
    "converge": converge.measure,
    "steps": steps.measure,
}
# As they are named on the command line.
NAMES = {"tail" if key == "tail_mb" else key: key for key in SECTIONS}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the named sections, all by default."""
    parser = described("bench_pool", __doc__)
    parser.add_argument("--only", nargs="+", choices=list(NAMES), default=list(NAMES), metavar="SECTION")
    parser.add_argument("--keep", action="store_true", help="leave the testbed running")
    given = parser.parse_args(argv)
    sections = {NAMES[name]: SECTIONS[NAMES[name]] for name in given.only}

    def measure(_: Path) -> dict[str, object]:
        prepare = partial(site.prepared, ROOT, say)
        return measured(ROOT, prepare, sections, quick=given.quick, keep=given.keep)

    return reported("pool", measure)


if __name__ == "__main__":
    sys.exit(main())
