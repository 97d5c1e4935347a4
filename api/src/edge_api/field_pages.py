"""The reference of the fields of all kinds, as a Markdown page."""

from collections.abc import Iterator, Mapping

from edge_api.kinds import KINDS
from edge_api.objects import API_VERSION, KubernetesObject
from edge_api.schemas import Schema, definition

_INTRODUCTION = f"""# Fields

The fields of all kinds of `{API_VERSION}`, as `kubectl explain` shows them. Written by `make generate` from
`api/src/edge_api`; [the API](api.md) has an example of each kind.
"""


def field_page() -> str:
    """The whole page; the same on every call."""
    return "\n".join((_INTRODUCTION, *(_section(kind) for kind in KINDS.values())))


def _section(kind: type[KubernetesObject]) -> str:
    """What is known of one kind: its names, its columns, the fields of its spec and its status."""
    crd = definition(kind)["spec"]
    version = crd["versions"][0]
    names, schema = crd["names"], version["schema"]["openAPIV3Schema"]
    known = ", ".join(f"`{name}`" for name in (names["plural"], *names.get("shortNames", ())))
    lines = [
        f"## {kind.__name__}\n",
        f"{crd['scope']}; `kubectl get` knows it as {known}.\n",
        "| column | value |",
        "| --- | --- |",
        *(
            f"| {c['name']} | {_cell(c.get('description', ''))} |"
            for c in version["additionalPrinterColumns"]
        ),
        "",
    ]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            rows = [_row(path, field) for path, field in _fields(schema["properties"][part], part)]
            head = ["| field | type | description |", "| --- | --- | --- |"]
            lines += [f"### {kind.__name__}: {part}\n", *head, *rows, ""]
    return "\n".join(lines)


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """The fields below an object with their paths, outer ones first."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, field
        yield from _fields(field, here)
        for inner, suffix in (("items", "[]"), ("additionalProperties", ".KEY")):
            if isinstance(field.get(inner), Mapping):
                yield from _fields(field[inner], here + suffix)


def _row(path: str, field: Schema) -> str:
    text = _cell(field.get("description", ""))
    if values := field.get("enum") or field.get("items", {}).get("enum"):
        text += f" One of {', '.join(f'`{value}`' for value in values)}."
    return f"| `{path}` | {_type(field)} | {text} |"


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}s"
    if isinstance(field.get("additionalProperties"), Mapping):
        return f"map of {_type(field['additionalProperties'])}s"
    return str(field["type"])


def _cell(text: str) -> str:
    for sign, escaped in (("|", "\\|"), ("*", "\\*"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, escaped)
    return " ".join(text.split())
