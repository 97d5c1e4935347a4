"""The picture of the second act as SVG: requests per second and latency of each tenant. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree

from demo.formatting import milliseconds, share
from demo.sharing.summaries import BIN_SECONDS
from demo.svg import AXIS, END, MIDDLE, canvas, draw, text_of

# By outcome of a request, in the order of the bars from below. From the palette of Okabe and Ito, which
# people with any color vision can tell apart.
COLORS: Final = {"full": "#0072B2", "cheaper": "#E69F00", "refused": "#D55E00", "lost": "#000000"}
NAMES: Final = {
    "full": "full model",
    "cheaper": "cheaper exit",
    "refused": "refused (Overloaded)",
    "lost": "no response",
}
_MEDIAN, _BAND, _LINE, _INK, _SLO = "#007a5a", "#f0eef6", "#e4e4e0", "#222222", "#444444"

# In pixels.
_WIDTH, _LEFT, _PANEL, _GAP = 760, 74, 296, 64
_LEGEND, _TITLES = 18, 48
_RATES, _LATENCIES, _HIGH = 84, 238, 118
_TABLE, _ROW = 392, 17
_HEIGHT = 456


def picture(report: Mapping[str, Any]) -> str:
    """Returns the picture of the entry `tenants` of a report."""
    quiet, noisy = report["quiet"], report["noisy"]
    svg = canvas(
        _WIDTH, _HEIGHT, f"make demo: {noisy} sends {report['factor']} times its rate beside {quiet}"
    )
    lost = any(any(report["series"][name]["lost"]) for name in (quiet, noisy))
    _legend(svg, [name for name in COLORS if name != "lost" or lost])
    last = report["phases"][-1]
    seconds = last["began_s"] + last["seconds"]
    titles = {quiet: "sends its declared rate", noisy: f"sends {report['factor']} times its rate"}
    for number, (name, does) in enumerate(titles.items()):
        left = _LEFT + number * (_PANEL + _GAP)
        title = {"font_weight": "bold", "fill": _INK}
        draw(svg, "text", f"{name}: {does}", x=left, y=_TITLES, **title)
        _column(svg, report, name, left, _PANEL / seconds)
    for row, label in enumerate(("within SLO", "accuracy", "refused")):
        draw(svg, "text", label, x=_LEFT - 8, y=_TABLE + _ROW * (row + 1), **END, **AXIS)
    return text_of(svg)


def _legend(svg: ElementTree.Element, names: list[str]) -> None:
    x: float = _LEFT
    for name in names:
        draw(svg, "rect", x=x, y=_LEGEND - 10, width=12, height=12, fill=COLORS[name])
        draw(svg, "text", NAMES[name], x=x + 17, y=_LEGEND, fill=_INK, font_size="12")
        x += 40 + 7 * len(NAMES[name])
    draw(svg, "line", x1=x, x2=x + 14, y1=_LEGEND - 4, y2=_LEGEND - 4, stroke=_MEDIAN, stroke_width=2)
    draw(svg, "circle", cx=x + 24, cy=_LEGEND - 4, r=1.8, fill=_SLO)
    draw(svg, "text", "latency: median, slowest", x=x + 32, y=_LEGEND, fill=_INK, font_size="12")


def _column(
    svg: ElementTree.Element, report: Mapping[str, Any], name: str, left: float, scale: float
) -> None:
    """Draws the panels of a tenant from `left`, with `scale` pixels for each second."""
    series = report["series"][name]
    for phase in report["phases"]:
        start, width = left + scale * phase["began_s"], scale * phase["seconds"]
        if phase["factor"] > 1:
            draw(svg, "rect", x=start, y=_RATES, width=width, height=_TABLE - _RATES + 58, fill=_BAND)
        middle = start + width / 2
        draw(svg, "text", phase["name"], x=middle, y=_RATES - 5, **MIDDLE, **AXIS)
        of = phase["tenants"][name]
        refused = of["refused"] / of["requests"] if of["requests"] else None
        for row, value in enumerate((of["slo_attainment"], of["accuracy"], refused)):
            figure = {"font_size": "11", "fill": _INK}
            draw(svg, "text", share(value), x=middle, y=_TABLE + _ROW * (row + 1), **MIDDLE, **figure)
    rates = [
        sum(counts) / BIN_SECONDS
        for one in report["series"].values()
        for counts in zip(*(one[each] for each in COLORS), strict=True)
    ]
    _rates(svg, series, left, scale, top=max([*rates, 1.0]))
    slowest = [each for one in report["series"].values() for each in one["slowest_s"] if each is not None]
    _latencies(svg, series, left, scale, report["slo_s"], top=max([*slowest, 1.2 * report["slo_s"]]))


def _rates(
    svg: ElementTree.Element, series: Mapping[str, Any], left: float, scale: float, top: float
) -> None:
    high = _HIGH / (1.05 * top)
    bottom = _RATES + _HIGH
    _axis(svg, left, bottom, "requests/s", {f"{value:g}": high * value for value in ticks(top)})
    for number in range(len(series["full"])):
        below = 0.0
        for name, color in COLORS.items():
            if count := series[name][number] / BIN_SECONDS:
                x = left + scale * BIN_SECONDS * number
                y = bottom - high * (below + count)
                width = min(scale * BIN_SECONDS, left + _PANEL - x) - 0.6
                draw(svg, "rect", x=x, y=y, width=max(width, 0.6), height=high * count, fill=color)
                below += count


def _latencies(
    svg: ElementTree.Element, series: Mapping[str, Any], left: float, scale: float, slo: float, *, top: float
) -> None:
    high = _HIGH / (1.05 * top)
    bottom = _LATENCIES + _HIGH
    _axis(svg, left, bottom, "latency (ms)", {f"{1e3 * value:g}": high * value for value in ticks(top)})
    y = bottom - high * slo
    draw(svg, "line", x1=left, x2=left + _PANEL, y1=y, y2=y, stroke=_SLO, stroke_dasharray="5 3")
    halo = {"stroke": "#ffffff", "stroke_width": "3", "paint_order": "stroke"}
    draw(svg, "text", f"SLO {milliseconds(slo)}", x=left + 3, y=y - 4, fill=_SLO, font_size="11", **halo)
    points = []
    for number, (median, slowest) in enumerate(zip(series["median_s"], series["slowest_s"], strict=True)):
        if median is not None:
            x = left + scale * BIN_SECONDS * (number + 0.5)
            points.append(f"{x:.1f},{bottom - high * median:.1f}")
            draw(svg, "circle", cx=x, cy=bottom - high * slowest, r=1.8, fill=_SLO)
    draw(svg, "polyline", points=" ".join(points), fill="none", stroke=_MEDIAN, stroke_width=1.6)
    for second in ticks(_PANEL / scale):
        x = left + scale * second
        draw(svg, "text", f"{second:g}", x=x, y=bottom + 14, **MIDDLE, **AXIS)
    draw(svg, "text", "seconds", x=left + _PANEL / 2, y=bottom + 29, **MIDDLE, **AXIS)


def _axis(
    svg: ElementTree.Element, left: float, bottom: float, title: str, labels: Mapping[str, float]
) -> None:
    """Draws a vertical axis; `labels`: pixels above the bottom by text."""
    for text, above in labels.items():
        draw(svg, "line", x1=left, x2=left + _PANEL, y1=bottom - above, y2=bottom - above, stroke=_LINE)
        draw(svg, "text", text, x=left - 6, y=bottom - above + 4, **END, **AXIS)
    at = f"rotate(-90 {left - 44:.6g} {bottom - _HIGH / 2:.6g})"
    draw(svg, "text", title, x=left - 44, y=bottom - _HIGH / 2, transform=at, **MIDDLE, **AXIS)


def ticks(top: float) -> list[float]:
    """Returns three to six round values from 0 to at most `top`."""
    power = 10.0 ** (len(f"{int(top)}") - 1) if top >= 1 else 0.1
    while top / power > 10:
        power *= 10
    while top / power < 1:
        power /= 10
    step = next(power * part for part in (0.2, 0.5, 1.0, 2.0) if top / (power * part) <= 5)
    return [round(number * step, 10) for number in range(int(top / step) + 1)]
