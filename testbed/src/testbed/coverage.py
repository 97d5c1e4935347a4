"""Runs tests with slipcover and fails if they cover a smaller share of lines than the floor.

The floor is `fail-under` of [tool.slipcover] in pyproject.toml. Only lines that run in the processes of
the tests are counted. Arguments that are not listed below are passed to pytest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
REPORT: Final = Path("build/coverage/lines.json")
WORST: Final = 10
_VARIABLES: Final = ("SLIPCOVER_", "PYTEST_XDIST_")
# pytest expects to rewrite the assertions of its plugins, and slipcover, which has one, starts before pytest.
_EXPECTED: Final = (
    "ignore:Module already imported so cannot be rewritten; slipcover:pytest.PytestAssertRewriteWarning"
)


@dataclass(frozen=True, slots=True)
class Module:
    """The lines of a module that tests run, and those that none runs."""

    path: str
    covered: int
    missing: tuple[int, ...]

    @property
    def lines(self) -> int:
        return self.covered + len(self.missing)


def percent(modules: Sequence[Module]) -> float:
    """The share of all lines that tests run; 100 if there are no lines."""
    lines = sum(module.lines for module in modules)
    return 100 * sum(module.covered for module in modules) / lines if lines else 100.0


def table(modules: Sequence[Module], ranges: int | None = None) -> Iterator[str]:
    """One line per module, and a second one with the numbers of the lines that no test runs.

    ranges: how many ranges of numbers to name; by default all.
    """
    for module in modules:
        share, missing = percent([module]), len(module.missing)
        yield f"  {share:5.1f} %  {missing:4} of {module.lines:4}  {module.path}"
        if missing:
            named = _ranges(module.missing)
            more = ", ..." if ranges is not None and len(named) > ranges else ""
            yield f"           lines {', '.join(named[:ranges])}{more}"


def verdict(modules: Sequence[Module], floor: float) -> tuple[bool, str]:
    """Whether the share reaches the floor, and a message, which names the worst modules below it."""
    share = percent(modules)
    if share >= floor:
        return True, f"coverage: {share:.2f} % of lines, the floor is {floor:g} %"
    worst = sorted(modules, key=lambda module: -len(module.missing))[:WORST]
    lines = "\n".join(table([module for module in worst if module.missing], ranges=8))
    return False, (
        f"coverage: {share:.2f} % of lines, below the floor of {floor:g} % (fail-under in [tool.slipcover], "
        f"pyproject.toml)\nThe modules with the most lines that no test runs:\n{lines}\n"
        "Add tests that run these lines, or delete code that nothing uses. `make coverage` lists them all. "
        "Lines that run only in child processes do not count: test them in the process of the tests."
    )


def _ranges(numbers: Sequence[int]) -> list[str]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


def _measure(root: Path, jobs: int, arguments: Sequence[str]) -> int:
    """Runs pytest, which writes the report, and returns its exit code."""
    report = root / REPORT
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    # slipcover's own comparison with the floor prints nothing.
    slipcover = (sys.executable, "-m", "slipcover", "--fail-under", "0", "--out", str(report))
    # The tests of a file stay in one process, as they share its fixtures.
    parallel = ("-n", str(jobs), "--dist", "loadfile") if jobs > 1 else ()
    # A measurement around this one, as of this module's own tests, has set variables for its processes.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}
    return subprocess.run(
        [*slipcover, "-m", "pytest", "-W", _EXPECTED, *parallel, *arguments],
        cwd=root,
        env=inherited,
        check=False,
    ).returncode


def _read(report: Path) -> list[Module]:
    files = json.loads(report.read_text())["files"]
    found = (
        Module(path, len(lines["executed_lines"]), tuple(lines["missing_lines"]))
        for path, lines in files.items()
    )
    return sorted((module for module in found if module.lines), key=lambda module: module.path)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Returns 1 below the floor, and pytest's exit code if tests fail."""
    parser = argparse.ArgumentParser(
        prog="python -m testbed.coverage", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--modules", action="store_true", help="print the figures of every module")
    parser.add_argument("--no-floor", action="store_true", help="accept any share, as of a part of the tests")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run tests (default: 1)")
    options, pytest = parser.parse_known_args(arguments)
    if code := _measure(root, options.jobs, pytest):
        print("coverage: not checked, since tests failed", file=sys.stderr)
        return code
    modules = _read(root / REPORT)
    floor = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["slipcover"]["fail-under"]
    if options.modules:
        print(*table(modules), sep="\n")
    reached, message = verdict(modules, 0 if options.no_floor else floor)
    print(message, file=sys.stdout if reached else sys.stderr)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
