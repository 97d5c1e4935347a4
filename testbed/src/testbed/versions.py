"""Keeps the version of every distribution and of the chart equal to that in the root's pyproject.toml.

`python -m testbed.versions` writes it to the other files, `--check` only compares.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
_PROJECT = re.compile(r'(?m)(^version = "|"edge-[a-z]+(?:\[[a-z,]+\])?==)[^"]*')
_CHART = re.compile(r"(?m)^(version: |appVersion: )\S+")


def version(root: Path = ROOT) -> str:
    """Returns the version in the root's pyproject.toml."""
    return str(_root(root)["project"]["version"])


def outdated(root: Path = ROOT) -> dict[Path, str]:
    """Returns the files with another version, and their correct content."""
    places = {
        root / name / "pyproject.toml": _PROJECT for name in _root(root)["tool"]["uv"]["workspace"]["members"]
    }
    places[root / "charts" / "edge-intelligence" / "Chart.yaml"] = _CHART
    current = version(root)
    texts = {path: pattern.sub(rf"\g<1>{current}", path.read_text()) for path, pattern in places.items()}
    return {path: text for path, text in texts.items() if text != path.read_text()}


def _root(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the version, or compares it with --check; returns 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m testbed.versions", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a version differs"
    )
    check = parser.parse_args(arguments).check
    files = outdated()
    for path, text in files.items():
        if check:
            print(f"{path.relative_to(ROOT)}: not version {version()}: run `make generate`", file=sys.stderr)
        else:
            path.write_text(text)
    return 1 if check and files else 0


if __name__ == "__main__":
    raise SystemExit(main())
