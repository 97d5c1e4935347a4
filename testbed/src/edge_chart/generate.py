"""Generates the chart's values.yaml, values.schema.json and its README's table from its typed values.

`python -m edge_chart.generate [--check]`
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from edge_chart.parts import Resources
from edge_chart.values import ChartValues

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "edge-intelligence"
_WIDTH = 118
_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_BEGIN, _END = "<!-- generated: values -->\n", "<!-- end -->\n"
_HEADER = """\
# All settings of an installation. values.schema.json rejects others.
# Generated from testbed/src/edge_chart/values.py by `make generate`. Do not edit.
"""


def schema() -> dict[str, Any]:
    """Returns the JSON schema, which refuses unknown values."""
    plain = _plain_schema(ChartValues.model_json_schema(by_alias=True))
    assert isinstance(plain, dict)
    return {"$schema": _SCHEMA, "title": "Values of the edge-intelligence chart", **plain}


def values_yaml() -> str:
    """Returns values.yaml: each value with its description and its default."""
    return _HEADER + "\n" + "\n".join(_section(ChartValues(), 0, apart=True)) + "\n"


def table() -> str:
    """Returns the values as a Markdown table."""
    rows = [f"| `{path}` | `{_flow(default)}` | {text} |" for path, default, text in _leaves(ChartValues())]
    return "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def page(text: str) -> str:
    """Returns a Markdown page with the table between its two markers."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


def files() -> dict[Path, str]:
    """Returns the wanted text of each generated file."""
    readme = CHART / "README.md"
    return {
        CHART / "values.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        CHART / "values.yaml": values_yaml(),
        readme: page(readme.read_text(encoding="utf-8") if readme.is_file() else ""),
    }


def _fields(values: BaseModel) -> Iterator[tuple[str, Any, str]]:
    """Yields key, default and description of each value that has a default: inherited ones last."""
    fields, own = type(values).model_fields, type(values).__annotations__
    for name, field in sorted(fields.items(), key=lambda item: item[0] not in own):
        if (default := getattr(values, name)) is not None:
            yield field.alias or name, default, (field.description or "").strip()


def _leaf(default: object) -> bool:
    """Whether a value is written on one line: not a part with values that have descriptions of their own."""
    return not isinstance(default, BaseModel) or not any(_fields(default)) or isinstance(default, Resources)


def _plain(default: object) -> object:
    if isinstance(default, BaseModel):
        return default.model_dump(by_alias=True, exclude_none=True)
    return default


def _leaves(values: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for key, default, text in _fields(values):
        if _leaf(default):
            yield f"{prefix}{key}", _plain(default), " ".join(text.split())
        else:
            yield from _leaves(default, f"{prefix}{key}.")


def _section(values: BaseModel, depth: int, *, apart: bool = False) -> Iterator[str]:
    margin = "  " * depth
    for number, (key, default, text) in enumerate(_fields(values)):
        if apart and number:
            yield ""
        yield from _comment(text, margin)
        if not _leaf(default):
            yield f"{margin}{key}:"
            yield from _section(default, depth + 1)
        elif key == "resources":
            yield f"{margin}{key}:"
            amounts = default.model_dump(exclude_none=True)
            yield from (f"{margin}  {name}: {_flow(each)}" for name, each in amounts.items())
        elif isinstance(default, list) and default:
            yield f"{margin}{key}:"
            yield from (f"{margin}  - {_flow(each)}" for each in default)
        else:
            yield f"{margin}{key}: {_flow(_plain(default))}"


def _comment(text: str, margin: str) -> Iterator[str]:
    """Yields a description as comment lines. One that was written with line breaks keeps them."""
    lines = (
        text.splitlines()
        if "\n" in text
        else textwrap.wrap(text, _WIDTH - len(margin) - 2, break_on_hyphens=False)
    )
    yield from (f"{margin}# {line}" for line in lines)


def _flow(value: object) -> str:
    """Returns a value as YAML on one line."""
    if isinstance(value, str):
        return value if value and yaml.safe_load(value) == value else json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    return json.dumps(value)


def _plain_schema(node: object, *, names: bool = False) -> object:
    """Returns a schema without what pydantic adds: titles, defaults, and null, which Helm takes for no value.

    names: whether the keys of `node` are names of values.
    """
    if isinstance(node, list):
        return [_plain_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {
        key: _plain_schema(value, names=not names and key in ("properties", "$defs"))
        for key, value in node.items()
        if names or key not in ("title", "default")
    }
    choices = found.get("anyOf")
    kinds = [each for each in choices if each != {"type": "null"}] if isinstance(choices, list) else []
    return (
        {key: value for key, value in found.items() if key != "anyOf"} | kinds[0]
        if len(kinds) == 1
        else found
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes, or with --check compares; returns 1 if something differs."""
    parser = argparse.ArgumentParser(prog="python -m edge_chart.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    check = parser.parse_args(arguments).check
    differing = {
        path: text
        for path, text in files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    for path, text in differing.items():
        if check:
            print(f"{path.relative_to(ROOT)}: not as generated: run `make generate`", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if check and differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
