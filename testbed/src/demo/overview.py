"""The demo's result in the README: the picture and the table of one committed run.

`python -m demo.overview build/demo/report.json` commits the result of another run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from demo.formatting import MODE_COLUMNS, mode_cells
from demo.reports import score

ROOT: Final = Path(__file__).resolve().parents[3]
RESULT, PICTURE, PAGE = "docs/images/demo.json", "docs/images/demo.svg", "README.md"
MODES: Final = {
    "Auto": "exit and cut by the measured bandwidth",
    "CloudOnly": "send the input, run the full model in Triton",
    "LocalOnly": "run the full model on the node",
    "RightSizingOnly": "run the best exit that the node finishes in time",
}
_BEGIN: Final = "<!-- demo: written by `make generate` from docs/images/demo.json -->\n"
_END: Final = "<!-- end of the demo's result -->\n"
_KEPT: Final = ("requests", "failed", "slo_attainment", "accuracy", "p50_s", "p95_s")
_BARS: Final = {"SLO attainment": "#6da7ec", "accuracy": "#c9c9c4", "attainment x accuracy": "#d95926"}

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
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_WIDTH} {bottom + 26}",
            "width": str(_WIDTH),
            "height": str(bottom + 26),
            "font-family": "system-ui, sans-serif",
            "font-size": "13",
            "role": "img",
            "aria-labelledby": "t",
        },
    )
    title = ElementTree.SubElement(svg, "title", {"id": "t"})
    title.text = "make demo: SLO attainment, accuracy and their product for each mode"
    _draw(svg, "rect", width=_WIDTH, height=bottom + 26, fill="#ffffff")
    for x, (name, color) in zip((0, 142, 236), _BARS.items(), strict=True):
        _draw(svg, "rect", x=_LEFT + x, y=16, width=_BAR, height=_BAR, fill=color)
        _draw(svg, "text", name, x=_LEFT + x + 18, y=27, fill="#333333")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = _LEFT + _SCALE * share
        _draw(svg, "line", x1=at, x2=at, y1=_TOP, y2=bottom, stroke="#e4e4e0")
        anchor = {"text-anchor": "middle", "fill": "#666666", "font-size": "11"}
        _draw(svg, "text", f"{share:g}", x=at, y=bottom + 16, **anchor)
    for number, name in enumerate(order):
        _draw_mode(svg, name, modes[name], _TOP + _GROUP * number, bold=number == 0)
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _draw_mode(svg: ElementTree.Element, name: str, mode: Mapping[str, Any], y: int, *, bold: bool) -> None:
    weight = {"font-weight": "bold"} if bold else {}
    _draw(svg, "text", name, x=_LEFT - 12, y=y + 32, fill="#222222", **{"text-anchor": "end"}, **weight)
    values = (mode["slo_attainment"], mode["accuracy"], score(mode))
    labels = mode_cells(name, mode)[_MET:]
    for row, (value, color) in enumerate(zip(values, _BARS.values(), strict=True)):
        top, end = y + 6 + _STEP * row, _LEFT + _SCALE * value
        _draw(svg, "rect", x=_LEFT, y=top, width=_SCALE * value, height=_BAR, fill=color)
        _draw(svg, "text", labels[row], x=end + 6, y=top + 10, fill="#333333", **{"font-size": "11"})


def _draw(svg: ElementTree.Element, kind: str, text: str | None = None, **attributes: float | str) -> None:
    written = {key: a if isinstance(a, str) else f"{a:.6g}" for key, a in attributes.items()}
    ElementTree.SubElement(svg, kind, written).text = text


def written(page: str, result: Mapping[str, Any]) -> str:
    """Returns the page with the table between its markers."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table(result)}\n{_END}{after}"


def files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yields the files that are made from the committed result, with their text."""
    result = json.loads((root / RESULT).read_text())
    yield root / PICTURE, picture(result)
    yield root / PAGE, written((root / PAGE).read_text(), result)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files, or compares them with --check; returns 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m demo.overview", description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", help="report.json of a run to commit")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    options = parser.parse_args(arguments)
    if options.report is not None:
        chosen = summary(json.loads(options.report.read_text()))
        (options.root / RESULT).write_text(json.dumps(chosen, indent=2) + "\n")
    different = [(path, text) for path, text in files(options.root) if _read(path) != text]
    for path, text in different:
        if options.check:
            print(f"{path}: differs from {RESULT}: run `make generate`", file=sys.stderr)
        else:
            path.write_text(text)
    return int(options.check and bool(different))


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    raise SystemExit(main())
