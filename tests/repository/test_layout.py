"""Rules of the source tree that no other tool checks."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks or would track: rules apply to a new file before its first commit."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for path in (ROOT / line for line in listing.splitlines()) if path.is_file()]


def test_no_package_shadows_the_standard_library_module_called_operator() -> None:
    assert [p for p in tracked("operator/*.py") if p.parent == ROOT / "operator"] == []
    assert [p for p in tracked("*__init__.py") if p.is_relative_to(ROOT / "tests")] == []


def test_no_module_is_longer_than_500_lines() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in tracked("*.py")}
    assert {name: n for name, n in lengths.items() if n > 500} == {}


def test_the_only_files_that_are_not_text_are_pictures_of_the_pages() -> None:
    pictures = {path for path in tracked("docs/images/*") if path.suffix == ".png"}
    others = [path for path in tracked() if b"\0" in path.read_bytes()]
    assert [path for path in others if path not in pictures] == []


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "requirements").glob("*.lock")))
def test_a_lock_pins_by_version_and_hash_and_holds_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    assert "://" not in text
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    assert [line for line in requirements if "==" not in line or not line.endswith("\\")] == []
    assert text.count("--hash=sha256:") >= len(requirements)


@pytest.mark.parametrize("folder", ["api", "cli", "console", "monitoring", "operator", "planning", "runtime"])
def test_a_published_distribution_contains_the_license(folder: str) -> None:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    assert project["license-files"] == ["LICENSE"]
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_continuous_integration_calls_exactly_the_readmes_test_command() -> None:
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert commands == ["make test"]
    assert "\nmake test\n" in (ROOT / "README.md").read_text()


def test_every_make_target_is_described_in_make_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = {
        name for names in re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE) for name in names.split()
    }
    described = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", makefile, re.MULTILINE))
    assert phony == described


def test_every_path_that_the_first_pages_name_exists() -> None:
    for page in ("README.md", "ARCHITECTURE.md"):
        named = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_the_images_copy_is_part_of_their_context() -> None:
    kept = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {source.partition("/")[0] for source in copied} <= kept
