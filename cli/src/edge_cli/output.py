"""What commands print: a table for people, JSON or YAML for programs. Only this module writes to stdout."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_api.objects import written

NONE: Final = "-"
"""What a table shows for a value that is not known."""
STYLES: Final = {
    "True": "green", "False": "red", "Unknown": "yellow", "Up": "green", "Down": "red", "passed": "green",
    "error": "bold red", "warning": "yellow", "info": "cyan", "skipped": "dim", "Better": "green",
    "Worse": "red", "New": "green", "Removed": "red",
}  # fmt: skip
"""Words that a terminal shows in color."""


class Format(StrEnum):
    """Format of the output."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


def show(document: object, output: Format, text: Callable[[], str]) -> None:
    """Writes a document, or what `text` returns for people. document: of the API, or of plain values."""
    match output:
        case Format.JSON:
            write(json.dumps(plain(document), indent=2))
        case Format.YAML:
            write(yaml.safe_dump(plain(document), sort_keys=False, allow_unicode=True).rstrip("\n"))
        case _:
            write(text())


def plain(document: object) -> object:
    """Returns a document as values of JSON."""
    if isinstance(document, BaseModel):
        return written(document)
    if isinstance(document, dict):
        return {key: plain(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [plain(each) for each in document]
    return document


def write(text: str) -> None:
    """Writes lines to standard output."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def note(text: str) -> None:
    """Writes a line for people to standard error."""
    sys.stderr.write(f"{text}\n")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Returns rows under their headings, colored on a terminal. right: headings of numbers."""
    found = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for each in head:
        found.add_column(each, no_wrap=True, justify="right" if each in right else "left")
    lines = [[Text(cell or NONE, style=STYLES.get(cell, "")) for cell in row] for row in rows]
    for line in lines:
        found.add_row(*line)
    width = sum(max([len(h), *(line[i].cell_len for line in lines)]) + 4 for i, h in enumerate(head))
    console = Console(width=max(width, 20), height=1, highlight=False, file=sys.stdout)
    with console.capture() as capture:
        console.print(found)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
