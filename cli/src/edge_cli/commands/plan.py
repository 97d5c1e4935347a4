"""`ei plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edge_cli import connections
from edge_cli.errors import ExitStatus
from edge_cli.flags import Context, Files, Kubeconfig, Namespace, Output
from edge_cli.manifest_files import planned_manifests
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_operator.explaining.values import PlannedTable, Preview


def plan(
    files: Files,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list entry nodes whose plan stays as it is.")
    ] = False,
    fail_on_worse: Annotated[
        bool, typer.Option("--fail-on-worse", help="Exit with 1 if a service gets less than before.")
    ] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows what would change, and for whom, if manifests were applied: a dry run of the plan.

    Services, pools and tenants are planned with the manifests in place of what the cluster has. Objects of
    other APIs in the files are skipped. Nothing is changed.
    """
    from edge_operator.explaining.previews import preview

    manifests = planned_manifests(files)
    here = connections.connect(namespace, context, kubeconfig)
    found = preview(here.cluster, manifests, here.namespace, here.operator(), here.now())
    show(found, output, lambda: text(found, everything=everything))
    if fail_on_worse and any(each.change in ("Worse", "Removed") for each in found.entries):
        raise typer.Exit(ExitStatus.PROBLEM)


def text(found: Preview, *, everything: bool = False) -> str:
    """Returns the objects, and the entry nodes whose plan changes."""
    lines = [
        f"{each.change.lower()} {each.kind} {f'{each.namespace}/' if each.namespace else ''}{each.name}"
        for each in found.objects
    ]
    lines += [f"{each.namespace}/{each.service}: not planned: {each.message}" for each in found.waiting]
    rows = [
        (
            f"{each.namespace}/{each.service}",
            each.node,
            each.change,
            *_cells(each.before),
            *_cells(each.after),
        )
        for each in found.entries
        if everything or each.change != "Unchanged"
    ]
    if rows:
        head = ("SERVICE", "NODE", "CHANGE", "ROUTES", "MEETS SLO", "ROUTES THEN", "MEETS SLO THEN")
        lines += ["", table(head, rows)]
    same = sum(each.change == "Unchanged" for each in found.entries)
    lines += ["", f"{len(found.entries) - same} entry nodes of services change, {same} do not"]
    for each in found.entries:
        if each.after is not None and each.after.shortage and each.change != "Unchanged":
            lines.append(f"{each.namespace}/{each.service} at {each.node}: {each.after.shortage}")
    lines += [
        f"Tenant {each.tenant} in pool {each.pool}: {each.before or '0%'} of it, then {each.after or '0%'}"
        for each in found.tenants
    ]
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join(lines)


def _cells(planned: PlannedTable | None) -> tuple[str, str]:
    if planned is None:
        return "", ""
    return ", ".join(planned.names) or "none", "yes" if planned.meets_slo else "no"
