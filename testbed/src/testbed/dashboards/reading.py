"""What a dashboard in Grafana's JSON asks, with its variables filled in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
_VALUES = re.compile(r"label_values\((?P<selector>.*), (?P<label>\w+)\)")


@dataclass(frozen=True)
class Question:
    """A query of a panel. instant: for its newest value alone."""

    panel: str
    letter: str
    expression: str
    legend: str
    instant: bool


@dataclass(frozen=True)
class Variable:
    """A variable whose values are those of a label of the series that a selector finds."""

    name: str
    selector: str
    label: str
    several: bool


def panels(dashboard: Document) -> Iterator[Document]:
    """Yields the panels with queries, also those in rows."""
    for panel in dashboard["panels"]:
        yield from (panel,) if panel["type"] != "row" else panel.get("panels") or ()


def variables(dashboard: Document) -> list[Variable]:
    """Returns the variables that are queried, in their order."""
    found = []
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = _VALUES.fullmatch(variable["query"]["query"])
            assert match is not None, f"{variable['name']}: {variable['query']} is not label_values(…)"
            several = bool(variable.get("multi"))
            found.append(Variable(variable["name"], match["selector"], match["label"], several))
    return found


def filled(text: str, values: Mapping[str, str], rate_interval: str) -> str:
    """Returns an expression with the values of variables in place of their names."""
    for name, value in {**values, "__rate_interval": rate_interval}.items():
        text = re.sub(rf"\$\{{{name}\}}|\${name}\b", lambda _, value=value: value, text)  # type: ignore[misc]
    return text


def questions(dashboard: Document, values: Mapping[str, str], rate_interval: str) -> Iterator[Question]:
    """Yields the queries of all panels."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            expression = filled(target["expr"], values, rate_interval)
            legend = target.get("legendFormat", "")
            yield Question(panel["title"], target["refId"], expression, legend, bool(target.get("instant")))


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Returns the name of a series: the legend with its labels filled in."""
    if legend in ("", "__auto"):
        return ", ".join(f"{name}={value}" for name, value in sorted(labels.items())) or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), legend)
