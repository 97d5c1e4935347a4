"""`ei convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_cli.errors import CommandError
from edge_cli.flags import duration
from edge_cli.manifest_files import documents_in
from edge_cli.manifests import manifest_text
from edge_cli.output import write


def convert(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files.", show_default=False)],
    *,
    latency: Annotated[float, duration("--latency", help="Latency of the SLO, such as 100ms.")],
    pool: Annotated[str, typer.Option("--pool", help="Name of the DevicePool.", show_default=False)],
) -> None:
    """Converts InferenceServices of KServe (v1beta1); says of each field that does not map why.

    Manifests go to standard output; sentences are comments in them. Other objects are skipped. Exits with 1
    if one cannot be converted.
    """
    from edge_cli.kserve import converted, is_kserve

    texts, failed = [], []
    for path in files:
        for document in documents_in(path):
            if not is_kserve(document):
                continue
            found = converted(document, latency, pool)
            if found.body is None:
                failed.append(f"{path}: {found.name}: cannot be converted: {found.notes[0]}")
                continue
            texts.append(manifest_text(found.body, notes=found.notes))
    if not texts and not failed:
        named = ", ".join(map(str, files))
        raise CommandError(f"{named}: no InferenceService of serving.kserve.io/v1beta1")
    if texts:
        write("---\n".join(texts))
    if failed:
        raise CommandError("\n".join(failed))
