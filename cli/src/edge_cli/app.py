"""The commands of `ei`, and how errors end them.

Each command imports what it needs when it runs: the plan of a pool, the Kubernetes client and ONNX Runtime
together take more than a second.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Final

import typer

from edge_cli.commands import (
    bench,
    completion,
    convert,
    dashboards,
    doctor,
    explain,
    infer,
    init,
    plan,
    profile,
    rollout,
    routes,
    simulate,
    status,
    store,
    tenants,
    top,
    validate,
    wait,
    what_if,
)
from edge_cli.errors import CommandError, ExitStatus

COMPLETE: Final = "_EI_COMPLETE"
"""Variable by which the scripts of `ei completion` request what can follow."""
UNDERSTAND, CHECK, USE, RESEARCH = "Understand", "Check", "Use", "Measure and simulate"
COMMANDS: Final[tuple[tuple[str, str, Callable[..., None]], ...]] = (
    ("status", UNDERSTAND, status.status),
    ("explain", UNDERSTAND, explain.explain),
    ("what-if", UNDERSTAND, what_if.what_if),
    ("routes", UNDERSTAND, routes.routes),
    ("tenants", UNDERSTAND, tenants.tenants),
    ("top", UNDERSTAND, top.top),
    ("doctor", CHECK, doctor.doctor),
    ("validate", CHECK, validate.validate),
    ("plan", CHECK, plan.plan),
    ("wait", CHECK, wait.wait),
    ("init", USE, init.init),
    ("put", USE, store.put),
    ("ls", USE, store.ls),
    ("infer", USE, infer.infer),
    ("rollout", USE, rollout.rollout),
    ("convert", USE, convert.convert),
    ("dashboards", USE, dashboards.dashboards),
    ("completion", USE, completion.completion),
    ("bench", RESEARCH, bench.bench),
    ("profile", RESEARCH, profile.profile),
    ("simulate", RESEARCH, simulate.simulate),
)
"""Name, panel of the help page and function of each command."""


def application() -> typer.Typer:
    """Returns the command line."""
    found = typer.Typer(
        name="ei",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    found.callback()(_root)
    for name, panel, function in COMMANDS:
        found.command(name, rich_help_panel=panel)(function)
    return found


def _version(*, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ei {version('edge-cli')}\n")
        raise typer.Exit


def _root(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _version(wanted=value),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Explains, checks and uses the services of an edge-intelligence cluster."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if COMPLETE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        found = application()(args=given, prog_name=_program(), standalone_mode=False)
        return int(found) if isinstance(found, int) else ExitStatus.OK
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.NO_READER
    except Exception as error:
        status = _status(error)
        if status is None:
            raise
        return status


def _program() -> str:
    return "kubectl ei" if os.path.basename(sys.argv[0]).startswith("kubectl") else "ei"  # noqa: PTH119


def _status(error: Exception) -> ExitStatus | None:
    """Writes the sentence of an error and returns its exit status; None for a mistake of this program."""
    from edge_operator.errors import ApiUnreachableError, OperatorError, PermissionDeniedError
    from edge_runtime.errors import EdgeError, Unreachable

    if isinstance(error, CommandError):
        status = error.status
    elif isinstance(error, PermissionDeniedError):
        status = ExitStatus.DENIED
    elif isinstance(error, ApiUnreachableError | Unreachable):
        status = ExitStatus.UNREACHABLE
    elif isinstance(error, OperatorError | EdgeError):
        status = ExitStatus.PROBLEM
    else:
        return _usage(error)
    sys.stderr.write(f"ei: {error}\n")
    return status


def _usage(error: Exception) -> ExitStatus | None:
    """Lets typer show its own errors, such as an unknown flag."""
    show = getattr(error, "show", None)
    if show is None or not hasattr(error, "exit_code"):
        return None
    show()
    return ExitStatus.USAGE


if __name__ == "__main__":
    sys.exit(main())
