"""Edgent's published findings from its own coefficients: the numbers behind the plots of docs/edgent.md."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edge_planning import EntryProblem, Mode, Slo, candidates, choose
from edge_planning.choosing.candidates import LOCAL
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import class_profile
from edge_planning_lab.alexnet import FRAMING, NARROW, WIDE, Widths, alexnet

BANDWIDTHS = np.geomspace(50e3, 1.5e6, 48)
"""bit/s; the range that Edgent varies: from general knowledge of the paper, as are the two below."""
DEADLINES = np.arange(0.100, 1.0001, 0.005)
SWEEP_BANDWIDTH = 500e3
COMPARISON_BANDWIDTH = 400e3
COMPARED = tuple(n / 10 for n in range(1, 11))
EXIT_DEADLINES = (0.2, 0.4, 1.0)
METHODS = {
    "device only": Mode.LOCAL_ONLY,
    "edge only": Mode.CLOUD_ONLY,
    "partition only": Mode.PARTITION_ONLY,
    "right-sizing only": Mode.RIGHT_SIZING_ONLY,
    "Edgent": Mode.AUTO,
}
LOADINGS = {"is loaded for each request": True, "stays loaded": False}
"""Whether the device loads its part of the model for every request."""


def problem(
    *,
    loading: bool,
    deadline: float = 1.0,
    mode: Mode = Mode.AUTO,
    widths: Widths = WIDE,
    framing: float = FRAMING,
) -> EntryProblem:
    """Edgent's AlexNet between the Raspberry Pi and the desktop; the server's model is always loaded."""
    model = alexnet(widths, framing)
    return EntryProblem(
        model,
        class_profile(model, RASPBERRY_PI_3, loading=loading),
        class_profile(model, DESKTOP),
        rtt=0.0,
        slo=Slo(deadline),
        mode=mode,
    )


def findings() -> dict[str, object]:
    """Returns all numbers that are plotted or stated, by name; times in seconds, bandwidths in bit/s."""
    return {
        "bandwidths": _rounded(BANDWIDTHS),
        "deadlines": _rounded(DEADLINES),
        "partitions": {name: partitions(loading=loading) for name, loading in LOADINGS.items()},
        "exits": {name: fastest_by_exit(loading=loading) for name, loading in LOADINGS.items()},
        "exit_by_bandwidth": {
            name: exits_by_bandwidth(loading=loading) for name, loading in LOADINGS.items()
        },
        "exit_by_deadline": {name: exits_by_deadline(loading=loading) for name, loading in LOADINGS.items()},
        "methods": {name: methods(loading=loading) for name, loading in LOADINGS.items()},
        "first_deadline_kept": {name: first_deadlines(loading=loading) for name, loading in LOADINGS.items()},
        "published": published(WIDE, FRAMING),
        "server_compute_by_exit": server_compute_by_exit(),
        "other_readings": {
            "bare tensors on the wire": published(WIDE, 1.0),
            "BranchyNet's widths": published(NARROW, FRAMING),
            "BranchyNet's widths, bare tensors": published(NARROW, 1.0),
        },
    }


def partitions(*, loading: bool) -> dict[str, list[float]]:
    """Returns seconds of the full model at each bandwidth, by the cut's tensor (or `device only`)."""
    options = candidates(problem(loading=loading, mode=Mode.PARTITION_ONLY))
    rows = np.array([options.latencies(float(bandwidth)) for bandwidth in BANDWIDTHS])
    return {
        "device only" if options.cut[index] == LOCAL else str(options.tensor(index)): _rounded(rows[:, index])
        for index in range(len(options))
    }


def fastest_by_exit(*, loading: bool) -> dict[str, list[float]]:
    """Returns seconds of each exit with its fastest cut (or none) at each bandwidth."""
    options = candidates(problem(loading=loading))
    rows = np.array([options.latencies(float(bandwidth)) for bandwidth in BANDWIDTHS])
    return {
        exit_.name: _rounded(rows[:, options.exit == number].min(axis=1))
        for number, exit_ in enumerate(options.exits)
    }


def exits_by_bandwidth(*, loading: bool) -> dict[str, list[int]]:
    """Returns Edgent's exit (1 to 5; 0: none meets the deadline) at each bandwidth, by deadline."""
    asked = problem(loading=loading)
    return {
        f"{deadline:g}": [chosen_exit(asked, deadline, float(bandwidth)) for bandwidth in BANDWIDTHS]
        for deadline in EXIT_DEADLINES
    }


def exits_by_deadline(*, loading: bool) -> list[int]:
    """Edgent's exit (0: none) for each deadline at 500 kbit/s."""
    asked = problem(loading=loading)
    return [chosen_exit(asked, float(deadline), SWEEP_BANDWIDTH) for deadline in DEADLINES]


def methods(*, loading: bool) -> dict[str, list[int]]:
    """Each method's exit (0: it misses) for deadlines of 100 ms to 1 s at 400 kbit/s."""
    asked = problem(loading=loading)
    return {
        name: [
            chosen_exit(replace(asked, mode=mode), deadline, COMPARISON_BANDWIDTH) for deadline in COMPARED
        ]
        for name, mode in METHODS.items()
    }


def first_deadlines(*, loading: bool) -> dict[str, float]:
    """Returns the shortest deadline that each method meets at 400 kbit/s: that of its fastest candidate."""
    asked = problem(loading=loading)
    return {
        name: round(float(candidates(replace(asked, mode=mode)).latencies(COMPARISON_BANDWIDTH).min()), 4)
        for name, mode in METHODS.items()
    }


def chosen_exit(asked: EntryProblem, deadline: float, bandwidth: float) -> int:
    """Returns the number of the exit that Edgent's rule chooses, 0 if none meets the deadline."""
    options = candidates(asked)
    choice = choose(options, deadline, bandwidth)
    return int(options.exit[choice.index]) + 1 if choice and choice.met else 0


def published(widths: Widths, framing: float) -> dict[str, float]:
    """Returns the figures that Edgent states, under one assumption about what it does not state."""

    def fastest(mode: Mode, bandwidth: float, *, loading: bool) -> float:
        options = candidates(problem(loading=loading, mode=mode, widths=widths, framing=framing))
        return round(float(options.latencies(bandwidth).min()), 4)

    return {
        "device_only_loading": fastest(Mode.LOCAL_ONLY, 1e6, loading=True),
        "device_only": fastest(Mode.LOCAL_ONLY, 1e6, loading=False),
        "edge_only_1_mbit": fastest(Mode.CLOUD_ONLY, 1e6, loading=True),
        "edge_only_50_kbit": fastest(Mode.CLOUD_ONLY, 50e3, loading=True),
        "server_compute": fastest(Mode.CLOUD_ONLY, float("inf"), loading=True),
    }


def server_compute_by_exit() -> list[float]:
    """Returns seconds of each exit if all of it runs at the server."""
    options = candidates(problem(loading=False))
    return _rounded(options.tail[options.cut == 0])


def _rounded(values: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
    """Rounds to six significant digits, so that the result is the same on every machine."""
    return [float(f"{value:.6g}") for value in values]


def summary(found: Mapping[str, object]) -> dict[str, object]:
    """Returns what the command prints: the stated figures without the curves."""
    return {name: found[name] for name in ("published", "other_readings", "first_deadline_kept", "methods")}
