"""`ei dashboards`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_cli import connections
from edge_cli.errors import CommandError
from edge_cli.flags import Context, Kubeconfig, Namespace, Output
from edge_cli.output import Format, note, show, table

SELECTOR: Final = "grafana_dashboard=1,app.kubernetes.io/part-of=edge-intelligence"
"""Labels of the chart's ConfigMaps with dashboards; Grafana's sidecar selects by the first."""


def dashboards(
    *,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="DIR", help="Write each dashboard there as JSON, to import in Grafana."
        ),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Lists the Grafana dashboards that the chart installed, or exports them.

    Without a namespace, those of all namespaces that this account can list.
    """
    from edge_operator.cluster import CONFIG_MAPS

    here = connections.connect(namespace, context, kubeconfig)
    bodies = here.cluster.find(CONFIG_MAPS, namespace, SELECTOR)
    found = sorted((each for body in bodies for each in dashboards_of(body)), key=lambda each: each["uid"])
    if not found:
        raise CommandError(
            f"ConfigMap: none has the labels {SELECTOR}: turn the chart's dashboards on, or choose "
            "a namespace with -n"
        )
    if export is not None:
        _write(export, bodies)
        note(f"wrote {len(found)} dashboards to {export}")
    shown = [(each["uid"], each["title"], each["configMap"]) for each in found]
    show(found, output, lambda: table(("UID", "TITLE", "CONFIGMAP"), shown))


def dashboards_of(body: dict[str, Any]) -> list[dict[str, str]]:
    """Returns the dashboards in a ConfigMap; skips files that are not JSON."""
    metadata, found = body["metadata"], []
    for file, text in (body.get("data") or {}).items():
        try:
            board = json.loads(text)
        except ValueError:
            continue
        where = f"{metadata['namespace']}/{metadata['name']}"
        found.append(
            {
                "uid": board.get("uid") or "",
                "title": board.get("title") or file,
                "file": file,
                "configMap": where,
            }
        )
    return found


def _write(folder: Path, bodies: list[dict[str, Any]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for body in bodies:
            for file, text in (body.get("data") or {}).items():
                (folder / Path(file).name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"--export {folder}: cannot be written ({error.strerror}): name a folder"
        ) from error
