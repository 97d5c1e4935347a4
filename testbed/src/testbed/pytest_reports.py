"""Reads the reports that pytest writes in JUnit's XML format."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 160
"""Characters of a message that are shown."""


@dataclass(frozen=True, slots=True)
class FailedTest:
    """A test that failed, or whose fixtures did, with the first line of its message."""

    name: str
    message: str


def failed_tests(report: Path) -> list[FailedTest]:
    """Returns the failed tests in the order in which they ran; none if pytest ended before its report."""
    if not report.exists():
        return []
    return [
        FailedTest(f"{case.get('classname', '')}::{case.get('name', '')}", _first_line(problem))
        for case in ElementTree.parse(report).iter("testcase")  # noqa: S314 (our own file)
        for problem in case
        if problem.tag in ("failure", "error")
    ]


def lines(failed: list[FailedTest], most: int = 10) -> Iterator[str]:
    """Yields a line per failed test, `most` at most, and how many are left out."""
    for test in failed[:most]:
        yield f"  {test.name}: {test.message}"
    if len(failed) > most:
        yield f"  and {len(failed) - most} more"


def _first_line(problem: ElementTree.Element) -> str:
    text = (problem.get("message") or problem.text or "no message").strip()
    return text.splitlines()[0][:_LONGEST]
