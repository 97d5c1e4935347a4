"""The planning problem of one service at one entry node."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite

from edge_planning.costs.energy import Radio
from edge_planning.costs.profiles import ClassProfile
from edge_planning.distributions import Distribution, LogUniform
from edge_planning.errors import BadPlacesError, BadProfileError, require
from edge_planning.graphs.models import Model
from edge_planning.objectives import ACCURACY, Objective
from edge_planning.request_shapes import RequestShape


class Mode(StrEnum):
    """How exit and cut are chosen: Edgent's joint rule, or one of the methods that it is compared with."""

    AUTO = "Auto"
    """The most accurate exit whose best cut meets the SLO."""
    LOCAL_ONLY = "LocalOnly"
    """The full model at the entry node."""
    CLOUD_ONLY = "CloudOnly"
    """The full model at the remote end of the link."""
    PARTITION_ONLY = "PartitionOnly"
    """The full model with its fastest cut (Neurosurgeon)."""
    RIGHT_SIZING_ONLY = "RightSizingOnly"
    """The most accurate exit that the entry node alone finishes in time."""


@dataclass(frozen=True, slots=True)
class Slo:
    """Maximum latency in seconds at a percentile (1 to 99.9)."""

    latency: float
    percentile: float = 95.0

    def __post_init__(self) -> None:
        require(
            isfinite(self.latency) and self.latency > 0,
            f"slo: latency {self.latency} s must be finite and > 0",
        )
        require(1 <= self.percentile <= 99.9, f"slo: percentile {self.percentile} must be between 1 and 99.9")


class Privacy(StrEnum):
    """The data that can leave the entry node."""

    ANY = "Any"
    INPUT_STAYS_LOCAL = "InputStaysLocal"
    """Activations, but no input and no copy of one (graphs.input_copies)."""
    LOCAL = "Local"
    """No data."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests that share a place: requests per second, mean seconds, squared coefficient of variation."""

    rate: float
    seconds: float
    variance: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rate", "seconds", "variance"):
            value = getattr(self, name)
            require(isfinite(value) and value >= 0, f"traffic: {name} {value} must be finite and >= 0")


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a place.

    Attributes:
        scale: Factor on compute times.
        wait: Seconds before service, at the SLO's percentile, whatever runs there (see costs.queueing).
        memory: Bytes left.
        rate: Requests per second of this service that run there. They wait for each other.
        others: Requests of other demands that run there, if any; all wait in one queue.
        servers: Requests that the place computes at a time.
    """

    scale: float = 1.0
    wait: float = 0.0
    memory: float = inf
    rate: float = 0.0
    others: Traffic | None = None
    servers: int = 1

    def __post_init__(self) -> None:
        for name in ("scale", "wait", "rate"):
            value = getattr(self, name)
            require(isfinite(value) and value >= 0, f"load: {name} {value} must be finite and >= 0")
        require(self.memory >= 0, f"load: memory {self.memory} bytes must be >= 0")
        require(self.servers >= 1, f"load: servers {self.servers} must be >= 1")


@dataclass(frozen=True, slots=True)
class IntermediateNode:
    """An intermediate node, with constant bandwidth (bit/s) and rtt (s) from the entry node."""

    name: str
    profile: ClassProfile
    bandwidth: float
    rtt: float = 0.0
    load: Load = Load()

    def __post_init__(self) -> None:
        require(
            self.bandwidth > 0, f"intermediate node {self.name}: bandwidth {self.bandwidth} bit/s must be > 0"
        )
        require(
            isfinite(self.rtt) and self.rtt >= 0,
            f"intermediate node {self.name}: rtt {self.rtt} s must be finite and >= 0",
        )


@dataclass(frozen=True, slots=True)
class Codec:
    """The encoding of activations on a hop.

    Attributes:
        ratio: Bytes sent per byte of fp32, where `sizes` has no entry.
        losses: Accuracy lost, by exit name; None if lossless. Exits without an entry cannot use the codec.
        at: Accuracy lost by exit and cut, in place of `losses`. Cuts without an entry cannot use the codec.
        sizes: Bytes sent for one item, by exit and cut.
        encode, decode: Seconds per byte of fp32.
    """

    name: str
    ratio: float = 1.0
    losses: Mapping[str, float] | None = None
    encode: float = 0.0
    decode: float = 0.0
    at: Mapping[tuple[str, str], float] | None = None
    sizes: Mapping[tuple[str, str], int] | None = None

    def __post_init__(self) -> None:
        require(0 < self.ratio < inf, f"codec {self.name}: ratio {self.ratio} must be finite and > 0")
        for name in ("encode", "decode"):
            value = getattr(self, name)
            require(
                isfinite(value) and value >= 0, f"codec {self.name}: {name} {value} s must be finite and >= 0"
            )
        losses = list((self.losses or {}).items())
        losses += [(" cut at ".join(place), loss) for place, loss in (self.at or {}).items()]
        for exit_, loss in losses:
            require(0 <= loss <= 1, f"codec {self.name}: loss {loss} at exit {exit_} must be between 0 and 1")
        for place, size in (self.sizes or {}).items():
            where = " cut at ".join(place)
            require(
                0 <= size < inf, f"codec {self.name}: size {size} at exit {where} must be finite and >= 0"
            )

    def sent(self, exit_: str, cut: str, size: float) -> float:
        """Returns the bytes sent for one item at a cut of an exit. size: of the cut in fp32."""
        known = None if self.sizes is None else self.sizes.get((exit_, cut))
        return size * self.ratio if known is None else float(known)


FP32 = Codec("fp32")


@dataclass(frozen=True, slots=True)
class Confidence:
    """The effect of a confidence threshold, by exit in the model's order, measured on held-out inputs.

    Attributes:
        leaving: Share of all inputs that leave at each exit; the shares sum to 1.
        accuracy: Accuracy of the inputs that leave at each exit.
    """

    threshold: float
    leaving: tuple[float, ...]
    accuracy: tuple[float, ...]

    def __post_init__(self) -> None:
        what = f"confidence {self.threshold}"
        require(0 <= self.threshold <= 1, f"{what}: threshold must be between 0 and 1")
        for name in ("leaving", "accuracy"):
            values = getattr(self, name)
            require(all(0 <= v <= 1 for v in values), f"{what}: {name} {values} must be between 0 and 1")
        require(abs(sum(self.leaving) - 1) < 1e-6, f"{what}: leaving must sum to 1, not {sum(self.leaving)}")


@dataclass(frozen=True, slots=True)
class Tables:
    """Settings of route tables.

    Attributes:
        routes: Maximum number of routes, without the ladder.
        ladder: Maximum number of local routes below the one of the plan.
        low, high: Range of bandwidth in bit/s.
        safety: A route is used from this factor times the bandwidth at which it becomes the best, because
            measured bandwidth is never exact. Exits whose thresholds differ by less do not both get a route.
        least_accuracy, least_gain: A route is added for at least this increase of the expected accuracy, or
            this relative decrease of the mean latency. Every route costs memory at both ends.
        distribution: Of bandwidth; None for log-uniform.
    """

    routes: int = 4
    ladder: int = 3
    low: float = 50e3
    high: float = 1e9
    safety: float = 1.0
    least_accuracy: float = 1e-4
    least_gain: float = 0.02
    distribution: Distribution | None = None

    def __post_init__(self) -> None:
        require(self.routes >= 1, f"tables: routes {self.routes} must be >= 1: the local route is required")
        require(
            self.ladder >= 0, f"tables: ladder {self.ladder} must be >= 0: 0 is without cheaper local routes"
        )
        require(
            0 < self.low < self.high < float("inf"),
            f"tables: low {self.low} and high {self.high} must satisfy 0 < low < high",
        )
        require(1 <= self.safety < float("inf"), f"tables: safety {self.safety} must be finite and >= 1")
        for name in ("least_accuracy", "least_gain"):
            value = getattr(self, name)
            require(0 <= value < inf, f"tables: {name} {value} must be finite and >= 0")

    @property
    def bandwidths(self) -> Distribution:
        """The distribution of bandwidth for which tables are optimized."""
        return self.distribution or LogUniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency.

    Attributes:
        triton_second: Of a second of compute time at the remote end.
        uplink_gigabyte: Of 10^9 bytes sent to the remote end.
        joule: Of a joule of the entry node.
    """

    triton_second: float = 0.0
    uplink_gigabyte: float = 0.0
    joule: float = 0.0

    def __post_init__(self) -> None:
        for name in ("triton_second", "uplink_gigabyte", "joule"):
            value = getattr(self, name)
            require(isfinite(value) and value >= 0, f"prices: {name} {value} must be finite and >= 0")


FREE = Prices()


@dataclass(frozen=True, slots=True)
class EntryProblem:
    """One service at one entry node.

    Attributes:
        entry: Profile of the entry node's class.
        remote: Profile of the remote end; None if there is none.
        rtt: Round-trip time in seconds.
        min_accuracy: Exits below it are excluded.
        node, peer: Names of the two ends.
        bandwidth: Currently measured bandwidth in bit/s, used only in messages.
        local_overhead, hop_overhead: Fixed costs in seconds, per request and per hop.
        load, remote_load: Of the entry node and the remote end.
        codecs: Codecs that hops can use.
        intermediates: Intermediate nodes.
        must_run_at, must_not_run_at: Names of places (node, peer, intermediate nodes) at which a stage must
            or must not run.
        active_power: Watts of the entry node above idle while it computes.
        confidences: Thresholds to choose from; if empty, every input takes the same exit.
        prices: What the cost of a request is made of.
        uplink_used: Bit/s that other demands send over the uplink.
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
    objective: Objective = ACCURACY
    privacy: Privacy = Privacy.ANY
    codecs: tuple[Codec, ...] = (FP32,)
    intermediates: tuple[IntermediateNode, ...] = ()
    must_run_at: frozenset[str] = frozenset()
    must_not_run_at: frozenset[str] = frozenset()
    active_power: float = 0.0
    radio: Radio | None = None
    confidences: tuple[Confidence, ...] = ()
    prices: Prices = FREE
    uplink_used: float = 0.0

    @property
    def has_prices(self) -> bool:
        """Whether anything has a price."""
        return self.prices != FREE

    @property
    def has_power(self) -> bool:
        """Whether the entry node's energy is known, at least in part."""
        return self.active_power > 0 or self.radio is not None

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Sentences about sizes that were assumed for the costs at any place, each once."""
        return tuple(dict.fromkeys(each for profile in self._profiles() for each in profile.assumptions))

    @property
    def unpacked(self) -> frozenset[str]:
        """Names of the nodes at which the weights are not packed."""
        between = (one.name for one in self.intermediates if one.profile.packs is False)
        return frozenset((*between, *(() if self.entry.packs is not False else (self.node,))))

    def _profiles(self) -> tuple[ClassProfile, ...]:
        between = (intermediate.profile for intermediate in self.intermediates)
        return (self.entry, *between, *(() if self.remote is None else (self.remote,)))

    def _require_one_shape(self) -> None:
        """Raises BadProfileError if times and bytes are for different shapes."""
        planned = RequestShape.of(self.model.shapes)
        for profile in self._profiles():
            measured = RequestShape.of(profile.shapes)
            require(
                not planned.inputs or not measured.inputs or planned == measured,
                f"device class {profile.name}: its times are for {measured}, but the model's cuts for "
                f"{planned}: take both at one shape",
                BadProfileError,
            )

    def __post_init__(self) -> None:
        self._require_one_shape()
        for name in ("rtt", "local_overhead", "hop_overhead", "active_power", "uplink_used"):
            value = getattr(self, name)
            require(isfinite(value) and value >= 0, f"{name} {value} must be finite and >= 0")
        require(
            self.bandwidth is None or (isfinite(self.bandwidth) and self.bandwidth >= 0),
            f"bandwidth {self.bandwidth} bit/s must be finite and >= 0",
        )
        require(
            self.min_accuracy is None or 0 <= self.min_accuracy <= 1,
            f"min_accuracy {self.min_accuracy} must be between 0 and 1",
        )
        places = {self.node, self.peer, *(intermediate.name for intermediate in self.intermediates)}
        require(
            len(places) == 2 + len(self.intermediates),
            f"two of the places {', '.join(sorted(places))} have the same name",
            BadPlacesError,
        )
        for name in sorted((self.must_run_at | self.must_not_run_at) - places):
            raise BadPlacesError(f"unknown place {name}: use one of {', '.join(sorted(places))}")
        require(bool(self.codecs), "codecs: list at least one")
        codecs = [codec.name for codec in self.codecs]
        require(len(set(codecs)) == len(codecs), f"two codecs have the same name: {', '.join(codecs)}")
        for confidence in self.confidences:
            require(
                len(confidence.leaving) == len(confidence.accuracy) == len(self.model.exits),
                f"confidence {confidence.threshold}: {len(confidence.leaving)} shares and "
                f"{len(confidence.accuracy)} accuracies for {len(self.model.exits)} exits",
            )
