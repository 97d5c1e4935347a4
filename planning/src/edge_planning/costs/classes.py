"""Device classes: nodes with the same latency behavior, and the two that Edgent published."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from edge_planning.costs.regressions import Regression
from edge_planning.errors import require

EDGENT = "Li, Zhou, Chen: Edge Intelligence: On-Demand DNN Model Co-Inference (MECOMM 2018), slides, Table 2"
ASSUMED_ERROR = 0.2
"""Relative standard error of the published regressions: an assumption, as their source states none."""
FLOPS_ERROR = 0.5
"""Relative standard error of a time estimated from FLOPs: an assumption."""


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """The costs of a class of devices that are known without running the model on it.

    Attributes:
        regressions: By family of layers (costs.variables).
        flops_per_second: FLOP rate for layers without a regression.
        flops_error: Relative standard error of times estimated from that rate.
        loading: Seconds to load a model, by its `bytes`.
        active_power: Watts above idle while computing; None if unknown.
    """

    name: str
    regressions: Mapping[str, Regression]
    flops_per_second: float
    source: str
    loading: Regression | None = None
    active_power: float | None = None
    flops_error: float = FLOPS_ERROR
    memory: int | None = None

    def __post_init__(self) -> None:
        require(
            isfinite(self.flops_per_second) and self.flops_per_second > 0,
            f"device class {self.name}: flops_per_second {self.flops_per_second} must be finite and > 0",
        )
        for name in ("active_power", "memory"):
            value = getattr(self, name)
            require(
                value is None or (isfinite(value) and value >= 0),
                f"device class {self.name}: {name} {value} must be finite and >= 0",
            )


def _line(intercept: float, **coefficients: float) -> Regression:
    """Returns the regression of a row of the table, which is in milliseconds."""
    scaled = {name: value / 1e3 for name, value in coefficients.items()}
    return Regression(scaled, intercept / 1e3, ASSUMED_ERROR)


RASPBERRY_PI_3 = DeviceClass(
    name="raspberry-pi-3",
    regressions={
        "conv": _line(-9.909, input_maps=6.13e-3, filter_work=2.67e-2),
        "relu": _line(0.488, input=1.5e-5),
        "pool": _line(1.657, input=1.33e-4, output=3.31e-5),
        "lrn": _line(0.589, input=5.19e-4),
        "dropout": _line(0.0525, input=2.34e-6),
        "gemm": _line(1.169, input=9.18e-4, output=3.99e-3),
    },
    flops_per_second=1.4e9,
    source=EDGENT,
    loading=_line(842.136, bytes=4.49e-6),
    active_power=3.7 - 1.4,
    memory=1 << 30,
)
"""Raspberry Pi 3b (1 GiB) as in Edgent's mobile column. active_power: 3.7 W with four busy cores minus 1.4 W
idle, as the Pi Dramble project measured a Raspberry Pi 3 B. flops_per_second: the rate at which these
regressions run Edgent's AlexNet (edge_planning_lab.alexnet), rounded."""

DESKTOP = DeviceClass(
    name="desktop",
    regressions={
        "conv": _line(0.189, input_maps=6.03e-5, filter_work=1.24e-4),
        "relu": _line(5.69e-2, input=5.6e-6),
        "pool": _line(0.211, input=1.63e-5, output=4.07e-6),
        "lrn": _line(7.80e-2, input=6.59e-5),
        "dropout": _line(4.64e-3, input=5.23e-6),
        "gemm": _line(0.164, input=1.07e-4, output=-1.83e-4),
    },
    flops_per_second=65e9,
    source=EDGENT,
    loading=_line(2.182, bytes=1.33e-6),
    memory=8 << 30,
)
"""Desktop (quad-core Intel, 3.4 GHz, 8 GiB) as in Edgent's server column; flops_per_second as above."""
