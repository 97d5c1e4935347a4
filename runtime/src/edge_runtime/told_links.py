"""What the operator tells of links, read from the metadata of a Placement."""

from __future__ import annotations

from edge_api.told_links import ToldLink, read_links
from edge_runtime.json_values import Json


def told_links(metadata: Json) -> dict[str, ToldLink]:
    """The links that the annotation names, by their peer; none if it is missing or cannot be read."""
    found = metadata.get("annotations")
    texts = (
        {name: text for name, text in found.items() if isinstance(text, str)}
        if isinstance(found, dict)
        else {}
    )
    return read_links(texts)
