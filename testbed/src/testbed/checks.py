"""Runs the project's checks in sequence and reports their durations: the program behind `make test`."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed import pytest_reports

ROOT = Path(__file__).resolve().parents[3]
REPORT = ROOT / "build" / "test" / "times.json"
TESTS = REPORT.with_name("tests.xml")
"""What pytest reports of the check that ran last."""
SOURCES = (
    "api/src",
    "planning/src",
    "operator/src",
    "runtime/src",
    "cli/src",
    "console/src",
    "monitoring/src",
    "testbed/src",
    "tests",
    "examples",
    "benchmarks",
)
K3S_TESTS = ("tests/k3s",)
CLUSTER_TESTS = ("tests/testbed", *K3S_TESTS, "tests/e2e")
BROWSER_TESTS = ("tests/console",)
LOAD_TOOL_TESTS = ("tests/runtime/standalone",)
OPENVINO_TESTS = ("tests/runtime/inference",)
FAST = frozenset({"all", "fast"})
LINT = FAST | {"lint"}
E2E = frozenset({"all", "e2e"})
EXTENDED = frozenset({"e2e-extended"})
LIKE_K3S = frozenset({"e2e-k3s"})


@dataclass(frozen=True)
class Check:
    """One command that must exit with 0."""

    name: str
    argv: tuple[str, ...]
    groups: frozenset[str]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check; ``seconds`` is its time, ``code`` its exit status or a negative signal."""

    name: str
    passed: bool
    seconds: float
    code: int = 0
    failed_tests: tuple[pytest_reports.FailedTest, ...] = ()


def checks(python: str) -> tuple[Check, ...]:
    """Returns all checks, those that find errors fastest first."""
    binaries = Path(python).parent
    typed = tuple(source for source in SOURCES if any((ROOT / source).rglob("*.py")))
    folders = ("crds", "charts/edge-intelligence/files/crds")
    pages = ("--page", "docs/reasons.md", "--fields", "docs/fields.md")
    generate = ("-m", "edge_api.generate", "--check", *folders, *pages)
    report = f"--junitxml={TESTS}"
    fast = (
        "-m",
        "testbed.coverage",
        f"--jobs={os.cpu_count() or 1}",
        "-m",
        "not e2e and not load_tool and not openvino and not browser",
        "--durations=5",
        report,
    )
    monitoring = ("-m", "edge_monitoring.generate", "--check", "charts/edge-intelligence/files")
    load_tool = ("-m", "pytest", report, "-m", "load_tool", "--durations=5", *LOAD_TOOL_TESTS)
    openvino = ("-m", "pytest", report, "-m", "openvino", "--durations=5", *OPENVINO_TESTS)
    browser = ("-m", "pytest", report, "-m", "browser", "--durations=5", *BROWSER_TESTS)
    e2e = ("-m", "pytest", report, "-m", "e2e and not extended", "--durations=15", *CLUSTER_TESTS)
    extended = ("-m", "pytest", report, "-m", "extended", "--durations=15", *CLUSTER_TESTS)
    like_k3s = ("-m", "pytest", report, "-m", "extended", "--durations=15", *K3S_TESTS)
    return (
        Check("ruff check", (str(binaries / "ruff"), "check", "."), LINT),
        Check("ruff format", (str(binaries / "ruff"), "format", "--check", "."), LINT),
        Check("import contracts", (str(binaries / "lint-imports"),), LINT),
        Check("generated files", (python, *generate), LINT),
        Check("values of the chart", (python, "-m", "edge_chart.generate", "--check"), LINT),
        Check("command line's pages", (python, "-m", "edge_cli.reference", "--check", "docs"), LINT),
        Check("rules and dashboards", (python, *monitoring), LINT),
        Check("versions", (python, "-m", "testbed.versions", "--check"), LINT),
        Check("import graph", (python, "-m", "testbed.import_graph", "--check"), LINT),
        Check("prose", (python, "-m", "testbed.prose"), LINT),
        Check("documentation site", (python, "-m", "testbed.site"), LINT),
        Check("types", (python, "-m", "mypy", *typed), FAST | {"types"}),
        Check("programs of the tests", (python, "-m", "testbed.client_programs"), FAST),
        Check("unit, contract, chart tests and their coverage", (python, *fast), FAST),
        Check("Triton's load tool", (python, *load_tool), frozenset({"all"})),
        Check("OpenVINO's execution provider", (python, *openvino), frozenset({"all"})),
        Check("pages in Chromium", (python, *browser), frozenset({"all"})),
        # As a check of its own, since on an empty machine it takes minutes.
        Check(
            "cluster's programs and images", (python, "-m", "testbed.cli", "build"), E2E | EXTENDED | LIKE_K3S
        ),
        # The testbed tests' clusters are torn down before the shared one is booted.
        Check("end-to-end tests", (python, *e2e), E2E),
        Check("extended end-to-end tests", (python, *extended), EXTENDED),
        Check("the chart on a cluster like K3s", (python, *like_k3s), LIKE_K3S),
    )


def run(selected: Sequence[Check]) -> list[CheckResult]:
    """Runs every check, also after a failure, so that one run reports all errors."""
    outcomes = []
    for check in selected:
        print(f"\n=== {check.name}", flush=True)
        started = time.monotonic()
        TESTS.parent.mkdir(parents=True, exist_ok=True)
        TESTS.unlink(missing_ok=True)
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        code = subprocess.run(check.argv, cwd=ROOT, env=environment, check=False).returncode
        seconds = round(time.monotonic() - started, 1)
        failed = pytest_reports.failed_tests(TESTS) if code else []
        outcomes.append(CheckResult(check.name, code == 0, seconds, code, tuple(failed)))
    return outcomes


def summary(outcomes: Sequence[CheckResult]) -> str:
    """Returns the final table: one line per check, with its duration; then the tests that failed."""
    lines = ["", "durations:"]
    lines += [f"  {'ok    ' if o.passed else 'FAILED'} {o.seconds:8.1f} s  {o.name}" for o in outcomes]
    lines += [f"  {o.name} ended with exit status {o.code}" for o in outcomes if o.code not in (0, 1)]
    lines += [f"         {sum(o.seconds for o in outcomes):8.1f} s  total"]
    for outcome in outcomes:
        if outcome.failed_tests:
            lines += [f"{len(outcome.failed_tests)} failed in {outcome.name}:"]
            lines += pytest_reports.lines(list(outcome.failed_tests))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the named group; exits with 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="testbed.checks", description=__doc__)
    parser.add_argument("group", choices=["all", "fast", "lint", "types", "e2e", "e2e-extended", "e2e-k3s"])
    arguments = parser.parse_args(argv)
    outcomes = run([check for check in checks(sys.executable) if arguments.group in check.groups])
    print(summary(outcomes), flush=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(
        json.dumps({"group": arguments.group, "checks": [asdict(o) for o in outcomes]}, indent=2)
    )
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
