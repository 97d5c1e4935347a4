"""JSON values, and what is read of Kubernetes objects before they are validated."""

from typing import Any

Json = Any  # unchecked until it is validated


def metadata_of(document: Json) -> dict[str, Any]:
    """Returns the metadata of an object; empty if it is not a mapping or has none."""
    return _mapping(document, "metadata")


def spec_of(document: Json) -> dict[str, Any]:
    """Returns the spec of an object; empty if it is not a mapping or has none."""
    return _mapping(document, "spec")


def status_of(document: Json) -> dict[str, Any]:
    """Returns the status of an object; empty if it is not a mapping or has none."""
    return _mapping(document, "status")


def _mapping(document: Json, field: str) -> dict[str, Any]:
    found = document.get(field) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}
