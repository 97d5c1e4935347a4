"""A check, what it finds, and the report of all checks. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edge_api.objects import Part
from edge_cli.doctor.states import ClusterState, title
from edge_operator.cluster import Kind, Object
from edge_operator.names import GROUP

Severity = Literal["error", "warning", "info"]
Result = Literal["passed", "error", "warning", "info", "skipped"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error")
"""From the mildest."""
SUPPRESS: Final = f"{GROUP}/doctor-suppress"
"""Annotation of an object with the codes, separated by commas, that are not reported of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is wrong.

    Attributes:
        message: One sentence: the object or field, the value and the problem.
        fix: What to do; empty: what the check says.
        regarding: The object, whose annotation can suppress it.
    """

    message: str
    fix: str = ""
    regarding: Object | None = None


def at(body: Object, said: str, fix: str = "") -> Found:
    """Returns a finding about an object."""
    return Found(f"{title(body)}: {said}", fix, body)


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is looked for.

    Attributes:
        code: EI and four digits; never used for anything else later.
        holds: What is true if nothing is found, as a sentence without a period.
        why: What goes wrong otherwise.
        fix: What to do.
        reads: The kinds without which it is skipped.
        find: Yields what is wrong.
        before: Whether it also makes sense before the chart is installed.
        skip: Why it cannot be decided from a state; empty if it can.
    """

    code: str
    category: str
    severity: Severity
    holds: str
    why: str
    fix: str
    find: Callable[[ClusterState], Iterable[Found]]
    reads: tuple[Kind, ...] = ()
    before: bool = False
    skip: Callable[[ClusterState], str] = lambda state: ""


class Finding(Part):
    """A problem, and what to do."""

    message: str
    fix: str


class CheckReport(Part):
    """The result of a check. skipped: why it was not decided. page: of the documentation, and heading."""

    code: str
    category: str
    holds: str
    result: Result
    skipped: str = ""
    page: str
    findings: tuple[Finding, ...] = ()


class Report(Part):
    """The results of all checks. passed, errors, warnings, skipped: numbers of checks."""

    healthy: bool
    passed: int
    errors: int
    warnings: int
    skipped: int
    checks: tuple[CheckReport, ...]


def examined(
    state: ClusterState,
    checks: Sequence[Check],
    suppressed: Collection[str] = (),
    fail_on: Severity = "error",
) -> Report:
    """Returns the report. suppressed: codes that are not checked. fail_on: from which severity it is bad."""
    found = tuple(_examined(state, check) for check in checks if check.code not in suppressed)
    bad = SEVERITIES[SEVERITIES.index(fail_on) :]

    def count(result: Result) -> int:
        return sum(each.result == result for each in found)

    return Report(
        healthy=not any(each.result in bad for each in found),
        passed=count("passed"),
        errors=count("error"),
        warnings=count("warning"),
        skipped=count("skipped"),
        checks=found,
    )


def _examined(state: ClusterState, check: Check) -> CheckReport:
    skipped = _skipped(state, check)
    findings = () if skipped else tuple(_findings(state, check))
    result: Result = "skipped" if skipped else check.severity if findings else "passed"
    return CheckReport(
        code=check.code,
        category=check.category,
        holds=check.holds,
        result=result,
        skipped=skipped,
        page=f"docs/doctor.md#{check.code.lower()}",
        findings=findings,
    )


def _skipped(state: ClusterState, check: Check) -> str:
    if state.unreachable and check.code != FIRST:
        return "the API server does not respond"
    hidden = [kind for kind in check.reads if kind.kind in state.hidden]
    if hidden:
        return f"this account cannot list {', '.join(kind.plural for kind in hidden)}"
    return check.skip(state)


def _findings(state: ClusterState, check: Check) -> Iterator[Finding]:
    for each in check.find(state):
        if not _suppressed(each.regarding, check.code):
            yield Finding(message=each.message, fix=each.fix or check.fix)


def _suppressed(body: Object | None, code: str) -> bool:
    annotations = {} if body is None else body["metadata"].get("annotations") or {}
    return code in [part.strip() for part in annotations.get(SUPPRESS, "").split(",")]


FIRST: Final = "EI0101"
"""The check that the API server responds, without which there is nothing else to check."""
