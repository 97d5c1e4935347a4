from pathlib import Path

import pytest

from importing import failures, modules
from testbed.import_graph import diagram, main

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path.parent.name for path in ROOT.glob("*/src"))
NOT_IMPORTED = {
    "demo.__main__": "runs the demo",
    "edge_operator.tritons.tails.model": "imports what Triton's python backend brings",
}


@pytest.mark.parametrize("distribution", SOURCES)
def test_every_module_can_be_imported_alone(distribution: str) -> None:
    names = [name for name in modules(ROOT / distribution / "src") if name not in NOT_IMPORTED]
    assert names
    assert failures(names) == {}


def test_a_module_that_needs_another_to_be_imported_first_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "circular"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text("from circular import second\nVALUE = 1\n")
    (package / "second.py").write_text("from circular.first import VALUE\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = failures(modules(tmp_path))
    assert list(found) == ["circular.first"]
    assert "partially initialized module" in found["circular.first"]


def test_the_graph_of_imports_in_the_architecture_page_is_todays(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_page_with_another_graph_is_found_and_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = (ROOT / "ARCHITECTURE.md").read_text()
    page.write_text(text.replace("edge_operator --> edge_api", "edge_api --> edge_operator"))
    assert main([str(page), "--check"]) == 1
    assert main([str(page)]) == 0
    assert page.read_text() == text


def test_the_graph_leaves_out_what_follows_and_leads_over_modules_without_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "drawn/low/a.py": "",
        "drawn/mid/a.py": "import drawn.low.a",
        "drawn/between.py": "import drawn.mid.a",
        "drawn/high/a.py": "import drawn.between, drawn.low.a, drawn_other",
        "drawn_other/__init__.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in [path.parent, *path.parent.parents[: len(path.parent.relative_to(tmp_path).parts) - 1]]:
            (folder / "__init__.py").touch()
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    arrows = [line.strip() for line in diagram(["drawn", "drawn_other"]).splitlines() if "-->" in line]
    assert arrows == [
        "drawn__high --> drawn__mid",
        "drawn__mid --> drawn__low",
        "drawn --> drawn_other",
    ]
