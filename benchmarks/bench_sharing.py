"""Measures how tenants share a node of the testbed: `make bench-sharing`.

Starts the testbed, or uses the running one, and installs the operator. Prints progress to stderr and one JSON
object as its last line. --only selects the sections; --quick sends requests for a short time: a check that
everything runs, not a measurement. --keep leaves a testbed running that the benchmark started. Needs root.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.pool import site
from benchmarks.runtime.commands import described, reported, say
from benchmarks.sharing import isolation, lending, overload
from demo.errors import DemoError
from testbed import Testbed
from testbed.errors import TestbedError

ROOT = Path(__file__).resolve().parents[1]
# By the key of its result.
SECTIONS: dict[str, Callable[..., dict[str, object]]] = {
    "overload": overload.measure,
    "isolation": isolation.measure,
    "lending": lending.measure,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the named sections, all by default."""
    parser = described("bench_sharing", __doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION"
    )
    parser.add_argument("--keep", action="store_true", help="leave the testbed running")
    given = parser.parse_args(argv)
    return reported("sharing", lambda _: measure(given.only, quick=given.quick, keep=given.keep))


def measure(keys: Sequence[str], *, quick: bool, keep: bool) -> dict[str, object]:
    """Returns the results of the sections; `left_out` has the reasons of those that failed."""
    bed = Testbed.of_checkout(ROOT)
    keep = keep or bed.running()
    found: dict[str, object] = {"quick": quick}
    left_out: dict[str, str] = {}
    try:
        shared, model = site.installed(ROOT, say)
        for key in keys:
            say(f"{key}:")
            try:
                found[key] = SECTIONS[key](shared, model, quick=quick)
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
