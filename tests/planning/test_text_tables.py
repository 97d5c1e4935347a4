"""Text tables: aligned, the same everywhere, and not paid for before one is printed."""

import subprocess
import sys

import pytest

from edge_planning.text_tables import text_table

# As in the images, which omit what rich needs only for code and Markdown.
PROGRAM = """
import sys
sys.modules |= dict.fromkeys(("pygments", "markdown_it", "mdurl"))
import edge_planning.text_tables, edge_operator.explaining.text, edge_runtime.cli, edge_runtime.file_profiles
before = "rich" in sys.modules
print(before, edge_planning.text_tables.text_table([("a", "b")]))
"""


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("name", "", "ms"), ("a longer name", "*", "1.5"), ("b", "", "10.25")]
    assert text_table(rows, right=[-1]).splitlines() == [
        "name                 ms",
        "a longer name  *    1.5",
        "b                 10.25",
    ]


def test_a_rule_separates_the_headings_and_an_indent_precedes_each_line() -> None:
    assert text_table([("from", "bytes"), ("a", "1")], right=[1], ruled=True, indent=2).splitlines() == [
        "  from  bytes",
        "  ----  -----",
        "  a         1",
    ]


def test_wide_characters_take_two_columns() -> None:
    assert text_table([("日本", "x"), ("a", "y")]).splitlines() == ["日本  x", "a     y"]


def test_without_rows_the_text_is_empty() -> None:
    assert text_table([]) == ""


@pytest.mark.parametrize("cell", ["[0]", "[red]x[/red]", ":smile:", "https://a/b?c=1", "x" * 5000])
def test_cells_are_printed_as_they_are(cell: str) -> None:
    assert text_table([(cell, "end")]) == f"{cell}  end"


@pytest.mark.parametrize(
    "environment", [{"FORCE_COLOR": "1"}, {"COLUMNS": "5"}, {"TERM": "dumb"}, {"TTY_COMPATIBLE": "1"}]
)
def test_the_environment_changes_nothing(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert text_table([("name", "12"), ("a", "3.5")], right=[1]) == "name   12\na     3.5"


def test_rich_is_imported_by_the_first_table_and_needs_no_other_library() -> None:
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == "False a  b\n"
