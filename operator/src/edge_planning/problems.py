"""What is asked of planning for one entry node."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite

from edge_planning.costs.energy import Radio
from edge_planning.distributions import Distribution, LogUniform
from edge_planning.errors import BadPlacesError, require
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


class Objective(StrEnum):
    """What the choice makes best; the functions are in objectives.py."""

    ACCURACY = "Accuracy"
    """Accuracy under the SLO (Edgent)."""
    LATENCY = "Latency"
    """The shortest latency (Neurosurgeon)."""
    ENERGY = "Energy"
    """The least energy of the entry node under the SLO (Neurosurgeon)."""
    THROUGHPUT = "Throughput"
    """The shortest bottleneck stage (DADS, heavily loaded)."""


class Privacy(StrEnum):
    """What may leave the entry node."""

    ANY = "Any"
    INPUT_STAYS_LOCAL = "InputStaysLocal"
    """No tensor of the input: the cut is after the first layer or later."""
    LOCAL = "Local"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a place has left. scale: by what compute times grow. wait: seconds before service, at the SLO's
    percentile (costs.queueing has the formulas). memory: bytes.
    """

    scale: float = 1.0
    wait: float = 0.0
    memory: float = inf

    def __post_init__(self) -> None:
        for name in ("scale", "wait"):
            value = getattr(self, name)
            require(isfinite(value) and value >= 0, f"load: {name} {value} is negative or not a number")
        require(self.memory >= 0, f"load: memory {self.memory} bytes is negative or not a number")


@dataclass(frozen=True, slots=True)
class Helper:
    """Another edge node: bandwidth (bit/s) and rtt (s) from the entry node, taken as steady."""

    name: str
    profile: ClassProfile
    bandwidth: float
    rtt: float = 0.0
    load: Load = Load()

    def __post_init__(self) -> None:
        require(self.bandwidth > 0, f"helper {self.name}: bandwidth {self.bandwidth} bit/s is not above 0")
        require(isfinite(self.rtt) and self.rtt >= 0, f"helper {self.name}: rtt {self.rtt} is no time")


@dataclass(frozen=True, slots=True)
class Codec:
    """How activations cross a hop. ratio: bytes sent for a byte of fp32. losses: accuracy lost, by exit name;
    an exit without an entry cannot be served with it; None: lossless. at: the same by exit and cut, where it
    is known so precisely, in place of losses; what it does not name cannot be served with it. encode, decode:
    seconds per byte.
    """

    name: str
    ratio: float = 1.0
    losses: Mapping[str, float] | None = None
    encode: float = 0.0
    decode: float = 0.0
    at: Mapping[tuple[str, str], float] | None = None

    def __post_init__(self) -> None:
        require(0 < self.ratio < inf, f"codec {self.name}: ratio {self.ratio} is not above 0")
        for name in ("encode", "decode"):
            value = getattr(self, name)
            require(isfinite(value) and value >= 0, f"codec {self.name}: {name} {value} is no time")
        losses = list((self.losses or {}).items())
        losses += [(" cut at ".join(place), loss) for place, loss in (self.at or {}).items()]
        for exit_, loss in losses:
            require(0 <= loss <= 1, f"codec {self.name}: loss {loss} at exit {exit_} is not between 0 and 1")


FP32 = Codec("fp32")


def fp16(losses: Mapping[str, float]) -> Codec:
    """Half the bytes."""
    return Codec("fp16", 0.5, losses)


def int8(losses: Mapping[str, float]) -> Codec:
    """A quarter of the bytes."""
    return Codec("int8", 0.25, losses)


@dataclass(frozen=True, slots=True)
class Confidence:
    """What a confidence threshold does, by exit in the model's order, as measured on held-out inputs.

    leaving: share of all inputs that leave at each exit; they sum to 1. accuracy: of those that leave there.
    """

    threshold: float
    leaving: tuple[float, ...]
    accuracy: tuple[float, ...]

    def __post_init__(self) -> None:
        what = f"confidence {self.threshold}"
        require(0 <= self.threshold <= 1, f"{what}: threshold is not between 0 and 1")
        for name in ("leaving", "accuracy"):
            values = getattr(self, name)
            require(all(0 <= v <= 1 for v in values), f"{what}: {name} {values} are not between 0 and 1")
        require(abs(sum(self.leaving) - 1) < 1e-6, f"{what}: leaving sums to {sum(self.leaving)}, not to 1")


@dataclass(frozen=True, slots=True)
class Tables:
    """How route tables are made.

    Bandwidth (bit/s) lies between low and high; distribution: how (None: log-uniform). A route is used from
    safety times the
    bandwidth at which the model says that it is the right one, since measured bandwidth is never exact; for
    the same reason, exits whose thresholds are closer than that do not both get a route. Every route costs
    memory at both ends: one is worth it when it raises the expected accuracy by least_accuracy or lowers the
    mean latency by least_gain (a share of it).
    """

    routes: int = 4
    low: float = 50e3
    high: float = 1e9
    safety: float = 1.0
    least_accuracy: float = 1e-4
    least_gain: float = 0.02
    distribution: Distribution | None = None

    def __post_init__(self) -> None:
        require(
            self.routes >= 1, f"tables: {self.routes} routes are too few: at least the local one is needed"
        )
        require(
            0 < self.low < self.high < float("inf"),
            f"tables: no bandwidth lies from {self.low} to {self.high}",
        )
        require(1 <= self.safety < float("inf"), f"tables: safety {self.safety} is below 1")
        for name in ("least_accuracy", "least_gain"):
            value = getattr(self, name)
            require(0 <= value < inf, f"tables: {name} {value} is negative or not a number")

    @property
    def bandwidths(self) -> Distribution:
        """The distribution that tables are made for."""
        return self.distribution or LogUniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class EntryProblem:
    """One service at one entry node.

    entry is the profile of the node's class, remote that of the other end (None: there is none). rtt in
    seconds. min_accuracy: no exit below it may answer. bandwidth (bit/s): what is measured at the moment,
    used in messages only. local_overhead and hop_overhead (seconds): fixed costs of a request, and of each
    hop. load, remote_load: of the entry node and the other end. codecs: those that hops may use. helpers:
    other edge nodes. must_run_at, must_not_run_at: names of places (node, peer, helpers) at which a
    stage must or must not run. active_power: watts of the entry node above idle while it computes.
    confidences: thresholds to choose from, none: each input takes the same exit.
    node, peer: names of the two ends.
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
    tables: Tables = Tables()
    load: Load = Load()
    remote_load: Load = Load()
    objective: Objective = Objective.ACCURACY
    privacy: Privacy = Privacy.ANY
    codecs: tuple[Codec, ...] = (FP32,)
    helpers: tuple[Helper, ...] = ()
    must_run_at: frozenset[str] = frozenset()
    must_not_run_at: frozenset[str] = frozenset()
    active_power: float = 0.0
    radio: Radio | None = None
    confidences: tuple[Confidence, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rtt", "local_overhead", "hop_overhead", "active_power"):
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
        places = {self.node, self.peer, *(helper.name for helper in self.helpers)}
        require(
            len(places) == 2 + len(self.helpers),
            f"two places have the same name: {', '.join(sorted(places))}",
            BadPlacesError,
        )
        for name in sorted((self.must_run_at | self.must_not_run_at) - places):
            raise BadPlacesError(f"no place is called {name}: there are {', '.join(sorted(places))}")
        require(bool(self.codecs), "no codecs: at least one is needed")
        codecs = [codec.name for codec in self.codecs]
        require(len(set(codecs)) == len(codecs), f"two codecs have the same name: {', '.join(codecs)}")
        for confidence in self.confidences:
            require(
                len(confidence.leaving) == len(confidence.accuracy) == len(self.model.exits),
                f"confidence {confidence.threshold}: {len(confidence.leaving)} shares and "
                f"{len(confidence.accuracy)} accuracies for {len(self.model.exits)} exits",
            )
