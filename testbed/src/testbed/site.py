"""Builds the documentation's site from the repository's pages: the program behind `make docs`.

Pages keep their places, so that a relative link leads to the same page on the site and in the repository.
Files that pages link to, such as pictures and manifests, are copied with them.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "build" / "site" / "pages"
_LINK = re.compile(r"\]\(<?([^)#>\s]+)[^)]*\)|<img[^>]*\ssrc=\"([^\"]+)\"")
# Of no interest to readers of the site.
_LEFT_OUT = ("tests/", ".vale/", ".github/")


def pages(tracked: Iterable[str]) -> list[str]:
    """The repository's Markdown files that are pages of the site."""
    return sorted(name for name in tracked if name.endswith(".md") and not name.startswith(_LEFT_OUT))


def linked(page: str, text: str) -> set[str]:
    """The paths in the repository that a page's relative links lead to."""
    found = set()
    for match in _LINK.finditer(text):
        target = match[1] or match[2]
        if ":" not in target:
            place = os.path.normpath(PurePosixPath(page).parent / target)
            found.add(PurePosixPath(place).as_posix())
    return found


def copy(root: Path, tracked: Sequence[str], target: Path) -> None:
    """Copies the pages, and the tracked files that they link to, into an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    known, wanted = set(tracked), set(pages(tracked))
    for page in list(wanted):
        wanted |= linked(page, (root / page).read_text(encoding="utf-8")) & known
    for name in sorted(wanted):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, place)


def tracked_files(root: Path) -> list[str]:
    """The files of the repository, as git knows them, with those that are not ignored yet to be added."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if name and (root / name).is_file()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the site, or serves it with a preview of changes; returns mkdocs' exit status."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve the site on http://localhost:8000")
    options = parser.parse_args(arguments)
    copy(ROOT, tracked_files(ROOT), PAGES)
    verb = ["serve"] if options.serve else ["build", "--strict", "--clean"]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # a notice of the theme about another program
    status = subprocess.run(
        [sys.executable, "-m", "mkdocs", *verb], cwd=ROOT, env=variables, check=False
    ).returncode
    if status == 0 and not options.serve:
        print(f"site: {ROOT / 'build' / 'site' / 'html' / 'index.html'}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
