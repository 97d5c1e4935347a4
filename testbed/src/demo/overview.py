"""The demo's results in the README: the pictures, the table and the sentences of committed runs.

`python -m demo.overview build/demo/report.json` replaces the results of the acts that the run completed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from demo.formatting import MODE_COLUMNS, mode_cells
from demo.reports import score
from demo.sharing import picture as sharing_picture
from demo.sharing.summaries import sentences
from demo.svg import AXIS, END, MIDDLE, canvas, draw, text_of

ROOT: Final = Path(__file__).resolve().parents[3]
RESULT, PICTURE, PAGE = "docs/images/demo.json", "docs/images/demo.svg", "README.md"
TENANTS_RESULT, TENANTS_PICTURE = "docs/images/demo-tenants.json", "docs/images/demo-tenants.svg"
MODES: Final = {
    "Auto": "exit and cut by the measured bandwidth",
    "CloudOnly": "send the input, run the full model in Triton",
    "LocalOnly": "run the full model on the node",
    "RightSizingOnly": "run the best exit that the node finishes in time",
}
_BEGIN: Final = "<!-- demo: written by `make generate` from docs/images/demo.json -->\n"
_END: Final = "<!-- end of the demo's result -->\n"
_TENANTS_BEGIN: Final = "<!-- tenants: written by `make generate` from docs/images/demo-tenants.json -->\n"
_TENANTS_END: Final = "<!-- end of the tenants' result -->\n"
_KEPT: Final = ("requests", "failed", "slo_attainment", "accuracy", "p50_s", "p95_s")
_BARS: Final = {"SLO attainment": "#6da7ec", "accuracy": "#c9c9c4", "attainment x accuracy": "#d95926"}

_NUMBERS: Final = re.compile(r"\[[^\[\]{}]*\]")  # lists, one number a line

_MET: Final = MODE_COLUMNS.index("SLO met")  # the first of the columns of which the picture has bars
_PRODUCT: Final = _MET + len(_BARS) - 1

# Of the picture, in pixels.
_WIDTH, _LEFT, _SCALE, _TOP = 760, 150, 520, 46
_BAR, _STEP, _GROUP = 12, 14, 57


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of report.json that the README shows."""
    modes = {name: {key: report["modes"][name][key] for key in _KEPT} for name in MODES}
    return {"modes": modes, "slo_s": report["slo_s"]}


def table(result: Mapping[str, Any]) -> str:
    """Returns the table in Markdown; the best product is bold."""
    modes = result["modes"]
    best = max(modes, key=lambda name: score(modes[name]))
    rows = [
        MODE_COLUMNS,
        ("---",) * len(MODE_COLUMNS),
        *(_row(name, modes[name], best=name == best) for name in MODES),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, mode: Mapping[str, Any], *, best: bool) -> tuple[str, ...]:
    cells = mode_cells(name, mode)
    bold = {0, _PRODUCT} if best else set()
    marked = [f"**{cell}**" if column in bold else cell for column, cell in enumerate(cells)]
    return f"{marked[0]}: {MODES[name]}", *marked[1:]


def picture(result: Mapping[str, Any]) -> str:
    """Returns the bars of each mode as SVG, the best product first."""
    modes = result["modes"]
    order = sorted(modes, key=lambda name: -score(modes[name]))
    bottom = _TOP + _GROUP * len(order)
    title = "make demo: SLO attainment, accuracy and their product for each mode"
    svg = canvas(_WIDTH, bottom + 26, title)
    for x, (name, color) in zip((0, 142, 236), _BARS.items(), strict=True):
        draw(svg, "rect", x=_LEFT + x, y=16, width=_BAR, height=_BAR, fill=color)
        draw(svg, "text", name, x=_LEFT + x + 18, y=27, fill="#333333")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = _LEFT + _SCALE * share
        draw(svg, "line", x1=at, x2=at, y1=_TOP, y2=bottom, stroke="#e4e4e0")
        draw(svg, "text", f"{share:g}", x=at, y=bottom + 16, **MIDDLE, **AXIS)
    for number, name in enumerate(order):
        _draw_mode(svg, name, modes[name], _TOP + _GROUP * number, bold=number == 0)
    return text_of(svg)


def _draw_mode(svg: ElementTree.Element, name: str, mode: Mapping[str, Any], y: int, *, bold: bool) -> None:
    weight = {"font-weight": "bold"} if bold else {}
    draw(svg, "text", name, x=_LEFT - 12, y=y + 32, fill="#222222", **END, **weight)
    values = (mode["slo_attainment"], mode["accuracy"], score(mode))
    labels = mode_cells(name, mode)[_MET:]
    for row, (value, color) in enumerate(zip(values, _BARS.values(), strict=True)):
        top, end = y + 6 + _STEP * row, _LEFT + _SCALE * value
        draw(svg, "rect", x=_LEFT, y=top, width=_SCALE * value, height=_BAR, fill=color)
        draw(svg, "text", labels[row], x=end + 6, y=top + 10, fill="#333333", font_size="11")


def between(page: str, begin: str, text: str, end: str) -> str:
    """Returns the page with this text between two markers."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


def files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yields the files that are made from the committed results, with their text."""
    result, tenants = (json.loads((root / name).read_text()) for name in (RESULT, TENANTS_RESULT))
    yield root / PICTURE, picture(result)
    yield root / TENANTS_PICTURE, sharing_picture.picture(tenants)
    page = between((root / PAGE).read_text(), _BEGIN, table(result), _END)
    told = "".join(f"- {sentence}.\n" for sentence in sentences(tenants))
    yield root / PAGE, between(page, _TENANTS_BEGIN, told, _TENANTS_END)


def committed(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the files to commit for the acts that a run completed, with their text."""
    if all("error" not in report["modes"].get(name, {"error": ""}) for name in MODES):
        yield RESULT, json.dumps(summary(report), indent=2) + "\n"
    tenants = report.get("tenants")
    if tenants and "error" not in tenants:
        yield TENANTS_RESULT, _NUMBERS.sub(_on_a_line, json.dumps(tenants, indent=2)) + "\n"


def _on_a_line(numbers: re.Match[str]) -> str:
    return " ".join(numbers[0].split()).replace("[ ", "[").replace(" ]", "]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files, or compares them with --check; returns 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m demo.overview", description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", help="report.json of a run to commit")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    options = parser.parse_args(arguments)
    if options.report is not None:
        for name, text in committed(json.loads(options.report.read_text())):
            (options.root / name).write_text(text)
    different = [(path, text) for path, text in files(options.root) if _read(path) != text]
    for path, text in different:
        if options.check:
            print(f"{path}: differs from the committed results: run `make generate`", file=sys.stderr)
        else:
            path.write_text(text)
    return int(options.check and bool(different))


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    raise SystemExit(main())
