import shutil
import tomllib
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path

import pytest

from edge_cli.app import main as ei
from edge_operator.cli import main as operator
from edge_runtime.cli import main as runtime
from testbed.versions import outdated, version

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("api", "cli", "console", "monitoring", "operator", "planning", "runtime", "testbed")
FILES = sorted([*(f"{name}/pyproject.toml" for name in DISTRIBUTIONS), "charts/edge-intelligence/Chart.yaml"])


def test_all_distributions_and_the_chart_have_the_roots_version() -> None:
    assert outdated() == {}
    assert {installed(f"edge-{name}") for name in DISTRIBUTIONS} == {version()}


def test_a_new_version_in_the_root_is_written_to_every_file_and_to_every_pin(tmp_path: Path) -> None:
    for name in ("pyproject.toml", *FILES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    root = tmp_path / "pyproject.toml"
    root.write_text(root.read_text().replace(f'version = "{version()}"', 'version = "7.8.9"'))

    changed = outdated(tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in changed) == FILES
    project = tomllib.loads(changed[tmp_path / "operator" / "pyproject.toml"])["project"]
    assert project["version"] == "7.8.9"
    assert {"edge-api==7.8.9", "edge-planning==7.8.9"} < set(project["dependencies"])
    for path, text in changed.items():
        path.write_text(text)
    assert outdated(tmp_path) == {}


@pytest.mark.parametrize(("name", "main"), [("edge-operator", operator), ("edge-runtime", runtime)])
def test_a_command_tells_its_version(
    name: str, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"{name} {version()}\n"


def test_the_command_line_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ei(["--version"]) == 0
    assert capsys.readouterr().out == f"ei {version()}\n"
