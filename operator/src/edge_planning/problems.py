"""What is asked of planning for one entry node."""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from edge_planning.errors import require
from edge_planning.models import Model
from edge_planning.profiles import ClassProfile


class Mode(StrEnum):
    """How exit and cut are chosen: Edgent's joint rule, or one of the methods it is compared with."""

    AUTO = "Auto"
    """The most accurate exit whose best cut keeps the SLO."""
    LOCAL_ONLY = "LocalOnly"
    """The full model at the entry node."""
    CLOUD_ONLY = "CloudOnly"
    """The full model at the other end of the link."""
    PARTITION_ONLY = "PartitionOnly"
    """The full model, fastest cut (Neurosurgeon)."""
    RIGHT_SIZING_ONLY = "RightSizingOnly"
    """The most accurate exit that the entry node alone finishes in time."""


@dataclass(frozen=True, slots=True)
class Slo:
    """latency in seconds, to be kept at the percentile (1 to 99.9)."""

    latency: float
    percentile: float = 95.0

    def __post_init__(self) -> None:
        require(
            isfinite(self.latency) and self.latency > 0,
            f"slo: latency {self.latency} s is not a time above 0",
        )
        require(1 <= self.percentile <= 99.9, f"slo: percentile {self.percentile} is not between 1 and 99.9")


@dataclass(frozen=True, slots=True)
class Tables:
    """How route tables are made.

    Bandwidth (bit/s) is taken to be log-uniform between low and high. A route is used from safety times the
    bandwidth at which the model says that it is the right one, since measured bandwidth is never exact; for
    the same reason, exits whose thresholds are closer than that do not both get a route. Every route costs
    memory at both ends: one is worth it when it raises the expected accuracy by least_accuracy or lowers the
    mean latency by least_gain (a share of it).
    """

    routes: int = 4
    low: float = 50e3
    high: float = 1e9
    safety: float = 1.15
    least_accuracy: float = 1e-4
    least_gain: float = 0.02

    def __post_init__(self) -> None:
        require(
            self.routes >= 1, f"tables: {self.routes} routes are too few: at least the local one is needed"
        )
        require(
            0 < self.low < self.high < float("inf"),
            f"tables: no bandwidth lies from {self.low} to {self.high}",
        )
        require(1 <= self.safety < float("inf"), f"tables: safety {self.safety} is below 1")


@dataclass(frozen=True, slots=True)
class EntryProblem:
    """One service at one entry node.

    entry is the profile of the node's class, remote that of the other end (None: there is none). rtt in
    seconds. min_accuracy: no exit below it may answer. bandwidth (bit/s): what is measured at the moment,
    used in messages only. local_overhead and hop_overhead (seconds): fixed costs of a request, and of one
    that crosses the link. compute_scale inflates compute times, e.g. for a loaded node. node, peer: names for
    messages.
    """

    model: Model
    entry: ClassProfile
    remote: ClassProfile | None
    rtt: float
    slo: Slo
    mode: Mode = Mode.AUTO
    min_accuracy: float | None = None
    node: str = "the entry node"
    peer: str = "the cloud"
    bandwidth: float | None = None
    local_overhead: float = 0.0
    hop_overhead: float = 0.0
    compute_scale: float = 1.0
    tables: Tables = Tables()

    def __post_init__(self) -> None:
        for name in ("rtt", "local_overhead", "hop_overhead", "compute_scale"):
            value = getattr(self, name)
            require(isfinite(value) and value >= 0, f"{name} {value} is negative or not a number")
        require(
            self.bandwidth is None or (isfinite(self.bandwidth) and self.bandwidth >= 0),
            f"bandwidth {self.bandwidth} bit/s is negative or not a number",
        )
        require(
            self.min_accuracy is None or 0 <= self.min_accuracy <= 1,
            f"min_accuracy {self.min_accuracy} is not between 0 and 1",
        )
