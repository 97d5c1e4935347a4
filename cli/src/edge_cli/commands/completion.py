"""`ei completion`."""

from typing import Annotated

import typer

from edge_cli.errors import CommandError, ExitStatus
from edge_cli.output import write

SHELLS = ("bash", "zsh", "fish", "powershell")


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help=f"One of {', '.join(SHELLS)}.")],
) -> None:
    """Prints a script for shell completion of commands and flags: `source <(ei completion bash)`."""
    if shell not in SHELLS:
        raise CommandError(
            f'shell: "{shell}" is not supported: use one of {", ".join(SHELLS)}', ExitStatus.USAGE
        )
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    write(get_completion_script(prog_name="ei", complete_var="_EI_COMPLETE", shell=shell))
