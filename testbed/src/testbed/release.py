"""Builds everything that a release would publish into build/release, and uploads nothing.

Distributions (sdist and wheel), a CycloneDX bill of materials and the licenses of each image's packages, the
text of the tag from CHANGELOG.md, checksums, the chart, the list of its images, and with --images these
images with the values of the chart that pin them.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_chart import archive
from edge_chart import images as image_list
from edge_chart.generate import CHART
from testbed.errors import BadValueError, TestbedError
from testbed.layout import Layout
from testbed.processes import run
from testbed.progress import print_line, step

ROOT: Final = Path(__file__).resolve().parents[3]
OUT: Final = ROOT / "build" / "release"
UV: Final = ROOT / ".cache" / "uv" / "bin" / "uv"
TOOLS: Final = ROOT / ".cache" / "release"
# The testbed is for a checkout only.
UNPUBLISHED: Final = frozenset({"testbed"})
IMAGES: Final = ("operator", "runtime")
LOCKS: Final = ("build", *IMAGES)
"""The packages that the Dockerfile installs."""
# Platforms of the images, by the oldest C library that wheels may expect: that of the base is newer.
PLATFORMS: Final = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
BESIDE: Final = {"operator": ("edge-console",)}
"""Other distributions in an image, besides those that its own needs."""
_SECTION: Final = re.compile(
    r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\S+))?[ ]*\n(?P<body>(?:(?!## ).*\n?)*)", re.MULTILINE
)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_REQUIREMENT: Final = re.compile(r"edge-[a-z]+")


@dataclass(frozen=True, slots=True)
class PythonDistribution:
    """A folder with a pyproject.toml; needs: the distributions of this checkout that it depends on."""

    folder: str
    name: str
    version: str
    needs: tuple[str, ...]


def distributions(root: Path) -> tuple[str, tuple[PythonDistribution, ...]]:
    """Returns the version of the release and what it publishes. Raises BadValueError if versions differ."""
    project = _pyproject(root)
    version = str(project["project"]["version"])
    folders = [name for name in project["tool"]["uv"]["workspace"]["members"] if name not in UNPUBLISHED]
    found = tuple(_distribution(folder, _pyproject(root / folder)["project"]) for folder in folders)
    for each in found:
        if each.version != version:
            raise BadValueError(
                f'{each.folder}/pyproject.toml: version "{each.version}" differs from "{version}" in '
                "pyproject.toml: write the same version into both"
            )
    return version, found


def closure(name: str, found: Sequence[PythonDistribution]) -> set[str]:
    """A distribution and all those of this checkout that it needs."""
    by_name = {each.name: each for each in found}
    names, left = set[str](), [name]
    while left:
        names.add(current := left.pop())
        left += [need for need in by_name[current].needs if need not in names]
    return names


def notes(changelog: str, version: str, today: datetime.date) -> str:
    """The section of a version, with the date of its heading, or today's if it is still unreleased."""
    sections = {match["version"]: match for match in _SECTION.finditer(changelog)}
    section = sections.get(version)
    if section is None or not section["body"].strip():
        raise BadValueError(
            f'CHANGELOG.md: no entries under "## [{version}]": write "## [{version}] - Unreleased" above the '
            "entries of this version"
        )
    date = today.isoformat() if section["date"] == "Unreleased" else section["date"]
    if date is None or not _DATE.fullmatch(date):
        raise BadValueError(
            f'CHANGELOG.md: the heading of {version} has the date "{date}": '
            f'write "## [{version}] - Unreleased", or a date such as {today.isoformat()}'
        )
    return f"## [{version}] - {date}\n\n{section['body'].strip()}\n"


def checksums(files: Sequence[Path]) -> str:
    """The lines of SHA256SUMS."""
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def portable(bill: str, files: Path) -> str:
    """A bill of materials that names the wheels of the release without the folder that they were built in."""
    return bill.replace(f"{files.as_uri()}/", "")


def _pyproject(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def _distribution(folder: str, project: dict[str, Any]) -> PythonDistribution:
    named = (_REQUIREMENT.match(line) for line in project.get("dependencies", ()))
    needs = tuple(match[0] for match in named if match)
    return PythonDistribution(folder, project["name"], project["version"], needs)


def _environment(folder: Path, lock: str, wheels: Sequence[Path] = ()) -> Path:
    """Creates a virtual environment with a lock's packages and some wheels; returns its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        run([str(UV), "venv", "--quiet", "--python", sys.executable, str(folder)])
    install = [str(UV), "pip", "{}", "--quiet", "--python", str(python)]
    sync = [part.format("sync") for part in install]
    run([*sync, "--require-hashes", str(ROOT / "requirements" / f"{lock}.lock")])
    if wheels:
        run([*(part.format("install") for part in install), "--no-deps", "--no-index", *map(str, wheels)])
        run([str(UV), "pip", "check", "--quiet", "--python", str(python)])
    return python


def _build(found: Sequence[PythonDistribution], out: Path) -> None:
    """An sdist of each distribution, and a wheel from it; the same bytes for the same commit."""
    epoch = run(["git", "log", "-1", "--format=%ct"], cwd=ROOT).strip()
    for each in found:
        with step(print_line, f"build {each.name}"):
            command = [str(UV), "build", "--quiet", "--no-build-isolation", "--python", sys.executable]
            run([*command, "--out-dir", str(out), str(ROOT / each.folder)], env={"SOURCE_DATE_EPOCH": epoch})
    (out / ".gitignore").unlink(missing_ok=True)


def _describe(each: PythonDistribution, found: Sequence[PythonDistribution], out: Path) -> None:
    """The bill of materials and the licenses of what an image of a distribution holds."""
    names = {name for part in (each.name, *BESIDE.get(each.folder, ())) for name in closure(part, found)}
    wheels = [file for name in sorted(names) for file in out.glob(f"{name.replace('-', '_')}-*.whl")]
    folder = OUT / "environments" / each.folder
    with step(print_line, f"describe {each.name}"):
        python = _environment(folder, each.folder, wheels)
        target = out / f"{each.name}-{each.version}"
        tools = TOOLS / "bin"
        bill = Path(f"{target}.cdx.json")
        run(
            [
                str(tools / "cyclonedx-py"),
                "environment",
                "--output-reproducible",
                f"--pyproject={ROOT / each.folder / 'pyproject.toml'}",
                f"--output-file={bill}",
                str(python),
            ]
        )
        bill.write_text(portable(bill.read_text(), out))
        run(
            [
                str(tools / "pip-licenses"),
                f"--python={python}",
                "--format=markdown",
                "--order=license",
                f"--output-file={target}.licenses.md",
            ]
        )


def resolution(lock: str, architecture: str, folder: Path) -> list[str]:
    """Returns the argv that finds a wheel of each package of a lock for an architecture. Installs none."""
    install = [str(UV), "pip", "install", "--dry-run", "--quiet", "--python-version", "3.11"]
    install += ["--python-platform", PLATFORMS[architecture], "--only-binary", ":all:"]
    return [*install, "--target", str(folder), "--require-hashes", "-r", f"requirements/{lock}.lock"]


def _resolve() -> None:
    """Checks that both images can be built for every architecture. Raises TestbedError."""
    for architecture in PLATFORMS:
        with step(print_line, f"wheels for {architecture}"):
            for lock in LOCKS:
                run(resolution(lock, architecture, OUT / "none"), cwd=ROOT)


def _images(version: str, out: Path) -> None:
    run([sys.executable, "-m", "testbed.cli", "build"], cwd=ROOT)
    digests = {}
    for name in IMAGES:
        [image] = Layout.of_checkout(ROOT).images.glob(f"{name}-*.oci.tar")
        shutil.copyfile(image, out / f"edge-{name}-{version}.oci.tar")
        digests[name] = image_list.digest_of(image)
    (out / "digests.yaml").write_text(image_list.pinned(digests))


def release(*, images: bool) -> Iterator[str]:
    """Builds everything; yields the lines of the report. Raises TestbedError."""
    version, found = distributions(ROOT)
    text = notes((ROOT / "CHANGELOG.md").read_text(), version, datetime.datetime.now(datetime.UTC).date())
    shutil.rmtree(OUT, ignore_errors=True)
    out = OUT / "files"
    out.mkdir(parents=True)
    _build(found, out)
    _environment(TOOLS, "release")
    for each in found:
        if (ROOT / "requirements" / f"{each.folder}.lock").exists():
            _describe(each, found, out)
    shutil.rmtree(OUT / "environments", ignore_errors=True)
    _resolve()
    archive.packed(CHART, out)
    (out / "images.txt").write_text("".join(f"{each}\n" for each in image_list.references(version)))
    if images:
        _images(version, out)
    files = sorted(out.iterdir())
    (out / "SHA256SUMS").write_text(checksums(files))
    (OUT / "tag.md").write_text(text)
    yield from (f"{file.stat().st_size:>12,}  {file.relative_to(ROOT)}" for file in files)
    yield f"\nText of the tag v{version} ({(OUT / 'tag.md').relative_to(ROOT)}):\n\n{text}"
    # Without --cleanup, git takes the headings for comments.
    command = f"git tag -a v{version} --cleanup=whitespace -F {(OUT / 'tag.md').relative_to(ROOT)}"
    yield f"Nothing was tagged or uploaded. To tag: {command}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if a part cannot be built."""
    parser = argparse.ArgumentParser(prog="python -m testbed.release", description=__doc__)
    parser.add_argument("--images", action="store_true", help="also build the container images (needs root)")
    try:
        for line in release(images=parser.parse_args(arguments).images):
            print(line)
    except TestbedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
