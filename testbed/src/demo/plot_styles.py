"""The look that the plots of the report share."""

from __future__ import annotations

import plotly.graph_objects as go  # type: ignore[import-untyped]


def add_style(plot: go.Figure, *, height: int, legend_y: float) -> None:
    """Gives a plot of several panels the report's look. height: in pixels. legend_y: 1 is the top."""
    plot.update_layout(
        height=height,
        margin={"l": 70, "r": 20, "t": 60, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": legend_y, "x": 0},
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8a8a84"},
    )
    plot.update_xaxes(gridcolor="rgba(128,128,128,0.2)", zeroline=False)
    plot.update_yaxes(gridcolor="rgba(128,128,128,0.2)", zeroline=False)
