"""Measures the operator on many services: `make bench-operator`.

Runs the operator as it is deployed against a real API server, first with etcd, then with kine on SQLite. kwok
plays the nodes and reports the status of Deployments and Placements. --services sets the numbers of services,
--datastores selects a datastore, --only the phases after the operator's start. --quick uses 100 services on
40 nodes for a short time: it checks that everything runs, and measures nothing. --keep-logs copies the logs
to a folder. Prints progress to stderr and one JSON object as its last line.
"""

import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from benchmarks.operator.control_plane import Datastore, control_plane, found_programs
from benchmarks.operator.fleet import Scale, small
from benchmarks.operator.measuring import PHASES, QUICK, Run, Times
from benchmarks.runtime.commands import described, reported, say

ROOT = Path(__file__).resolve().parents[1]
CRDS = ROOT / "crds"
QUICK_SERVICES = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the named datastores, both by default, with each number of services."""
    parser = described("bench_operator", __doc__)
    parser.add_argument("--services", nargs="+", type=int, metavar="COUNT", help="default: 1000 10000")
    stores = get_args(Datastore)
    parser.add_argument("--datastores", nargs="+", choices=stores, default=list(stores))
    parser.add_argument("--only", nargs="+", choices=PHASES, default=list(PHASES), metavar="PHASE")
    parser.add_argument("--keep-logs", type=Path, metavar="FOLDER", help="folder for the logs")
    given = parser.parse_args(argv)
    counts = given.services or ([QUICK_SERVICES] if given.quick else [1000, 10000])
    # On SQLite, 10,000 services take an hour.
    on_kine = counts if given.services or given.quick else counts[:1]

    def measure(folder: Path) -> dict[str, object]:
        programs = found_programs(ROOT / ".cache" / "bin", say, given.datastores)
        found: dict[str, object] = {"quick": given.quick}
        for datastore in given.datastores:
            runs: dict[str, object] = {}
            for count in counts if datastore == "etcd" else on_kine:
                here = folder / f"{datastore}-{count}"
                scale = small(count) if given.quick else Scale(count)
                say(f"{count} services on {datastore}:")
                try:
                    with control_plane(here, programs, datastore, CRDS, say) as plane:
                        run = Run(plane, scale, QUICK if given.quick else Times(), say)
                        runs[f"{count}"] = run.measured(given.only)
                        if "kopf" in given.only and "kopf_per_s" not in found:
                            found["kopf_per_s"] = round(run.kopf_per_s())
                finally:
                    if given.keep_logs is not None:
                        given.keep_logs.mkdir(parents=True, exist_ok=True)
                        for log in here.glob("*.log"):
                            shutil.copy(log, given.keep_logs / log.name)
                shutil.rmtree(here)
            found["runs" if datastore == "etcd" else "kine"] = runs
        return found

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return reported("operator", measure)


if __name__ == "__main__":
    sys.exit(main())
