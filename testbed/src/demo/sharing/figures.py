"""The plots of the second act in the report, one column per tenant: rate, latency and exit over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from demo.plot_styles import add_style
from demo.sharing.picture import COLORS, NAMES
from demo.sharing.results import SharingResult
from demo.sharing.summaries import BIN_SECONDS, series
from demo.statistics import RequestResult

ROWS = ("requests/s", "latency (ms)", "exit")
REFUSED, LOST = "refused", "lost"
BAND_COLOR, SLO_COLOR = "#8a8a84", "#8a8a84"


def figure(result: SharingResult) -> go.Figure:
    """Returns the plots over seconds since the first phase began; shaded: one tenant sends too much."""
    terms = result.terms
    plot = make_subplots(
        rows=len(ROWS),
        cols=len(terms.tenants),
        shared_xaxes=True,
        shared_yaxes="rows",
        row_heights=[0.3, 0.4, 0.3],
        vertical_spacing=0.04,
        horizontal_spacing=0.03,
        column_titles=list(terms.tenants),
    )
    for column, tenant in enumerate(terms.tenants, 1):
        add_tenant(plot, column, tenant, result)
    for row, title in enumerate(ROWS, 1):
        plot.update_yaxes(title_text=title, row=row, col=1)
    lanes = [*terms.exits, REFUSED, LOST]
    plot.update_yaxes(type="category", categoryorder="array", categoryarray=lanes, row=3)
    plot.update_xaxes(title_text="seconds", row=len(ROWS))
    add_style(plot, height=800, legend_y=1.1)
    plot.update_layout(barmode="stack", bargap=0.05)
    return plot


def kind(result: RequestResult, exits: Sequence[str]) -> str:
    """Returns the outcome of a request: a key of NAMES."""
    if result.failed:
        return "refused" if result.refused else "lost"
    return "full" if result.exit == exits[-1] else "cheaper"


def add_tenant(plot: go.Figure, column: int, tenant: str, result: SharingResult) -> None:
    """Adds one tenant's traces to its column; only the first column has a legend."""
    terms = result.terms
    zero = result.phases[0].began
    results = sorted(result.results(tenant), key=lambda each: each.sent)
    counts = series(results, terms, zero)
    for name, color in COLORS.items():
        of: list[RequestResult] = [each for each in results if kind(each, terms.exits) == name]
        shared: dict[str, Any] = {"legendgroup": name, "name": NAMES[name], "col": column}
        plot.add_bar(
            x=[BIN_SECONDS * (number + 0.5) for number in range(len(counts[name]))],
            y=[count / BIN_SECONDS for count in counts[name]],
            marker={"color": color, "line": {"width": 0}},
            showlegend=column == 1,
            hovertemplate="%{y:.1f} requests/s",
            row=1,
            **shared,
        )
        at = [each.sent - zero for each in of]
        for row, values in (
            (2, [each.latency * 1e3 for each in of]),
            (3, [each.exit or name for each in of]),
        ):
            plot.add_scatter(
                x=at,
                y=values,
                mode="markers",
                marker={"color": color, "size": 5, "symbol": "x" if name in (REFUSED, LOST) else "circle"},
                showlegend=False,
                text=[each.error or f"{each.exit} at {each.node}" for each in of],
                hovertemplate="%{y} at %{x:.1f} s, %{text}",
                row=row,
                **shared,
            )
    plot.add_hline(
        y=terms.slo * 1e3, line={"color": SLO_COLOR, "width": 1.5, "dash": "dash"}, row=2, col=column
    )
    for phase in result.phases:
        if phase.phase.noisy:
            start = phase.began - zero
            plot.add_vrect(
                x0=start,
                x1=start + phase.phase.seconds,
                fillcolor=BAND_COLOR,
                opacity=0.15,
                line_width=0,
                col=column,
            )
