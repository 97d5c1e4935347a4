"""The plots of the report, one column per mode: latency, bandwidth, exit and cut over time."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from demo.phases import CUT
from demo.plot_styles import add_style
from demo.reports import DemoResult, ModeResult
from demo.statistics import RequestResult

COLORS = ("#3987e5", "#d95926", "#199e70", "#c98500", "#d55181", "#9085e9", "#6da7ec", "#7a7a70")
SET_COLOR, FAILED_COLOR, SLO_COLOR = "#8a8a84", "#e34948", "#e34948"
ROWS = ("latency (ms)", "link (Mbit/s)", "exit", "cut")
LEAST_MBPS = 0.05


def nodes_of(result: DemoResult) -> list[str]:
    """Returns the entry nodes by name, so that a node has the same color in every plot."""
    return sorted({result.node for mode in result.modes for result in mode.results})


def figure(result: DemoResult) -> go.Figure:
    """Returns the plots over seconds since the mode began; a request is plotted at the time it was sent."""
    columns = max(1, len(result.modes))
    plot = make_subplots(
        rows=len(ROWS),
        cols=columns,
        shared_xaxes=True,
        shared_yaxes="rows",
        row_heights=[0.36, 0.28, 0.18, 0.18],
        vertical_spacing=0.035,
        horizontal_spacing=0.02,
        column_titles=[mode.mode for mode in result.modes],
    )
    nodes = nodes_of(result)
    colors = {node: COLORS[index % len(COLORS)] for index, node in enumerate(nodes)}
    for column, mode in enumerate(result.modes, 1):
        if mode.phases:
            add_mode(plot, column, mode, colors, result.slo_seconds)
    for row, title in enumerate(ROWS, 1):
        plot.update_yaxes(title_text=title, row=row, col=1)
    plot.update_yaxes(type="log", dtick=1, row=1)
    plot.update_yaxes(type="log", dtick=1, row=2)
    plot.update_yaxes(type="category", categoryorder="array", categoryarray=exits(result), row=3)
    plot.update_yaxes(type="category", categoryorder="array", categoryarray=cuts(result), row=4)
    plot.update_xaxes(title_text="seconds", row=len(ROWS))
    add_style(plot, height=1040, legend_y=1.07)
    return plot


def exits(result: DemoResult) -> list[str]:
    """Returns the exits of the responses, by name."""
    return sorted({a.exit for mode in result.modes for a in mode.results if a.exit})


def cuts(result: DemoResult) -> list[str]:
    """Returns the used cuts: `local` lowest, then by name."""
    found = {a.cut for mode in result.modes for a in mode.results if a.cut}
    return sorted(found, key=lambda cut: (cut != "local", cut))


def add_mode(
    plot: go.Figure, column: int, mode: ModeResult, colors: dict[str, str], slo_seconds: float
) -> None:
    """Adds one mode's traces to its column; only the first column has a legend."""
    zero = mode.phases[0].began
    first = column == 1
    for index, (node, color) in enumerate(colors.items()):
        results = sorted((a for a in mode.results if a.node == node), key=lambda a: a.sent)
        answered = [a for a in results if not a.failed]
        at = [a.sent - zero for a in answered]
        shared = {"legendgroup": node, "name": node}
        marks = {"color": color, "size": 5, "opacity": 0.75}
        plot.add_scatter(
            x=at,
            y=[a.latency * 1e3 for a in answered],
            mode="markers",
            marker=marks,
            showlegend=first,
            text=[f"{a.exit}@{a.cut}" for a in answered],
            hovertemplate="%{y:.0f} ms at %{x:.1f} s, %{text}",
            row=1,
            col=column,
            **shared,
        )
        samples = [s for s in mode.link if s.node == node]
        plot.add_scatter(
            x=[s.at - zero for s in samples],
            y=[max(s.bps / 1e6, LEAST_MBPS) if s.bps else None for s in samples],
            mode="lines+markers",
            line={"color": color, "width": 1.5},
            marker={"size": 4},
            showlegend=False,
            hovertemplate="%{y:.3g} Mbit/s measured at %{x:.1f} s",
            row=2,
            col=column,
            **shared,
        )
        for row, values in ((3, [a.exit for a in answered]), (4, [a.cut for a in answered])):
            plot.add_scatter(
                x=at,
                y=values,
                mode="lines+markers",
                # Nodes often coincide: later ones are thinner and on top, so that all are visible.
                line={"color": color, "width": max(1.5, 6 - 2 * index), "shape": "hv"},
                marker={"size": 3},
                showlegend=False,
                hovertemplate="%{y} at %{x:.1f} s",
                row=row,
                col=column,
                **shared,
            )
    add_failed(plot, column, [a for a in mode.results if a.failed], zero)
    add_link_as_set(plot, column, mode, zero, first=first)
    plot.add_hline(
        y=slo_seconds * 1e3, line={"color": SLO_COLOR, "width": 1, "dash": "dot"}, row=1, col=column
    )


def add_failed(plot: go.Figure, column: int, failed: Sequence[RequestResult], zero: float) -> None:
    """Adds a cross for each request without a response, at the time when it failed."""
    plot.add_scatter(
        x=[a.sent - zero for a in failed],
        y=[a.latency * 1e3 for a in failed],
        mode="markers",
        marker={"color": FAILED_COLOR, "symbol": "x", "size": 7},
        name=f"failed in {plot.layout.annotations[column - 1].text}",
        showlegend=bool(failed),
        text=[a.error or "" for a in failed],
        hovertemplate="failed: %{text}",
        row=1,
        col=column,
    )


def add_link_as_set(plot: go.Figure, column: int, mode: ModeResult, zero: float, *, first: bool) -> None:
    """Adds the link rate as a step line, and a band while it is cut."""
    at: list[float] = []
    rates: list[float | None] = []
    for phase in mode.phases:
        start = phase.began - zero
        rate = phase.phase.link_bps
        at += [start, start + phase.phase.seconds]
        rates += [rate / 1e6 if rate else None] * 2
        if rate == CUT:
            plot.add_vrect(
                x0=start,
                x1=start + phase.phase.seconds,
                fillcolor=SET_COLOR,
                opacity=0.15,
                line_width=0,
                col=column,
            )
    plot.add_scatter(
        x=at,
        y=rates,
        mode="lines",
        line={"color": SET_COLOR, "width": 3},
        name="link as set",
        legendgroup="set",
        showlegend=first,
        hovertemplate="%{y:.3g} Mbit/s set",
        row=2,
        col=column,
    )
