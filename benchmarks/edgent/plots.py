"""The plots of docs/edgent.md as SVG: text stays text, and the same numbers give the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

INK, MUTED, LINES = "#1f2430", "#6b7280", "#d5d9e0"
NAMED = {
    "device only": ("#c2410c", "device only"),
    "image": ("#1d4ed8", "edge only (cut at the image)"),
    "lrn1": ("#0f766e", "cut behind lrn1"),
    "lrn2": ("#7c3aed", "cut behind lrn2"),
    "pool5": ("#a16207", "cut behind pool5"),
}
"""The named partitions with their colors; all others are thin gray lines."""
DEADLINE_COLOURS = ("#93c5fd", "#3b82f6", "#1e3a8a")
EXIT_COLOURS = ("#ffffff", "#bfdbfe", "#93c5fd", "#60a5fa", "#2563eb", "#1e3a8a")
STYLE: Any = {
    "svg.hashsalt": "edgent",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINES,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}


def draw(found: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """Writes the plots and returns their paths."""
    drawings = {
        "partitions": _partitions,
        "exits": _fastest_by_exit,
        "exit-by-bandwidth": _exit_by_bandwidth,
        "exit-by-deadline": _exit_by_deadline,
        "methods": _methods,
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context(STYLE):
        for name, drawing in drawings.items():
            figure = drawing(found)
            path = folder / f"{name}.svg"
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            plt.close(figure)
            paths.append(path)
    return tuple(paths)


def _panels(found: Mapping[str, Any], key: str, height: float) -> tuple[Figure, list[tuple[Axes, Any]]]:
    """Returns two panels: with the model loaded for each request, and with it kept loaded."""
    figure, axes = plt.subplots(1, 2, figsize=(9.0, height), sharey=True, layout="constrained")
    panels = []
    for axis, (name, data) in zip(axes, found[key].items(), strict=True):
        axis.set_title(f"the device's model {name}")
        panels.append((axis, data))
    return figure, panels


def _bandwidths(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.set_xlim(50e3, 1.5e6)
    axis.set_xticks([50e3, 100e3, 200e3, 500e3, 1e6, 1.5e6])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e3:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("bandwidth in kbit/s")


def _partitions(found: Mapping[str, Any]) -> Figure:
    figure, panels = _panels(found, "partitions", 3.8)
    for axis, curves in panels:
        for tensor, seconds in curves.items():
            if tensor not in NAMED:
                axis.plot(found["bandwidths"], seconds, color=LINES, linewidth=0.7)
        for tensor, (colour, label) in NAMED.items():
            axis.plot(found["bandwidths"], curves[tensor], color=colour, linewidth=1.8, label=label)
        _seconds(axis)
        _bandwidths(axis)
    panels[0][0].set_ylabel("latency of the full model in s")
    panels[1][0].legend(loc="upper right")
    return figure


def _fastest_by_exit(found: Mapping[str, Any]) -> Figure:
    figure, panels = _panels(found, "exits", 3.2)
    for axis, curves in panels:
        for (name, seconds), colour in zip(curves.items(), EXIT_COLOURS[1:], strict=True):
            axis.plot(found["bandwidths"], seconds, color=colour, linewidth=1.8, label=name)
        _seconds(axis)
        _bandwidths(axis)
    panels[0][0].set_ylabel("latency with the fastest cut in s")
    panels[1][0].legend(loc="upper right")
    return figure


def _seconds(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _exits(axis: Axes) -> None:
    axis.set_yticks(range(6), ["none", *(f"exit {number}" for number in range(1, 6))])
    axis.set_ylim(-0.3, 5.3)


def _exit_by_bandwidth(found: Mapping[str, Any]) -> Figure:
    figure, panels = _panels(found, "exit_by_bandwidth", 3.2)
    for axis, by_deadline in panels:
        for shift, (colour, (deadline, exits)) in enumerate(
            zip(DEADLINE_COLOURS, by_deadline.items(), strict=True)
        ):
            raised = [exit_ + 0.07 * (shift - 1) for exit_ in exits]
            label = f"deadline {float(deadline) * 1e3:g} ms"
            axis.step(found["bandwidths"], raised, color=colour, linewidth=1.8, where="post", label=label)
        _bandwidths(axis)
        _exits(axis)
    lines, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside right upper")
    return figure


def _exit_by_deadline(found: Mapping[str, Any]) -> Figure:
    figure, panels = _panels(found, "exit_by_deadline", 3.0)
    milliseconds = [deadline * 1e3 for deadline in found["deadlines"]]
    for axis, exits in panels:
        axis.step(milliseconds, exits, color=DEADLINE_COLOURS[-1], linewidth=1.8, where="post")
        axis.set_xlim(100, 1000)
        axis.set_xlabel("deadline in ms, at 500 kbit/s")
        _exits(axis)
    return figure


def _methods(found: Mapping[str, Any]) -> Figure:
    figure, panels = _panels(found, "methods", 2.9)
    for axis, by_method in panels:
        for row, exits in enumerate(reversed(list(by_method.values()))):
            _row(axis, row, exits)
        axis.set_yticks(range(len(by_method)), reversed(list(by_method)))
        axis.set_xticks(range(10), [f"{100 * column}" for column in range(1, 11)])
        axis.set_xlim(-0.6, 9.6)
        axis.set_ylim(-0.6, len(by_method) - 0.4)
        axis.set_xlabel("deadline in ms, at 400 kbit/s: number of the exit, or missed")
        axis.grid(visible=False)
        axis.tick_params(length=0)
    return figure


def _row(axis: Axes, row: int, exits: Sequence[int]) -> None:
    for column, exit_ in enumerate(exits):
        face = EXIT_COLOURS[exit_]
        axis.add_patch(Rectangle((column - 0.45, row - 0.4), 0.9, 0.8, facecolor=face, edgecolor=LINES))
        colour = MUTED if not exit_ else "#ffffff" if exit_ >= 3 else INK
        axis.text(column, row, str(exit_ or "–"), ha="center", va="center", color=colour)
