"""Placement: the route table of an entry node; written by the operator, executed by the runtime."""

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from edge_api.first_requests import FirstRequestsTurn
from edge_api.inferenceservices import Mode
from edge_api.objects import AGE, Column, KeyedBy, KubernetesObject, Part, Resource
from edge_api.placement_reports import PlacementStatus
from edge_api.policies import (
    ISOLATION,
    PRIVACY,
    AnyEarlyExit,
    Deadline,
    EarlyExit,
    InputFilter,
    Isolation,
    Privacy,
    ResultCache,
)
from edge_api.quantities import Duration, Quantity
from edge_api.rules import Accuracy, Digest, ExitName, Label, Name, TensorName, TensorNames, Text
from edge_api.scaling import PlacedIdle
from edge_api.sequences import PlacedState, Sequences
from edge_api.shapes import BytesAt, DurationsAt, InputShapes, MeasuredShapes
from edge_api.tensors import Slice, Tensor, Tensors

UNENCODED: Final = "fp32"
"""The codec that changes nothing. The model store knows the others, and runtimes refuse unknown ones."""
Codec = Annotated[str, Field(min_length=1, max_length=63)]
Url = Annotated[str, Field(max_length=2048, pattern="^https?://.+")]


class PlacedModel(Part):
    """Inputs and outputs of the model."""

    digest: Digest = Field(description="SHA-256 digest of the whole model's ONNX file.")
    inputs: Tensors = Field(description="Inputs of the model.")
    outputs: Tensors = Field(
        default=(),
        description="Outputs of the full model, 1 to 64. Exits use their names, unless outputs of the route "
        "has others. Default: the one in output.",
    )
    output: Tensor | None = Field(
        default=None, description="The only output, as earlier versions write it. Default: see outputs."
    )

    warm_up: Digest | None = Field(
        default=None,
        description="SHA-256 digest of an .npz file in the model store with one sample of each input, on "
        "which the slices that begin at the inputs are warmed up. Default: zeros.",
    )
    state: Annotated[tuple[PlacedState, ...], Field(min_length=1, max_length=64), KeyedBy("input")] | None = (
        Field(
            default=None,
            description="The state that this node keeps by the sequence_id of requests. Default: none.",
        )
    )
    sequences: Sequences | None = Field(
        default=None,
        description="Limits of the kept sequences of a model with a state. Default: 128 for 30s.",
    )

    @model_validator(mode="after")
    def _has_outputs(self) -> Self:
        if not self.outputs:
            raise ValueError("outputs: the model has none: list the outputs of the full model")
        return self


class PlacedShapes(Part):
    """Shapes of requests that the routes have costs for."""

    planned: InputShapes = Field(description="Shape of each input that the routes are planned for.")
    measured: MeasuredShapes = Field(
        description="Shapes of computeAt and bytesAt of the stages, from the smallest to the largest. Costs "
        "of other shapes lie on lines between these."
    )


class PlacedSlo(Part):
    """The part of the SLO that the entry node needs."""

    latency: Duration = Field(description="Maximum time in which a request is answered.")
    percentile: Annotated[float, Field(strict=True, ge=1, le=99.9)] = Field(
        default=95, description="Percentile that the plan keeps below latency, from 1 to 99.9. Default: 95."
    )
    min_accuracy: Accuracy | None = Field(
        default=None, description="Minimum accuracy of an exit that answers, between 0 and 1. Default: any."
    )
    objective: Annotated[float, Field(strict=True, ge=0, le=1)] | None = Field(
        default=None,
        description="Share of requests that must be answered within latency, from 0 to 1. Default: "
        "percentile as a share.",
    )

    @property
    def objective_share(self) -> float:
        """The share of requests that must be answered within latency."""
        return self.percentile / 100 if self.objective is None else self.objective


class PlacedLink(Part):
    """The link whose bandwidth selects the route."""

    peer: Label = Field(description="Name of the Triton server at the other end.")
    probe: Url = Field(
        description="URL to which probes are POSTed: the health endpoint of the Triton server, which reads "
        "all of a body before it refuses the method."
    )
    interval: Duration = Field(
        default=Duration(2.0), description="Time between two probes of an idle link. Default: 2s."
    )
    budget: Quantity = Field(
        default=Quantity(16 << 20),
        description="Maximum traffic of probes in bytes per hour. Default: 16Mi.",
    )
    round_trip: Duration | None = Field(
        default=None,
        description="Round trip that the routes are planned for. The runtime reports a measurement that "
        "differs from it by more than half and by more than 5ms. Default: 2ms.",
    )


class LocalLink(Part):
    """A link to an intermediate node. The operator plans by it; the runtime measures it if it can."""

    peer: Name = Field(description="Name of the node at the other end.")
    probe: Url | None = Field(
        default=None,
        description="URL of the runtime there to which probes are POSTed. Default: no runtime of the "
        "namespace runs there, and the link is not measured.",
    )
    interval: Duration = Field(default=Duration(2.0), description="Time between two probes. Default: 2s.")
    budget: Quantity = Field(
        default=Quantity(16 << 20),
        description="Maximum traffic of probes in bytes per hour. Default: 16Mi.",
    )
    bandwidth: Quantity = Field(
        description="Bandwidth in bit/s that the routes are planned for: spec.links.local of the "
        "DevicePool until the link was measured. The runtime reports a measurement that differs from the "
        "last one by more than a quarter."
    )
    declared: Quantity = Field(
        description="Bandwidth in bit/s that the DevicePool declared when bandwidth was planned."
    )
    round_trip: Duration = Field(description="Round trip that the routes are planned for.")


class Stage(Part):
    """A slice at a place."""

    place: Name = Field(description="Name of the node or of the Triton server.")
    runtime: Literal["Edge", "Triton"] = Field(
        description="What runs the slice. Edge: a runtime, on this node if there is no address. Triton: a "
        "Triton server."
    )
    slice: Slice = Field(description="The slice that runs here.")
    address: Url | None = Field(
        default=None,
        description="URL of Triton, or of the runtime on an intermediate node. Required for Triton. "
        "Default: this node.",
    )
    model: Name | None = Field(
        default=None, description="Model name of the slice at the address. Required with an address."
    )
    kept: Annotated[tuple[TensorName, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Outputs of the slice that are part of the response and do not go to the next stage. "
        "Default: none, all outputs of the response come from the last stage.",
    )
    predicted_compute: Duration | None = Field(
        default=None, description="Compute time that the plan predicts. Default: unknown."
    )
    packed: bool | None = Field(
        default=None,
        description="Whether the runtime packs the weights of the slice, which makes runs faster and takes "
        "more memory. It does not if its memory does not suffice. Default: it does if its memory suffices.",
    )
    compute_at: DurationsAt | None = Field(
        default=None,
        description="Compute time at each of the measured shapes, in order. Default: predictedCompute.",
    )
    bytes_at: BytesAt | None = Field(
        default=None,
        description="Bytes that the hop to this stage carries at each of the measured shapes, in order. "
        "Default: those of the slice's inputs.",
    )

    @model_validator(mode="after")
    def _triton_can_be_reached(self) -> Self:
        if self.runtime == "Triton" and (self.address is None or self.model is None):
            raise ValueError("a stage with runtime Triton requires address and model")
        if self.address is not None and self.model is None:
            raise ValueError("a stage with an address requires model: write the model name at the address")
        return self


class RouteOutput(Part):
    """An output in the response of a route."""

    name: TensorName = Field(description="Name in the response.")
    tensor: TensorName = Field(description="Name of the output of the last stage's slice, or of a kept one.")


class Route(Part):
    """An exit and the stages that compute it."""

    name: Annotated[str, Field(min_length=1, max_length=4200)] = Field(
        description="Name of the route: <exit>@<cut>, or <exit>@local."
    )
    exit: ExitName = Field(description="Exit that answers.")
    cut: TensorNames = Field(description="Tensors that leave this node, joined by +, or local if none does.")
    cut_tensors: Annotated[tuple[TensorName, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="The tensors in cut, as a list. Default: the one tensor in cut."
    )
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1, max_length=7)] | None = Field(
        default=None,
        description="Codec of each hop, in order, e.g. int8. Runtimes refuse codecs that they do not know. "
        "Default: fp32 on every hop, which changes nothing.",
    )
    accuracy: Accuracy = Field(description="Accuracy of the route, between 0 and 1.")
    worth: Accuracy | None = Field(
        default=None,
        description="Value of a response in time to spec.optimize of the service, between 0 and 1, by which "
        "the runtime chooses between routes. Default: accuracy.",
    )
    predicted_cost: Annotated[float, Field(strict=True, ge=0)] | None = Field(
        default=None,
        description="Mean price of a request that the plan predicts, in the currency of spec.prices of the "
        "DevicePool. Default: nothing has a price.",
    )
    predicted_energy: Annotated[float, Field(strict=True, ge=0)] | None = Field(
        default=None,
        description="Mean energy of a request at the entry node that the plan predicts, in joules. Default: "
        "the group of the node declares neither watts nor radio.",
    )
    predicted_bytes: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Mean bytes of a request that cross the uplink to the Triton server, as the plan "
        "predicts, without the response. Default: none, or an earlier version made the table.",
    )
    min_bandwidth: Quantity = Field(
        description="Minimum bandwidth in bit/s at which this route is used; 0 for local routes."
    )
    predicted_latency: Duration = Field(
        description="Latency at minBandwidth that the plan predicts, at the percentile of the SLO."
    )
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=8)] = Field(
        description="Stages in the order in which they run."
    )
    outputs: Annotated[tuple[RouteOutput, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Outputs of the last stage, and kept ones, in the order of the response, with their "
        "names there. Default: those of the last stage, in order, with the names in model.outputs.",
    )


class IntermediateSlice(Part):
    """A slice that this node runs for other entry nodes, and the stages after it."""

    model: Name = Field(description="Model name that other runtimes request.")
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=7)] = Field(
        description="The stage on this node, then those that follow it. The result of the last one is the "
        "response."
    )


class HostPorts(Part):
    """Ports of the node at which clients reach a service."""

    http: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = Field(
        default=None, description="Port for HTTP, from 1 to 65535. Default: none."
    )
    grpc: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = Field(
        default=None, description="Port for gRPC, from 1 to 65535. Default: none."
    )


class PlacedCandidate(Part):
    """Another revision of the model that this node has loaded as a service of its own."""

    service: Name = Field(description="Name of the candidate's InferenceService.")
    digest: Digest = Field(
        description="Digest of its model. The candidate is used only while its runtime has this model loaded."
    )
    weight: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        default=0, description="Percentage of the requests that it answers, from 0 to 100. Default: 0."
    )
    shadow: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        default=0,
        description="Percentage of the other requests that it computes, too, while the node is idle, to "
        "compare the outputs, from 0 to 100. Default: 0.",
    )


class PlacementSpec(Part):
    """Route table and policies of the runtime at an entry node."""

    service: Name = Field(description="Name of the InferenceService.")
    node: Name = Field(description="Name of the entry node.")
    isolation: Isolation = Field(default="Shared", description=ISOLATION)
    mode: Mode = Field(default="Auto", description="Mode in which the routes were chosen. Default: Auto.")
    model: PlacedModel = Field(description="Inputs and outputs of the model.")
    slo: PlacedSlo = Field(description="The SLO to meet.")
    link: PlacedLink | None = Field(
        default=None, description="Link to measure. Default: none, all routes are local."
    )
    local_links: (
        Annotated[tuple[LocalLink, ...], Field(min_length=1, max_length=16), KeyedBy("peer")] | None
    ) = Field(default=None, description="Links to intermediate nodes. Default: none.")
    privacy: Privacy = Field(default="Any", description=PRIVACY)
    early_exit: AnyEarlyExit = Field(
        default=EarlyExit(),
        description="Whether inputs may exit early once confidence reaches the threshold. Default: Planned.",
    )
    deadline: Deadline = Field(
        default=Deadline(), description="What to do if a remote response is late. Default: LocalExit."
    )
    autonomy: Duration | None = Field(
        default=None,
        description="How long to keep serving without contact to the API server. Default: no limit.",
    )
    host_ports: HostPorts | None = Field(
        default=None,
        description="Ports of the node that lead to the runtime, which a unit of the node serves while "
        "Kubernetes does not. Default: none, or the node has no such unit.",
    )
    input_filter: InputFilter | None = Field(
        default=None, description="Skips inference on inputs that hardly change. Default: no filter."
    )
    result_cache: ResultCache | None = Field(
        default=None, description="Caches the results of identical inputs. Default: no cache."
    )
    idle: PlacedIdle | None = Field(
        default=None,
        description="When the runtime lets go of the sessions of the service. Default: never.",
    )
    rate: Annotated[float, Field(strict=True, ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="Requests per second that the plan counts with at this node, up to 1000000. "
        "Those beyond it run after those of other services. Default: no limit.",
    )
    report_interval: Duration = Field(
        default=Duration(8.0),
        description="Least time between two reports of counters, a power of two seconds. The operator "
        "raises it with the number of Placements of the pool, so that all reports of counters together "
        "are at most 60 writes a minute. Default: 8s.",
    )
    shapes: PlacedShapes | None = Field(
        default=None,
        description="Shapes of requests, for which a request is routed by its own. Default: the inputs have "
        "no open dimension besides the batch, or their sizes are unknown.",
    )
    routes: Annotated[tuple[Route, ...], Field(min_length=1, max_length=16)] = Field(
        description="Routes by falling minBandwidth, 1 to 16. For each request, the runtime uses the "
        "route with the highest expected worth, given the probability that it meets the deadline on the "
        "measured link; a minBandwidth above the measured bandwidth lowers this probability. Of routes whose "
        "expected worth differs by less than 0.01, it uses the first one whose minBandwidth is covered. The "
        "last route is local, except in mode CloudOnly."
    )
    first_requests: FirstRequestsTurn | None = Field(
        default=None,
        description="What the runtime does with the inputs of requests to a model that refuses generated "
        "inputs. Keep: it keeps those of up to 8 requests in memory, and reports their number. Measure: it "
        "also measures the model on them while it computes no requests. Default: nothing.",
    )
    candidate: PlacedCandidate | None = Field(
        default=None, description="The revision that is rolled out. Default: none."
    )
    refusal: Text | None = Field(
        default=None,
        description="Message with which the runtime refuses all requests; it then loads no routes. Default: "
        "none, requests are served.",
    )
    intermediate_slices: (
        Annotated[tuple[IntermediateSlice, ...], Field(min_length=1, max_length=256)] | None
    ) = Field(
        default=None,
        description="Slices that this node runs for other entry nodes of the service. Default: none.",
    )

    @model_validator(mode="after")
    def _routes_are_in_order(self) -> Self:
        bandwidths = [route.min_bandwidth for route in self.routes]
        if bandwidths != sorted(bandwidths, reverse=True):
            raise ValueError("routes are not ordered by minBandwidth: put the highest first")
        return self


class Placement(KubernetesObject):
    """The route table of an entry node; written by the operator, its status by the runtime."""

    resource: ClassVar[Resource] = Resource(
        plural="placements",
        short_names=(),
        columns=(
            Column("Service", ".spec.service", "Name of the InferenceService."),
            Column("Node", ".spec.node", "Name of the entry node."),
            Column("Route", ".status.activeRoute", "Active route."),
            Column("Loaded", ".status.loaded", "Whether the routes are loaded.", "boolean"),
            Column("Link", ".status.link.state", "Whether the peer responds."),
            Column("Bandwidth", ".status.link.bandwidth", "Measured bandwidth in bit/s."),
            Column(
                "P95",
                ".status.latency.p95",
                "Measured 95th percentile of the latency in the minute before the last report.",
            ),
            Column(
                "Attainment",
                ".status.attainment",
                "Share of requests answered within the SLO in the minute before the last report.",
                wide=True,
            ),
            AGE,
        ),
    )

    kind: Literal["Placement"] = "Placement"
    spec: PlacementSpec = Field(
        description="The routes of one service at one entry node, with the policies that the runtime there "
        "applies to each request. Written by the operator: changes by others are overwritten."
    )
    status: PlacementStatus | None = Field(
        default=None,
        description="Which generation of the routes is loaded, which route is active, and what the runtime "
        "measured of link and latency. Written by the runtime.",
    )

    @property
    def loaded(self) -> bool:
        """Whether its runtime has loaded the routes that the status describes, perhaps of an earlier spec."""
        return self.status is not None and self.status.loaded

    @property
    def idle(self) -> bool:
        """Whether its runtime has let go of the sessions of the newest routes."""
        return self.switched and self.status is not None and self.status.idle is True

    @property
    def switched(self) -> bool:
        """Whether its runtime has loaded the routes of the newest spec."""
        generation = self.metadata.generation or 0
        return (
            self.status is not None and self.status.loaded and self.status.observed_generation >= generation
        )
