"""The import graph in ARCHITECTURE.md, as Mermaid.

Between distributions, an arrow is an import. Between packages of one distribution, it can also be a chain of
imports through modules outside its packages. Transitive arrows are left out.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = (
    "edge_cli",
    "edge_console",
    "edge_operator",
    "edge_runtime",
    "edge_planning_lab",
    "edge_monitoring",
    "edge_api",
    "edge_planning",
)
_BEGIN, _END = "<!-- imports: written by `make generate` -->\n", "<!-- end of imports -->\n"

Arrows = dict[str, set[str]]


def diagram(packages: Sequence[str] = PACKAGES) -> str:
    """Returns the Mermaid text."""
    graph = grimp.build_graph(*packages, cache_dir=None)
    between: Arrows = {package: set() for package in packages}
    inside: Arrows = {}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            (package, place), (target, at) = _place(module), _place(other)
            if package != target:
                between[package].add(target)
            elif place != at and place and at:
                inside.setdefault(f"{package}.{place}", set()).add(f"{package}.{at}")
    lines = ["flowchart TD"]
    for package in packages:
        folders = sorted(m for m in graph.find_children(package) if graph.find_children(m))
        lines += _box(package, folders, _reduced(_over(inside, folders))) if folders[1:] else [f"  {package}"]
    lines += [f"  {a} --> {b}" for a, b in _sorted(between)]
    return "\n".join(lines) + "\n"


def _place(module: str) -> tuple[str, str]:
    """Returns the distribution's package and the subpackage that contains the module."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def _over(arrows: Arrows, kept: Iterable[str]) -> Arrows:
    """Returns the arrows between the kept nodes, directly or through other nodes."""
    ends = set(kept)
    return {place: _reached(arrows, place, ends) & ends - {place} for place in ends}


def _reached(arrows: Arrows, start: str, ends: Iterable[str] = ()) -> set[str]:
    """Returns the ends that are reachable from a node; no path continues through an end."""
    found: set[str] = set()
    waiting = list(arrows.get(start, ()))
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting += () if place in ends else arrows.get(place, ())
    return found


def _reduced(arrows: Arrows) -> Arrows:
    """Returns the transitive reduction: the fewest arrows with the same reachability."""
    left = {place: set(others) for place, others in arrows.items()}
    for place, other in _sorted(arrows):
        left[place].discard(other)
        if other not in _reached(left, place):
            left[place].add(other)
    return left


def _sorted(arrows: Arrows) -> list[tuple[str, str]]:
    return sorted((place, other) for place, others in arrows.items() for other in others)


def _box(package: str, folders: Sequence[str], arrows: Arrows) -> list[str]:
    names = [f"    {_id(folder)}[{folder.rpartition('.')[2]}]" for folder in folders]
    return [
        f"  subgraph {package}",
        *names,
        *(f"    {_id(a)} --> {_id(b)}" for a, b in _sorted(arrows)),
        "  end",
    ]


def _id(module: str) -> str:
    return module.replace(".", "__")


def written(page: str) -> str:
    """Returns the page with the current diagram."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n```mermaid\n{diagram()}```\n\n{_END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the diagram into the page, or compares it with --check; returns 1 if it differs."""
    parser = argparse.ArgumentParser(prog="python -m testbed.import_graph", description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", default=ROOT / "ARCHITECTURE.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page differs")
    options = parser.parse_args(arguments)
    page = options.page.read_text()
    text = written(page)
    if options.check and text != page:
        print(f"{options.page}: the import graph is out of date: run `make generate`", file=sys.stderr)
        return 1
    if not options.check:
        options.page.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
