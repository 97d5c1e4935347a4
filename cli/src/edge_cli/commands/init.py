"""`ei init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_api.quantities import parse_duration
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.flags import duration
from edge_cli.output import note, write


def init(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model.", show_default=False)],
    *,
    latency: Annotated[
        float | None,
        duration("--latency", help="Latency of the SLO, such as 100ms. Default: is prompted for."),
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", help="Name of the DevicePool. Default: is prompted for.")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option("--min-accuracy", help="Minimum accuracy from 0 to 1. Default: any.", min=0, max=1),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the service. Default: from the file's name.")
    ] = None,
    storage_uri: Annotated[
        str | None,
        typer.Option(
            "--storage-uri", metavar="URI", help="Address of the model. Default: store://, as `ei put`."
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace to write into the manifest.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--filename", "-f", metavar="FILE", help="Write there, not to stdout.")
    ] = None,
) -> None:
    """Writes the manifest of a service from an ONNX file and three values, which it prompts for."""
    from edge_cli.manifests import Wishes, manifest, manifest_text, model_file, service_name

    found = model_file(model)
    prompting = sys.stdin.isatty()
    if latency is None:
        latency = _seconds(_prompted("--latency", "SLO: latency, such as 100ms", prompting=prompting))
    if pool is None:
        pool = _prompted("--pool", "DevicePool of the entry nodes", prompting=prompting)
    if min_accuracy is None and prompting and any(share is not None for _, share in found.exits):
        min_accuracy = _accuracy(typer.prompt("Minimum accuracy, from 0 to 1 (empty: any)", "", err=True))
    chosen = name or service_name(model)
    wishes = Wishes(chosen, storage_uri or f"store://{model.name}", pool, latency, min_accuracy, namespace)
    text = manifest_text(manifest(wishes), found)
    if file is None:
        write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: cannot be written ({error.strerror}): name another file") from error
    upload = "" if storage_uri else f"ei put {model} && "
    note(f"wrote {file}; next: {upload}ei plan -f {file} && kubectl apply -f {file}")


def _prompted(flag: str, question: str, *, prompting: bool) -> str:
    if not prompting:
        raise CommandError(
            f"{flag}: missing: give it, since there is no terminal to prompt", ExitStatus.USAGE
        )
    return str(typer.prompt(question, err=True))


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"latency: {error}", ExitStatus.USAGE) from error


def _accuracy(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise CommandError(
            f'minimum accuracy: "{text}" is not a number: write e.g. 0.9', ExitStatus.USAGE
        ) from error
