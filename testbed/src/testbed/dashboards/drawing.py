"""A dashboard with its data as an HTML page, in the manner of Grafana's dark theme. Pure."""

from __future__ import annotations

import html
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.dashboards.reading import Document, named, panels

COLUMN, ROW, GAP = 60, 36, 8
"""Pixels of a column and of a row of the grid, and between panels."""
WIDTH = 24 * COLUMN + GAP
_COLORS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#5794f2", "#ffa6b0", "#96d98d")
_NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#8ab8ff"}
_STYLE = """
* { box-sizing: border-box }
body { margin: 0; background: #111217; color: #ccccdc; font: 13px "Inter", "DejaVu Sans", sans-serif }
h1 { position: absolute; left: 12px; top: 2px; font-size: 18px; font-weight: 600 }
.chosen { position: absolute; right: 12px; top: 14px; color: #8e8e9a }
.row { position: absolute; font-size: 15px; font-weight: 600; padding: 8px 4px; left: 8px }
.panel { position: absolute; background: #181b1f; overflow: hidden; padding: 6px 8px;
  border: 1px solid #2c3034; border-radius: 3px }
.panel h3 { margin: 0; font-size: 13px; font-weight: 600; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis }
.number { font-size: 30px; font-weight: 600; text-align: center; margin-top: 28px }
.none { text-align: center; margin-top: 30px; color: #8e8e9a }
.legend { font-size: 11px; line-height: 15px; max-height: 46px; overflow: hidden }
.legend span { margin-right: 10px; white-space: nowrap; display: inline-block }
.legend i { display: inline-block; width: 12px; height: 3px; margin-right: 4px; vertical-align: middle }
table { width: 100%; border-collapse: collapse; margin-top: 6px }
td, th { text-align: left; padding: 5px 8px; border-bottom: 1px solid #2c3034; font-size: 12px }
th { color: #8ab8ff; font-weight: 600 }
text { fill: #8e8e9a; font-size: 10px }
"""
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_STEPS = tuple(60.0 * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440))
_LABELS = 8
"""Most steps between the labels of a time axis."""
_SUFFIXES = {"bps": "b/s", "Bps": "B/s", "bytes": "B", "reqps": " req/s", "ops": " ops/s"}

Series = Mapping[str, Any]


@dataclass(frozen=True)
class Data:
    """What Prometheus returned for the queries of a panel, by their letter."""

    series: Mapping[str, Sequence[Series]]
    start: float
    end: float


def page(dashboard: Document, data: Sequence[Data], chosen: str) -> tuple[str, int]:
    """Returns the page and its height in pixels. data: of each panel. chosen: values of the variables."""
    top, parts, bottom = 44, [], 0
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            y = top + panel["gridPos"]["y"] * ROW
            parts.append(f'<div class="row" style="top:{y}px">{html.escape(panel["title"])}</div>')
    for panel, found in zip(panels(dashboard), data, strict=True):
        place = panel["gridPos"]
        x, y = GAP + place["x"] * COLUMN, top + place["y"] * ROW
        width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        bottom = max(bottom, y + height)
        style = f"left:{x}px;top:{y}px;width:{width}px;height:{height}px"
        inner = _DRAWN[panel["type"]](panel, found, width - 18, height - 34)
        parts.append(
            f'<div class="panel" style="{style}"><h3>{html.escape(panel["title"])}</h3>{inner}</div>'
        )
    head = f'<h1>{html.escape(dashboard["title"])}</h1><div class="chosen">{html.escape(chosen)}</div>'
    return (
        f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>{head}{"".join(parts)}',
        bottom + GAP,
    )


def quantity(value: float, unit: str) -> str:
    """Returns a value as Grafana writes it in a unit."""
    if math.isnan(value):
        return "–"
    match unit:
        case "percentunit":
            return f"{value * 100:.3g}%"
        case "s" if abs(value) < 1:
            return f"{value * 1e3:.3g} ms" if value else "0 s"
        case "s":
            return f"{value:.3g} s"
        case "d":
            return f"{value:.3g} d"
        case "joule":
            return f"{value:.3g} J"
        case "watt":
            return f"{value:.3g} W"
        case "cpm":
            return f"{value:.3g} c/m"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), (1.0, ""))
    suffix = _SUFFIXES.get(unit, "")
    return f"{value / scale:.3g}{f' {prefix}{suffix}' if suffix else prefix}".replace("  ", " ")


def moments(start: float, end: float) -> list[float]:
    """Returns the whole minutes to write at the time axis, at most nine. In seconds, as the ends are."""
    step = next((s for s in _STEPS if (end - start) / s <= _LABELS), end - start)
    first = math.ceil(start / step) * step
    return [first + step * place for place in range(int((end - first) // step) + 1)]


def _color(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    color = "#ccccdc"
    for step in steps:
        if step["value"] is None or value >= step["value"]:
            color = _NAMED.get(step["color"], color)
    return color


def _number(panel: Document, data: Data, width: int, height: int) -> str:
    values = [float(series["value"][1]) for found in data.series.values() for series in found]
    if not values:
        return '<div class="none">No data</div>'
    defaults = panel["fieldConfig"]["defaults"]
    shown = quantity(values[0], defaults.get("unit", ""))
    for mapping in defaults.get("mappings") or ():
        shown = mapping["options"].get(f"{values[0]:g}", {}).get("text", shown)
    color = _color(values[0], defaults["thresholds"]["steps"])
    return f'<div class="number" style="color:{color}">{html.escape(shown)}</div>'


def _table(panel: Document, data: Data, width: int, height: int) -> str:
    organized = panel["transformations"][1]["options"]
    names, places = organized["renameByName"], organized["indexByName"]
    order = sorted(places, key=lambda name: places[name])
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    labels = [name for name in order if name in names and not name.startswith("Value #")]
    for letter, found in data.series.items():
        for series in found:
            key = tuple(series["metric"].get(label, "") for label in labels)
            rows.setdefault(key, {})[names[f"Value #{letter}"]] = float(series["value"][1])
    columns = [names[name] for name in order if name not in labels]
    fields = {
        override["matcher"]["options"]: {each["id"]: each.get("value") for each in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
        if any(each["id"] == "unit" for each in override["properties"])
    }
    by = panel["options"]["sortBy"][0]
    sign = -1 if by.get("desc") else 1
    ordered = sorted(rows.items(), key=lambda each: sign * each[1].get(by["displayName"], math.inf * sign))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in [*(names[one] for one in labels), *columns])
    lines = []
    for key, values in ordered:
        cells = [f"<td>{html.escape(text)}</td>" for text in key]
        for name in columns:
            value, field = values.get(name, math.nan), fields[name]
            color = _color(value, field["thresholds"]["steps"])
            cells.append(f'<td style="color:{color}">{quantity(value, field["unit"])}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if not lines:
        return '<div class="none">No data</div>'
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


@dataclass
class _Line:
    name: str
    points: list[tuple[float, float]]
    color: str
    dashed: bool


def _lines(panel: Document, data: Data) -> list[_Line]:
    patterns = [
        override["matcher"]["options"].strip("/")
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byRegexp"
    ]
    legends = {target["refId"]: target.get("legendFormat", "") for target in panel["targets"]}
    found: list[_Line] = []
    for letter, several in data.series.items():
        for series in several:
            points = [(float(at), float(value)) for at, value in series["values"]]
            finite = [point for point in points if math.isfinite(point[1])]
            name = named(legends[letter], series["metric"])
            dashed = any(re.search(pattern, name) for pattern in patterns)
            found.append(_Line(name, finite, _COLORS[len(found) % len(_COLORS)], dashed))
    return [line for line in found if line.points]


def _graph(panel: Document, data: Data, width: int, height: int) -> str:
    lines = _lines(panel, data)
    if not lines:
        return '<div class="none">No data</div>'
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom") or {}
    stacked = (custom.get("stacking") or {}).get("mode") == "normal"
    drawn = _stacked(lines) if stacked else [(line, line.points, None) for line in lines]
    most = max(value for _, points, _ in drawn for _, value in points)
    top = min(defaults.get("max", math.inf), most * 1.08) if most else defaults.get("max", 1.0)
    top = _rounded(top, defaults.get("max", math.inf))
    left, base = 58, height - 62
    unit = defaults.get("unit", "")

    def across(moment: float) -> float:
        return left + (moment - data.start) / (data.end - data.start) * (width - left - 6)

    def at(point: tuple[float, float]) -> str:
        return f"{across(point[0]):.1f},{base - min(point[1] / top, 1.0) * (base - 8):.1f}"

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = base - share * (base - 8)
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#2c3034"/>')
        label = quantity(share * top, unit)
        parts.append(f'<text x="{left - 6}" y="{y + 3:.1f}" text-anchor="end">{label}</text>')
    for moment in moments(data.start, data.end):
        label = time.strftime("%H:%M", time.gmtime(moment))
        x = min(across(moment), width - 16)  # so that the last label is on the picture
        parts.append(f'<text x="{x:.0f}" y="{base + 14}" text-anchor="middle">{label}</text>')
    for line, points, below in drawn:
        path = " ".join(at(point) for point in points)
        if below is not None and not line.dashed:
            area = " ".join([path, *(at(point) for point in reversed(below))])
            parts.append(f'<polygon points="{area}" fill="{line.color}" opacity="0.3"/>')
        dash = ' stroke-dasharray="7 5"' if line.dashed else ""
        if len(points) == 1:
            cx, cy = path.split(",")
            parts.append(f'<circle cx="{cx}" cy="{cy}" r="2" fill="{line.color}"/>')
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="1.4"{dash}/>'
        )
    legend = "".join(
        f'<span><i style="background:{line.color}"></i>{html.escape(line.name)}</span>' for line in lines
    )
    picture = f'<svg width="{width}" height="{base + 18}">{"".join(parts)}</svg>'
    return f'{picture}<div class="legend">{legend}</div>'


def _stacked(
    lines: Sequence[_Line],
) -> list[tuple[_Line, list[tuple[float, float]], list[tuple[float, float]]]]:
    heights: dict[float, float] = {}
    found: list[tuple[_Line, list[tuple[float, float]], list[tuple[float, float]]]] = []
    for line in lines:
        if line.dashed:
            found.append((line, line.points, line.points))
            continue
        below = [(moment, heights.get(moment, 0.0)) for moment, _ in line.points]
        for moment, value in line.points:
            heights[moment] = heights.get(moment, 0.0) + value
        found.append((line, [(moment, heights[moment]) for moment, _ in line.points], below))
    return found


def _rounded(value: float, most: float) -> float:
    """Returns a top of the scale whose quarters have few digits, at most `most`."""
    power = 10.0 ** math.floor(math.log10(value))
    step = next(s for s in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 4.8, 6, 8, 10) if s * power >= value * 0.999)
    return min(step * power, most)


_DRAWN = {"stat": _number, "table": _table, "timeseries": _graph}
