from pathlib import Path

import pytest

from importing import failures, modules

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path.parent.name for path in ROOT.glob("*/src"))
NOT_IMPORTED = {
    "demo.__main__": "runs the demo",
    "edge_operator.tails.model": "imports what Triton's python backend brings",
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
