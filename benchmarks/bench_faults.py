"""Plants faults in a running cluster and checks its invariants: `make faults`.

Starts the testbed, or uses the running one, and installs the operator with the example. Each run is appended
to build/faults.jsonl, and a later call adds the runs that are missing; delete the file to start again. Only
runs of the same sources of the product count. Prints progress to stderr and one JSON object as its last line,
with a row for each fault. --runs is how many runs each fault is to have. --rows names the faults; without
names, it lists all of them with what happens. --keep leaves a testbed running that the benchmark started.
Needs root. Exits with 1 if an invariant did not hold, or a fault could not be planted.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experience.serving import prepared as example_served
from benchmarks.faults import outcomes, runs
from benchmarks.faults.ground import Ground
from benchmarks.faults.outcomes import Run
from benchmarks.faults.planted import FAULTS, listed
from benchmarks.runtime.commands import described, reported, say
from demo import installation
from demo.errors import DemoError
from demo.services import slo_seconds
from testbed import Testbed
from testbed.errors import TestbedError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "api", "planning", "operator", "runtime", "charts", "examples", "testbed", "Dockerfile", "requirements",
)  # fmt: skip
"""What runs on the cluster."""
RECORDED = ROOT / "build" / "faults.jsonl"


def prepared(root: Path) -> Ground:
    """Returns the example, Ready, on the testbed, which is started unless it runs."""
    serving = example_served(root, say)
    slo = slo_seconds(installation.service(serving.cluster))
    return Ground(root, serving.model.onnx, serving.model.held_out, slo, say)


def commit(root: Path) -> str:
    """Returns the last commit that changed what runs on the cluster, with `+` if files differ from it.

    Empty outside of a repository. A change of the faults themselves does not count.
    """

    def git(*argv: str) -> str:
        done = subprocess.run(
            ["git", *argv, "--", *SOURCES], cwd=root, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    return git("log", "-1", "--format=%H")[:12] + ("+" if git("status", "--porcelain") else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the named faults, all by default."""
    parser = described("bench_faults", __doc__)
    parser.add_argument(
        "--rows", nargs="*", default=list(FAULTS), metavar="FAULT", help="names; none: list all of them"
    )
    parser.add_argument("--runs", type=int, default=1, help="that each fault is to have (default: 1)")
    parser.add_argument("--keep", action="store_true", help="leave the testbed running")
    given = parser.parse_args(argv)
    unknown = [name for name in given.rows if name not in FAULTS]
    if unknown:
        parser.error(f"--rows: {', '.join(map(repr, unknown))} is unknown: use one of these:\n{listed()}")
    if not given.rows:
        print(listed())
        return 0
    found: dict[str, Any] = {}

    def work(_: Path) -> dict[str, object]:
        found.update(_measured(given.rows, 1 if given.quick else given.runs, keep=given.keep))
        return found

    return reported("faults", work) or int(not _held(found))


def _held(found: Mapping[str, Any]) -> bool:
    """Whether every fault could be planted, and all invariants held."""
    return not found["unplanted"] and all(row["held"] for row in found["rows"])


def _measured(names: Sequence[str], wanted: int, *, keep: bool) -> dict[str, object]:
    """Returns the rows, and why faults could not be planted, by name."""
    now = commit(ROOT)
    todo = outcomes.missing(_recorded(), now, names, wanted)
    unplanted = _planted(todo, now, keep=keep) if todo else {}
    found = outcomes.rows([run for run in _recorded() if run.commit == now and run.fault in names])
    return {"rows": found, "unplanted": unplanted}


def _planted(todo: Sequence[str], now: str, *, keep: bool) -> dict[str, str]:
    """Plants faults and records the runs. Returns why some could not be planted, by name."""
    bed = Testbed.of_checkout(ROOT)
    keep = keep or bed.running()
    unplanted: dict[str, str] = {}
    try:
        ground = prepared(ROOT)
        for number, name in enumerate(todo, 1):
            say(f"{name} ({number} of {len(todo)}) ...")
            try:
                _append(runs.run(ground, name, FAULTS[name], now))
            except (DemoError, TestbedError) as error:
                unplanted[name] = str(error)
                say(f"{name}: not planted: {error}")
    except DemoError as error:
        raise TestbedError(str(error)) from error
    finally:
        if not keep:
            bed.down()
    return unplanted


def _append(run: Run) -> None:
    RECORDED.parent.mkdir(parents=True, exist_ok=True)
    with RECORDED.open("a") as file:
        file.write(run.line() + "\n")
    shown = "held" if run.held else f"broken: {'; '.join(run.broken)}"
    counts = json.dumps({name: getattr(run, name) for name in ("requests", "failed", "away", "late")})
    say(f"{run.fault}: {shown}; {counts}; converged in {run.converged_s} s")


def _recorded() -> list[Run]:
    if not RECORDED.exists():
        return []
    try:
        return outcomes.read(RECORDED.read_text().splitlines())
    except ValueError as error:
        raise TestbedError(f"{RECORDED}: {error}: mend or delete it") from error


if __name__ == "__main__":
    sys.exit(main())
