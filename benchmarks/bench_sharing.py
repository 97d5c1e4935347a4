"""Measures how tenants share a node of the testbed: `make bench-sharing`.

Starts the testbed, or uses the running one, and installs the operator. Prints progress to stderr and one JSON
object as its last line. --only selects the sections; --quick sends requests for a short time: a check that
everything runs, not a measurement. --keep leaves a testbed running that the benchmark started. Needs root.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.pool import site
from benchmarks.pool.sections import Section, measured
from benchmarks.runtime.commands import described, reported, say
from benchmarks.sharing import fairness, isolation, overload

ROOT = Path(__file__).resolve().parents[1]
# By the key of its result.
SECTIONS: dict[str, Section[tuple[site.Site, Path]]] = {
    "overload": overload.measure,
    "isolation": isolation.measure,
    "fairness": fairness.measure,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the named sections, all by default."""
    parser = described("bench_sharing", __doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION"
    )
    parser.add_argument("--keep", action="store_true", help="leave the testbed running")
    given = parser.parse_args(argv)
    sections = {name: SECTIONS[name] for name in given.only}

    def measure(_: Path) -> dict[str, object]:
        prepare = partial(site.installed, ROOT, say)
        return measured(ROOT, prepare, sections, quick=given.quick, keep=given.keep)

    return reported("sharing", measure)


if __name__ == "__main__":
    sys.exit(main())
