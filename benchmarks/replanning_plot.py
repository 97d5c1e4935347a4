"""Draws docs/images/replanning.svg: `python -m benchmarks.replanning_plot`.

Shows a trace of the synthetic process with an outage, the forecast's band before each transfer, and the
active route. The plot is the same on every run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from edge_planning_lab.replanning import (
    BandwidthSample,
    LinkDown,
    Nothing,
    ProbeSent,
    State,
    Switch,
    replan,
    routes_of,
)
from edge_planning_lab.replanning.observations import Observation
from edge_planning_lab.simulation.traces import LognormalProcess

mpl.use("svg")
from matplotlib import pyplot as plt

SECONDS = 240
OUTAGE = range(150, 165)
SEED = 8
STYLE: Any = {"svg.hashsalt": "replanning", "svg.fonttype": "none", "font.size": 8, "axes.grid": True}
COLOURS = {"full": "#3b6ea5", "middle": "#7fb069", "early": "#d9a441"}
ROUTES = routes_of(
    list(COLOURS), [0.05, 0.06, 0.08], [100e3, 20e3, 0], [0.98, 0.94, 0.86], deadline=0.1, rtt=0.01
)


def draw(path: Path) -> int:
    """Writes the plot; returns the number of switches."""
    link = LognormalProcess(spread=0.25, change=0.03).sample(np.random.default_rng(SEED), SECONDS)
    seconds = np.arange(SECONDS)
    rates = np.array([0.0 if second in OUTAGE else link.rate(float(second)) for second in seconds])
    state, bands, routes, switches = State(), [], [], []
    for second in seconds:
        moment = float(second)
        bands.append(state.forecast(moment).quantiles([0.05, 0.5, 0.95]))
        observation: Observation = Nothing()
        if second in OUTAGE:
            observation = LinkDown() if second == OUTAGE[0] else ProbeSent()
        elif state.route != "early" or state.next_probe is None or state.next_probe <= moment:
            observation = BandwidthSample(rates[second])
        decision, state = replan(ROUTES, observation, state, moment)
        if isinstance(decision, Switch):
            switches.append(moment)
        routes.append(state.route or "")
    band = np.array(bands) / 1e6
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.0, 3.0), constrained_layout=True)
        axes.fill_between(seconds, band[:, 0], band[:, 2], color="#bbbbbb", label="forecast, 5 to 95 %", lw=0)
        axes.plot(seconds, band[:, 1], color="#777777", lw=0.8, label="forecast, median")
        axes.plot(seconds, np.where(rates > 0, rates, np.nan) / 1e6, color="k", lw=0.9, label="bandwidth")
        for name, threshold in zip(ROUTES.names, ROUTES.thresholds(), strict=True):
            here = np.array(routes) == name
            axes.fill_between(
                seconds,
                0.021,
                0.027,
                where=here,
                step="post",
                color=COLOURS[name],
                label=f"{name} answers",
                lw=0,
            )
            if threshold > 0:
                axes.axhline(threshold / 1e6, color=COLOURS[name], lw=0.8, ls="--")
        for moment in switches:
            axes.axvline(moment, color="#aa3333", lw=0.5, ls=":")
        axes.set(yscale="log", ylim=(0.02, 30), xlim=(0, SECONDS), xlabel="s", ylabel="Mbit/s")
        axes.legend(ncols=3, loc="upper center", fontsize=7)
        path.parent.mkdir(parents=True, exist_ok=True)
        axes.minorticks_off()
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return len(switches)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws to --out."""
    parser = argparse.ArgumentParser(prog="replanning_plot", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/replanning.svg"))
    arguments = parser.parse_args(argv)
    print(f"{arguments.out}: {draw(arguments.out)} switches")
    return 0


if __name__ == "__main__":
    sys.exit(main())
