"""The tests that failed, as `make test` lists them at its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import checks
from testbed.pytest_reports import FailedTest, failed_tests, lines

TESTS = """
import pytest

@pytest.fixture
def broken():
    raise ValueError("no cluster")

def test_passes():
    pass

def test_fails():
    assert 1 == 2, "first line\\nsecond line"

def test_errs(broken):
    pass
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report that pytest itself has written."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    path = tmp_path / "tests.xml"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={path}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    return path


def test_failures_and_errors_are_listed_with_the_first_line_of_their_message(report: Path) -> None:
    failed = failed_tests(report)
    assert [test.name for test in failed] == ["test_some::test_fails", "test_some::test_errs"]
    assert "first line" in failed[0].message
    assert "second line" not in failed[0].message
    assert "no cluster" in failed[1].message


def test_a_run_that_ended_before_its_report_lists_nothing(tmp_path: Path) -> None:
    assert failed_tests(tmp_path / "tests.xml") == []


def test_a_long_list_ends_with_how_many_are_left_out() -> None:
    failed = [FailedTest(f"test_{index}", "no") for index in range(5)]
    assert list(lines(failed, most=3)) == ["  test_0: no", "  test_1: no", "  test_2: no", "  and 2 more"]


def test_the_summary_ends_with_the_failed_tests() -> None:
    failed = checks.CheckResult("end-to-end tests", False, 2.0, 1, (FailedTest("test_cut", "lost"),))
    shown = checks.summary([checks.CheckResult("types", True, 1.0), failed]).splitlines()
    assert shown[-2:] == ["1 failed in end-to-end tests:", "  test_cut: lost"]


def test_the_summary_shows_an_exit_status_that_is_not_of_failed_tests() -> None:
    assert "types ended with exit status -9" in checks.summary([checks.CheckResult("types", False, 1.0, -9)])
