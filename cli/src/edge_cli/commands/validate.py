"""`ei validate`."""

from pathlib import Path
from typing import Annotated

import typer

from edge_cli.errors import ExitStatus
from edge_cli.flags import Output
from edge_cli.manifest_files import problems_in
from edge_cli.output import Format, show


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files.", show_default=False)],
    *,
    output: Output = Format.TEXT,
) -> None:
    """Checks manifests without a cluster, by the rules of the CRDs; exits with 1 if there is a problem.

    Objects of other APIs are skipped.
    """
    found = [problem for path in files for problem in problems_in(path)]
    if found or output is not Format.TEXT:
        show({"problems": found}, output, lambda: "\n".join(found))
    if found:
        raise typer.Exit(ExitStatus.PROBLEM)
