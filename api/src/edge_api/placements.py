"""Placement: the route table of one entry node; written by the operator, carried out by the runtime."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from edge_api.inferenceservices import Mode
from edge_api.objects import AGE, Column, KubernetesObject, Part, Resource, StatusPart
from edge_api.policies import AnyEarlyExit, Deadline, EarlyExit, InputFilter, ResultCache
from edge_api.quantities import Duration, Quantity, Share
from edge_api.rules import Accuracy, Digest, ExitName, Label, Name, TensorName, Text
from edge_api.tensors import Slice, Tensor, Tensors

Codec = Literal["fp32", "fp16", "int8"]
Url = Annotated[str, Field(max_length=2048, pattern="^https?://.+")]


class PlacedModel(Part):
    """What requests and responses look like."""

    digest: Digest = Field(description="Digest of the whole model's ONNX file.")
    inputs: Tensors = Field(description="The model's inputs.")
    output: Tensor = Field(description="The final exit's output, under whose name every exit answers.")


class PlacedSlo(Part):
    """The part of the SLO that the entry node needs."""

    latency: Duration = Field(description="Time within which a request is to be answered.")
    percentile: Annotated[float, Field(strict=True, ge=1, le=99.9)] = Field(
        default=95, description="Percentile that the plan keeps below latency."
    )
    min_accuracy: Accuracy | None = Field(
        default=None, description="Lowest accuracy of an exit that may answer. Default: any."
    )


class PlacedLink(Part):
    """The link whose bandwidth decides the route."""

    peer: Label = Field(description="The place at the other end.")
    probe: Url = Field(description="Address that takes POSTed bytes for measuring.")
    interval: Duration = Field(
        default=Duration(2.0), description="Time between two probes of an idle link. Default 2s."
    )
    budget: Quantity = Field(
        default=Quantity(16 << 20),
        description="Bytes an hour that probes may cost. Default 16Mi.",
    )


class Stage(Part):
    """One slice at one place."""

    place: Name = Field(description="Node, or name of the Triton server.")
    runtime: Literal["Edge", "Triton"] = Field(
        description="What runs it: a runtime at an edge node, which is this one where there is no address; "
        "or Triton."
    )
    slice: Slice = Field(description="The part of the model that runs here.")
    address: Url | None = Field(
        default=None,
        description="HTTP address of Triton, or of the runtime at another edge node. Required for Triton.",
    )
    model: Name | None = Field(
        default=None, description="The slice's model name at the address. Required with an address."
    )
    predicted_compute: Duration | None = Field(
        default=None, description="Compute time that the plan expects here."
    )

    @model_validator(mode="after")
    def _triton_can_be_reached(self) -> Self:
        if self.runtime == "Triton" and (self.address is None or self.model is None):
            raise ValueError("a stage with runtime Triton needs address and model")
        if self.address is not None and self.model is None:
            raise ValueError("a stage with an address needs model, the name that it has there")
        return self


class Route(Part):
    """An exit and the chain of stages that computes it."""

    name: Annotated[str, Field(min_length=1, max_length=600)] = Field(
        description="<exit>@<tensor of the cut>, or <exit>@local."
    )
    exit: ExitName = Field(description="Exit that answers.")
    cut: TensorName = Field(
        description="Tensor that leaves this node, several joined by +, or local when none does."
    )
    cut_tensors: Annotated[tuple[TensorName, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="The same tensors one by one. Default: the one that cut names."
    )
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1, max_length=7)] | None = Field(
        default=None,
        description="How activations are encoded on each hop, in order. Default: fp32 on all of them.",
    )
    accuracy: Accuracy = Field(description="Accuracy of the exit, between 0 and 1.")
    min_bandwidth: Quantity = Field(
        description="Bandwidth in bit/s from which this is the right route; 0 when local."
    )
    predicted_latency: Duration = Field(
        description="Latency at minBandwidth that the plan expects, with its margin."
    )
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=8)] = Field(
        description="The slices in the order in which they run."
    )


class Relay(Part):
    """A slice that this node runs for other entry nodes, and where its result goes from here."""

    model: Name = Field(description="Model name under which other runtimes ask for it.")
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=7)] = Field(
        description="The slice that runs here, then those that follow: the next one is asked from here, and "
        "the last one's result is the answer."
    )


class PlacementSpec(Part):
    """What the runtime at one entry node is to do."""

    service: Name = Field(description="InferenceService that is served.")
    node: Name = Field(description="The entry node.")
    mode: Mode = Field(default="Auto", description="The mode that the routes were chosen in. Default Auto.")
    model: PlacedModel = Field(description="What requests and responses look like.")
    slo: PlacedSlo = Field(description="The latency to keep.")
    link: PlacedLink | None = Field(
        default=None, description="The link to measure. Default: none, all routes are local."
    )
    early_exit: AnyEarlyExit = Field(
        default=EarlyExit(), description="Whether inputs of which an early exit is sure leave there."
    )
    deadline: Deadline = Field(default=Deadline(), description="What becomes of a late remote reply.")
    autonomy: Duration | None = Field(
        default=None,
        description="How long to serve on without hearing from the API server. Default: without end.",
    )
    input_filter: InputFilter | None = Field(
        default=None, description="Saves inferences on inputs that hardly change. Default: none."
    )
    result_cache: ResultCache | None = Field(
        default=None, description="Saves inferences on inputs that come again. Default: none."
    )
    routes: Annotated[tuple[Route, ...], Field(min_length=1, max_length=16)] = Field(
        description="The routes, highest minBandwidth first. The runtime takes the first whose minBandwidth "
        "is not above the measured bandwidth. The last is local, except in the mode CloudOnly."
    )
    relays: Annotated[tuple[Relay, ...], Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="What this node runs for other entry nodes of the service. Default: nothing.",
    )

    @model_validator(mode="after")
    def _routes_are_in_order(self) -> Self:
        bandwidths = [route.min_bandwidth for route in self.routes]
        if bandwidths != sorted(bandwidths, reverse=True):
            raise ValueError("routes must be ordered by minBandwidth, highest first")
        return self


class LinkStatus(StatusPart):
    """The link as the entry node sees it."""

    state: Literal["Up", "Down"] = Field(description="Whether the peer answers.")
    bandwidth: Quantity | None = Field(default=None, description="Measured bandwidth in bit/s.")
    bandwidth_low: Quantity | None = Field(
        default=None, description="Bandwidth in bit/s that four transfers in five exceed."
    )
    round_trip: Duration | None = Field(default=None, description="Measured round-trip time.")
    measured_at: AwareDatetime | None = Field(default=None, description="When it was measured last.")


class LatencyStatus(StatusPart):
    """Measured latency over the last minute."""

    p50: Duration = Field(description="Median.")
    p95: Duration = Field(description="95th percentile.")


class PlacementStatus(StatusPart):
    """What the runtime reports."""

    observed_generation: int = Field(
        default=0, description="The metadata.generation that this status is about."
    )
    loaded: bool = Field(default=False, description="Whether this generation's routes are loaded and warm.")
    reason: str | None = Field(
        default=None,
        max_length=100,
        description="Why not, in one CamelCase word, e.g. TrialCrashed for a slice that ended the process "
        "in which it was tried.",
    )
    message: Text = Field(
        default="", description="Why not, when not; the generation before goes on serving then."
    )
    active_route: str | None = Field(default=None, description="Name of the route in use.")
    exit: str | None = Field(default=None, description="Exit of the route in use.")
    cut: str | None = Field(default=None, description="Cut of the route in use, or local.")
    link: LinkStatus | None = Field(default=None, description="The link.")
    latency: LatencyStatus | None = Field(default=None, description="Latency of the last minute's requests.")
    requests: int = Field(default=0, description="How many requests the last minute had.")
    attainment: Share | None = Field(default=None, description="Share of them answered within slo.latency.")
    last_updated: AwareDatetime | None = Field(default=None, description="When the runtime wrote this.")


class Placement(KubernetesObject):
    """The route table of one entry node; written by the operator, its status by the runtime."""

    resource: ClassVar[Resource] = Resource(
        plural="placements",
        short_names=(),
        columns=(
            Column("Service", ".spec.service", "Service that is served."),
            Column("Node", ".spec.node", "The entry node."),
            Column("Route", ".status.activeRoute", "Exit and cut in use."),
            Column("Loaded", ".status.loaded", "Whether the routes are loaded.", "boolean"),
            Column("Link", ".status.link.state", "Whether the cloud answers."),
            Column("Bandwidth", ".status.link.bandwidth", "Measured bandwidth in bit/s."),
            Column("P95", ".status.latency.p95", "Measured latency."),
            Column("Attainment", ".status.attainment", "Share of requests in time.", wide=True),
            AGE,
        ),
    )

    kind: Literal["Placement"] = "Placement"
    spec: PlacementSpec = Field(description="What the runtime is to do.")
    status: PlacementStatus | None = Field(default=None, description="What the runtime does.")
