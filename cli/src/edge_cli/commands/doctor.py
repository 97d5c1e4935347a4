"""`ei doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from edge_cli import connections
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.flags import Context, Kubeconfig, Namespace, Output
from edge_cli.output import Format, show

if TYPE_CHECKING:
    from edge_cli.doctor.findings import Check, CheckReport, Report

_MARKS: Final = {"passed": "√", "error": "×", "warning": "‼", "info": "i", "skipped": "-"}


def doctor(
    *,
    before: Annotated[
        bool, typer.Option("--pre", help="Only what must hold before the chart is installed.")
    ] = False,
    short: Annotated[bool, typer.Option("--short", help="Only what is wrong.")] = False,
    categories: Annotated[
        list[str] | None, typer.Option("--category", help="Only this category; can be repeated.")
    ] = None,
    suppress: Annotated[
        list[str] | None,
        typer.Option("--suppress", metavar="CODE", help="Leave out a check; can be repeated."),
    ] = None,
    fail_on: Annotated[
        str, typer.Option("--fail-on", metavar="SEVERITY", help="Exit with 1 from error, warning or info.")
    ] = "error",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Looks for faults of the cluster, the installation, Triton, pools, services and monitoring.

    Each finding has a code, what to do, and a heading in docs/doctor.md. Nothing is changed. The annotation
    `edge-intelligence.io/doctor-suppress` of an object names codes that are not reported of it.
    """
    from edge_cli.doctor.findings import SEVERITIES, examined
    from edge_cli.doctor.gathering import gathered

    severity = next((each for each in SEVERITIES if each == fail_on), None)
    if severity is None:
        raise CommandError(
            f'--fail-on: "{fail_on}" is not a severity: use one of {", ".join(SEVERITIES)}', ExitStatus.USAGE
        )
    checks = _chosen(categories or (), suppress or (), before=before)
    here = connections.connect(namespace, context, kubeconfig)
    found = examined(gathered(here, before=before), checks, (), severity)
    show(found, output, lambda: text(found, short=short))
    if not found.healthy:
        raise typer.Exit(ExitStatus.PROBLEM)


def _chosen(
    categories: list[str] | tuple[str, ...], suppressed: list[str] | tuple[str, ...], *, before: bool
) -> list[Check]:
    from edge_cli.doctor.registry import CATEGORIES, CHECKS

    for each in categories:
        if each not in CATEGORIES:
            raise CommandError(
                f'--category: "{each}" does not exist: use one of {", ".join(CATEGORIES)}', ExitStatus.USAGE
            )
    codes = {check.code for check in CHECKS}
    for each in suppressed:
        if each not in codes:
            raise CommandError(
                f'--suppress: "{each}" is not the code of a check: see docs/doctor.md', ExitStatus.USAGE
            )
    return [
        check
        for check in CHECKS
        if (not categories or check.category in categories)
        and check.code not in suppressed
        and (check.before or not before)
    ]


def text(found: Report, *, short: bool = False) -> str:
    """Returns a line for each check by category, then what is wrong and what to do."""
    lines: list[str] = []
    for category in dict.fromkeys(check.category for check in found.checks):
        shown = [check for check in found.checks if check.category == category]
        if short:
            shown = [check for check in shown if check.result in ("error", "warning")]
        if shown:
            lines += [category, *(line for check in shown for line in _lines(check)), ""]
    counted = (
        f"{found.passed} passed, {found.errors} errors, {found.warnings} warnings, {found.skipped} skipped"
    )
    return "\n".join([*lines, counted])


def _lines(check: CheckReport) -> list[str]:
    lines = [f"  {_MARKS[check.result]} {check.code} {check.holds}"]
    if check.skipped:
        lines[0] += f" (skipped: {check.skipped})"
    for finding in check.findings:
        lines += [f"      {finding.message}", f"        fix: {finding.fix}"]
    return [*lines, f"        see {check.page}"] if check.findings else lines
