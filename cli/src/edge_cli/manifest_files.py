"""Manifests in files, and what is wrong with them; needs no cluster."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from edge_api import GROUP, KINDS
from edge_api.validation_messages import problems
from edge_cli import kserve
from edge_cli.errors import CommandError

PLANNED: Final = ("InferenceService", "DevicePool", "Tenant")
"""The kinds whose manifests change plans."""
_STANDARD_INPUT: Final = Path("-")


def problems_in(path: Path) -> Iterator[str]:
    """Yields `file: field: "value" problem: fix` for each problem; skips objects of other API groups."""
    try:
        documents = documents_in(path)
    except CommandError as error:
        yield str(error)
        return
    for number, document in enumerate(documents, start=1):
        if not _foreign(document):
            yield from (f"{_where(path, number, documents)}: {problem}" for problem in problems(document))


def planned_manifests(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns the services, pools and tenants in files.

    Raises CommandError for a file that cannot be read, an invalid object, and files without any of these.
    """
    found = []
    for path in paths:
        documents = documents_in(path)
        for number, document in enumerate(documents, start=1):
            if _foreign(document):
                continue
            if wrong := problems(document):
                raise CommandError(f"{_where(path, number, documents)}: {wrong[0]}")
            assert isinstance(document, dict), "a document without problems is an object"
            if document["kind"] in PLANNED:
                found.append(document)
    if not found:
        named = ", ".join(map(str, paths))
        raise CommandError(f"{named}: no {', '.join(PLANNED)}: give a file with one of these")
    return found


def documents_in(path: Path) -> list[object]:
    """Returns the documents of a YAML file; `-` is standard input.

    Raises CommandError if it cannot be read, is not YAML or has no objects.
    """
    try:
        text = sys.stdin.read() if path == _STANDARD_INPUT else path.read_text(encoding="utf-8")
    except OSError as error:
        said = f"{path}: cannot be read: {error.strerror or error}: give the path of a manifest"
        raise CommandError(said) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: not UTF-8: give a YAML file") from error
    try:
        found = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise CommandError(f"{path}: {_syntax(error)}") from error
    if not found:
        raise CommandError(f"{path}: no objects: write apiVersion, kind, metadata and spec")
    return found


def _where(path: Path, number: int, documents: Sequence[object]) -> str:
    return f"{path} (document {number})" if len(documents) > 1 else str(path)


def _foreign(document: object) -> bool:
    """Whether the document is an object of another API: of KServe, whose kind has the same name, or of a kind
    that this one does not have.
    """
    if not isinstance(document, dict):
        return False
    version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(version, str) or version.partition("/")[0] == GROUP:
        return False
    return version.partition("/")[0] == kserve.GROUP or kind not in KINDS


def _syntax(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: not YAML: {error.problem or error.context}"
    return "not YAML: " + " ".join(str(error).split())
