"""The planner's example in README.md runs as written."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.graphs.catalogue import build

README = Path(__file__).parents[2] / "README.md"


def test_the_planners_example_runs_and_prints_a_route_table_and_its_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "resnet50.onnx").write_bytes(build("resnet50").SerializeToString())
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(block[1], str(README), "exec"), found)
    routes, header, *candidates = capsys.readouterr().out.splitlines()
    assert routes.split() == [route.name for route in found["plan_entry"](found["problem"]).table.routes]
    assert len(routes.split()) > 1
    assert header.split()[:3] == ["candidate", "where", "latency"]
    printed = {row.split()[0] for row in candidates if row.strip()}
    assert set(routes.split()) <= printed
