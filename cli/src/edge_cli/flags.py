"""The arguments and flags that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_api.quantities import parse_duration, parse_quantity
from edge_cli.output import Format

Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAMESPACE", help="Namespace. Default: that of the kubeconfig's context."
    ),
]
AllNamespaces = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="Show those of all namespaces.", show_default=False)
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="NAME", help="Context of the kubeconfig. Default: its current one."),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", metavar="FILE", help="Path of the kubeconfig. Default: $KUBECONFIG, ~/.kube/config."
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="Format: text, json or yaml.")]
Service = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Name of the InferenceService.", show_default=False)
]
At = Annotated[
    list[str] | None, typer.Option("--at", metavar="NODE", help="Only this entry node; can be repeated.")
]
Files = Annotated[
    list[Path],
    typer.Option("--filename", "-f", metavar="FILE", help="YAML file with manifests; - for standard input."),
]


def _duration(text: str | float) -> float:
    try:
        return parse_duration(text) if isinstance(text, str) else text  # typer also parses defaults
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _quantity(text: str | int) -> int:
    try:
        return parse_quantity(text) if isinstance(text, str) else text
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def duration(*names: str, help: str, default_text: str | None = None) -> Any:  # noqa: A002, ANN401 - typer's
    """Returns a flag with a duration such as 50ms; its value is in seconds."""
    shown: Any = default_text if default_text is not None else False
    return typer.Option(*names, metavar="DURATION", parser=_duration, help=help, show_default=shown)


def quantity(*names: str, help: str) -> Any:  # noqa: A002, ANN401 - typer's
    """Returns a flag with a quantity such as 1M; its value is a number."""
    return typer.Option(*names, metavar="QUANTITY", parser=_quantity, help=help, show_default=False)
