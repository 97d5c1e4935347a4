"""Runs and comparisons as SVG; the same input gives the same bytes."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edge_planning_lab.simulation.records import RequestOutcome, SimulationRun

SETTINGS: Any = {
    "svg.hashsalt": "edge-planning",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e")
OUTCOMES = {
    RequestOutcome.IN_TIME: ("in time", "#3ca951"),
    RequestOutcome.LATE: ("late", "#efb118"),
    RequestOutcome.GIVEN_UP: ("given up", "#ff725c"),
    RequestOutcome.LOST: ("lost", "#9498a0"),
}
FALLBACK = "#4269d0"


def timeline(run: SimulationRun, stream: int = 0) -> str:
    """Plots bandwidth, decision and outcome of a stream's requests over time."""
    spec = run.scenario.streams[stream]
    uplink = next(link for link in run.scenario.uplinks if link.name == spec.uplink)
    records = run.records.of(stream)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(7.5, 5.0), layout="constrained")
        above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1.5, 2))
        moments = np.linspace(0.0, float(records.arrived.max(initial=1.0)), 400)
        rates = [uplink.bandwidth.rate(float(moment)) / 1e6 for moment in moments]
        above.step(moments, rates, where="post", color="black", linewidth=0.8)
        above.set(ylabel="Mbit/s", title=f"{spec.policy.name}, {1e3 * spec.options.deadline:g} ms")
        used = [i for i in range(len(spec.options)) if bool((records.choice == i).any())]
        places = [used.index(i) if i in used else -1 for i in records.choice.tolist()]
        middle.plot(records.arrived, places, "s", markersize=2.5, color="#4269d0")
        middle.set_yticks(range(len(used)), [spec.options.names[i] for i in used])
        middle.set_ylim(-0.5, max(len(used), 1) - 0.5)
        _latencies(below, run, stream)
    return _svg(figure)


def _latencies(axes: Axes, run: SimulationRun, stream: int) -> None:
    records, deadline = run.records.of(stream), run.scenario.streams[stream].options.deadline
    latency = np.where(np.isnan(records.latency), deadline * 1.1, records.latency)
    stood_in = (records.by >= 0) & (records.by != records.choice)
    for outcome, (label, colour) in OUTCOMES.items():
        chosen = (records.outcome == outcome) & ~stood_in
        if chosen.any():
            axes.plot(records.arrived[chosen], 1e3 * latency[chosen], ".", ms=4, color=colour, label=label)
    if stood_in.any():
        values = 1e3 * latency[stood_in]
        axes.plot(records.arrived[stood_in], values, ".", ms=4, color=FALLBACK, label="by the fallback")
    axes.axhline(1e3 * deadline, color="black", linewidth=0.6, linestyle="--")
    axes.set(ylabel="ms", xlabel="s", ylim=(0, None))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def comparison(by_deadline: Mapping[float, Mapping[str, Sequence[float]]], names: Sequence[str]) -> str:
    """Plots misses and utility by deadline in ms; by_deadline[deadline][policy] is (attainment, utility)."""
    deadlines = sorted(by_deadline)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, name in enumerate(names):
            style: dict[str, Any] = {
                "color": COLOURS[place % len(COLOURS)],
                "linewidth": 1.2,
                "marker": ".",
                "ms": 4,
            }
            if name == "oracle":
                style |= {"color": "black", "linestyle": ":"}
            missed = [100 * (1 - by_deadline[d][name][0]) for d in deadlines]
            left.plot(deadlines, missed, label=name, **style)
            right.plot(deadlines, [by_deadline[d][name][1] for d in deadlines], label=name, **style)
        left.set(xlabel="deadline, ms", ylabel="missed, %")
        right.set(xlabel="deadline, ms", ylabel="utility")
        right.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=7)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    out = StringIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
