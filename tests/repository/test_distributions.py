"""`pip install` of each distribution, built from the checkout without network access.

An installation sees the standard library, itself and its requirements, and nothing else of this environment.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from importing import modules

ROOT = Path(__file__).resolve().parents[2]
PIP = ROOT / ".cache" / "uv" / "bin" / "pip"
IMPORT = """
import importlib, json, sys
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = str(error)
print(json.dumps(failed))
"""


@dataclass(frozen=True)
class Installation:
    """Some distributions in a folder, and their requirements in another."""

    folder: Path
    libraries: Path
    names: frozenset[str]

    def python(self, *arguments: str) -> str:
        """The output of Python without this environment's site-packages."""
        environment = {"PYTHONPATH": f"{self.folder}:{self.libraries}", "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [sys.executable, "-S", "-P", *arguments]
        return subprocess.run(
            argv, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    @property
    def packages(self) -> set[str]:
        return {path.name for path in self.folder.glob("edge_*") if path.suffix != ".dist-info"}

    def failures(self) -> dict[str, str]:
        """The error of each module that cannot be imported."""
        names = modules(self.folder)
        assert {name for name in names if "." not in name} == self.packages
        found: dict[str, str] = json.loads(self.python("-c", IMPORT, *names))
        return found


Install = Callable[..., Installation]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    def install(*requirements: str) -> Installation:
        """`pip install ./NAME…`, with extras as in `planning[onnx]`."""
        folder, libraries = tmp_path / "installed", tmp_path / "libraries"
        options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder)]
        pip = [str(PIP), "--python", sys.executable, "--disable-pip-version-check", "install", *options]
        subprocess.run([*pip, *(f"./{one}" for one in requirements)], cwd=ROOT, check=True)
        made = {found.name: found for found in distributions(path=[str(folder)])}
        asked = [Requirement(f"edge-{one}") for one in requirements]
        assert set(made) == {one.name for one in asked}
        needed = _needed(asked, made)
        libraries.mkdir()
        for library in needed.values():
            for top in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
                if not (libraries / top).exists():
                    (libraries / top).symlink_to(Path(str(library.locate_file(top))))
        installation = Installation(folder, libraries, frozenset(needed))
        assert {name for name in installation.packages if not (folder / name / "py.typed").is_file()} == set()
        return installation

    return install


def _needed(asked: Iterable[Requirement], made: dict[str, Distribution]) -> dict[str, Distribution]:
    """The transitive requirements; the project's own must be among the installed ones."""
    needed: dict[str, Distribution] = {}
    waiting, seen = list(asked), set()
    while waiting:
        one = waiting.pop()
        if str(one) in seen:
            continue
        seen.add(str(one))
        own = one.name.startswith("edge-")
        found = made[one.name] if own else distribution(one.name)
        if not own:
            needed[found.name] = found
        for requirement in map(Requirement, found.requires or ()):
            extras = one.extras or {""}
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(requirement)
    return needed


def test_the_api_needs_no_kubernetes_and_no_planner(install: Install) -> None:
    api = install("api")
    assert {"pydantic", "PyYAML"} < api.names
    assert not {"kopf", "kubernetes", "numpy"} & api.names
    assert api.failures() == {}
    assert api.packages == {"edge_api"}


def test_the_planner_needs_numpy_and_rich_but_to_read_onnx_draw_and_solve_exactly(install: Install) -> None:
    planner = install("planning")
    assert planner.names == {"numpy", "rich", "Pygments", "markdown-it-py", "mdurl"}
    assert planner.packages == {"edge_planning", "edge_planning_lab"}
    failed = planner.failures()
    assert {name: said.split("'")[1] for name, said in failed.items()} == {
        "edge_planning.graphs.onnx_reading": "onnx",
        "edge_planning.graphs.onnx_types": "onnx",
        "edge_planning_lab.exact_sharing": "highspy",
        "edge_planning_lab.simulation.plots": "matplotlib",
    }


def test_the_planners_extras_bring_what_the_rest_of_it_needs(install: Install) -> None:
    planner = install("planning[lab,onnx,solvers]")
    assert {"highspy", "matplotlib", "numpy", "onnx", "scipy"} <= planner.names
    assert not {"kopf", "kubernetes", "pydantic"} & planner.names
    assert planner.failures() == {}


def test_the_operator_needs_the_api_and_the_planner_with_minimum_cuts_alone(install: Install) -> None:
    operator = install("api", "planning", "operator")
    assert {"kopf", "kubernetes", "numpy", "pydantic", "scipy"} < operator.names
    assert not {"highspy", "matplotlib", "onnx", "onnxruntime"} & operator.names
    assert {name for name in operator.failures() if name.startswith(("edge_api", "edge_operator"))} == {
        "edge_operator.tritons.tails.model"  # runs in Triton, with the packages of its python backend
    }
    assert operator.python(str(operator.folder / "bin" / "edge-operator"), "--version")


def test_the_console_needs_the_operator_and_a_server(install: Install) -> None:
    console = install("api", "planning", "operator", "console")
    assert {"kubernetes", "starlette", "uvicorn"} < console.names
    assert not {"fastapi", "onnx", "onnxruntime", "jinja2"} & console.names
    assert {name for name in console.failures() if name.startswith("edge_console")} == set()
    assert (console.folder / "edge_console" / "pages" / "js" / "main.js").is_file()
    assert console.python(str(console.folder / "bin" / "edge-console"), "--version")


def test_the_runtime_needs_no_kubernetes_client(install: Install) -> None:
    runtime = install("api", "planning", "runtime")
    assert {"numpy", "onnx", "onnxruntime", "pydantic"} < runtime.names
    assert not {"highspy", "kopf", "kubernetes", "matplotlib", "opentelemetry-sdk", "scipy"} & runtime.names
    failed = {name: said for name, said in runtime.failures().items() if name.startswith("edge_runtime")}
    assert "edge_runtime.tracing.spans" in failed
    assert {name for name, said in failed.items() if "'opentelemetry'" not in said} == set()
    assert runtime.python(str(runtime.folder / "bin" / "edge-runtime"), "--version")


def test_the_command_line_brings_the_operator_and_the_runtime_as_libraries(install: Install) -> None:
    found = install("api", "planning", "operator", "runtime", "cli")
    assert {"kubernetes", "onnx", "onnxruntime", "rich", "typer"} < found.names
    assert {name for name in found.failures() if name.startswith("edge_cli")} == set()
    for script in ("ei", "kubectl-ei"):
        assert found.python(str(found.folder / "bin" / script), "--version")


def test_rules_and_dashboards_need_the_sdk_of_grafana_and_no_other_distribution(install: Install) -> None:
    monitoring = install("monitoring")
    assert monitoring.names == {"grafana_foundation_sdk", "PyYAML"}
    assert monitoring.failures() == {}
    assert monitoring.packages == {"edge_monitoring"}


@pytest.mark.parametrize("image", ["operator", "runtime"])
def test_the_lock_of_an_image_holds_what_its_distributions_ask_for(image: str) -> None:
    lock = (ROOT / "requirements" / f"{image}.lock").read_text()
    locked = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    asked: set[str] = set()
    for name in ("api", "planning", image, *(["console"] if image == "operator" else [])):
        project = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]
        asked |= {Requirement(one).name for one in project["dependencies"]}
    assert {name for name in asked - locked if not name.startswith("edge-")} == set()
    assert {name for name in locked if name.startswith("edge-")} == set()


def test_the_pages_name_the_installations_that_are_tested() -> None:
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        tuple(line.split())
        for page in pages
        for line in re.findall(r"pip install((?: '?\./[a-z,\[\]]+'?)+)", page.read_text())
    }
    tested = {
        ("./api",),
        ("./planning",),
        ("./monitoring",),
        ("./api", "./planning", "./operator"),
        ("./api", "./planning", "./operator", "./console"),
        ("./api", "./planning", "./runtime"),
        ("./api", "./planning", "./operator", "./runtime", "./cli"),
    }
    assert {tuple(re.sub(r"\[.*\]|'", "", one) for one in line) for line in named} == tested
