"""The example of docs/simulation.md runs and has the documented output."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "simulation.md"


def test_the_pages_example_runs_and_the_product_is_ahead(capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    exec(compile(block.group(1), str(PAGE), "exec"), {})
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    column = header.index("utility")
    utility = {row[0]: float(row[column]) for row in rows}
    assert set(utility) == {"ours", "edgent_static"}
    assert utility["ours"] > utility["edgent_static"] > 0.5
