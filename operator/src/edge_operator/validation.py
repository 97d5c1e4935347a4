"""Checks manifests in files, without a cluster."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from edge_api import GROUP, KINDS
from edge_api.validation_messages import problems


def problems_in(path: Path) -> Iterator[str]:
    """Yields `file: field: "value" problem: fix` for each problem; skips objects of other API groups."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        yield f"{path}: cannot be read: {error.strerror or error}: give the path of a manifest"
        return
    except UnicodeDecodeError:
        yield f"{path}: not UTF-8: give a YAML file"
        return
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        yield f"{path}: {_syntax(error)}"
        return
    if not documents:
        yield f"{path}: no objects: write apiVersion, kind, metadata and spec"
    for number, document in enumerate(documents, start=1):
        if _foreign(document):
            continue
        where = f"{path} (document {number})" if len(documents) > 1 else str(path)
        yield from (f"{where}: {problem}" for problem in problems(document))


def _foreign(document: object) -> bool:
    """Whether the document is an object of another API group and of a kind that this one does not have."""
    if not isinstance(document, dict):
        return False
    version, kind = document.get("apiVersion"), document.get("kind")
    return isinstance(version, str) and version.partition("/")[0] != GROUP and kind not in KINDS


def _syntax(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: not YAML: {error.problem or error.context}"
    return "not YAML: " + " ".join(str(error).split())
