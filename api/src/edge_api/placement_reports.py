"""What a runtime reports in the status of a Placement."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from edge_api.first_requests import FirstRequestsStatus
from edge_api.objects import KeyedBy, StatusPart
from edge_api.quantities import Bandwidth, Duration, Share
from edge_api.rules import Digest, ExitName, Name, Text
from edge_api.shapes import ShapeCounts


class LinkStatus(StatusPart):
    """The link as measured by the entry node."""

    state: Literal["Up", "Down"] = Field(description="Whether the peer responds.")
    bandwidth: Bandwidth | None = Field(
        default=None, description="Measured bandwidth in bit/s, with three significant digits."
    )
    bandwidth_low: Bandwidth | None = Field(
        default=None,
        description="20th percentile of the bandwidth in bit/s: four of five transfers exceed it.",
    )
    round_trip: Duration | None = Field(default=None, description="Measured round-trip time.")
    measured_at: AwareDatetime | None = Field(default=None, description="Time of the last measurement.")


class LocalLinkStatus(LinkStatus):
    """A link to an intermediate node as measured by the entry node."""

    peer: Name = Field(description="Name of the node at the other end.")


class LatencyStatus(StatusPart):
    """Measured latency in the last minute."""

    p50: Duration = Field(description="Median.")
    p95: Duration = Field(description="95th percentile.")


class ExitResiduals(StatusPart):
    """Measured over predicted compute times of an exit at the entry node."""

    exit: ExitName = Field(description="Name of the exit.")
    count: int = Field(default=0, description="Number of the last requests that the ratios stand for.")
    ratios: Annotated[
        tuple[Annotated[float, Field(strict=True, ge=0, le=1000)], ...], Field(max_length=100)
    ] = Field(
        description="Rising ratios of the measured to the predicted compute time: quantiles at even "
        "distances, at most 100."
    )


class ShadowCounts(StatusPart):
    """Requests that were answered by the current revision and computed by the candidate, too."""

    candidate: Name = Field(description="Name of the candidate.")
    compared: Annotated[int, Field(ge=0)] = Field(description="Number of them whose outputs were compared.")
    agreed: Annotated[int, Field(ge=0)] = Field(description="Those whose outputs differ by 1 % at most.")


class PlacementStatus(StatusPart):
    """Observed state, reported by the runtime."""

    observed_generation: int = Field(
        default=0, description="The metadata.generation that this status describes."
    )
    loaded: bool = Field(
        default=False, description="Whether the routes of this generation are loaded and warmed up."
    )
    reason: str | None = Field(
        default=None,
        max_length=100,
        description="Reason in CamelCase why the routes are not loaded, e.g. TrialCrashed if a slice "
        "crashed the process of its trial.",
    )
    message: Text = Field(
        default="", description="Why the routes are not loaded; the previous generation keeps serving."
    )
    active_route: str | None = Field(default=None, description="Name of the active route.")
    exit: str | None = Field(default=None, description="Exit of the active route.")
    cut: str | None = Field(default=None, description="Cut of the active route, or local.")
    link: LinkStatus | None = Field(default=None, description="State of the link.")
    local_links: Annotated[tuple[LocalLinkStatus, ...], Field(max_length=16), KeyedBy("peer")] | None = Field(
        default=None, description="States of the links to intermediate nodes."
    )
    latency: LatencyStatus | None = Field(
        default=None, description="Latency of the requests in the minute before the report."
    )
    residuals: Annotated[tuple[ExitResiduals, ...], Field(max_length=16)] | None = Field(
        default=None,
        description="How far compute times were from the plan, by exit. The operator takes the margin of the "
        "next plan from them. Updated once a minute.",
    )
    shapes: ShapeCounts | None = Field(
        default=None,
        description="Shapes of the requests since the runtime started, for a batch of one, at most 32; the "
        "rarest are counted with the next larger one. Updated once a minute, and at the first request. "
        "Default: the inputs have no open dimension besides the batch.",
    )
    first_requests: FirstRequestsStatus | None = Field(
        default=None,
        description="The measurement of the model on the inputs of requests, with times alone. Default: "
        "spec.firstRequests has none made.",
    )
    requests: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Number of requests since `since`. It never decreases while `since` stays the same. "
        "Written at most once per spec.reportInterval, unless something else in the status changes.",
    )
    met: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How many of these requests were answered within slo.latency."
    )
    failed: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="How many of these requests ended with an error of a route, refused ones not counted.",
    )
    shadow: ShadowCounts | None = Field(
        default=None,
        description="Comparisons with the candidate of spec.candidate, since the runtime started. Default: "
        "none were made.",
    )
    since: AwareDatetime | None = Field(
        default=None,
        description="Time at which counting began, by the clock of the entry node. A runtime that restarts "
        "continues the counters that it finds here.",
    )
    attainment: Share | None = Field(
        default=None,
        description="Share of the requests in the minute before the report that were answered within "
        "slo.latency, from 0 to 1.",
    )
    slo_met: bool | None = Field(
        default=None,
        description="Whether attainment reached slo.objective in the minute before the report. Default: "
        "there were no requests.",
    )
    peer_scheme: Literal["HTTPS"] | None = Field(
        default=None,
        description="HTTPS if the runtime serves TLS on ports for other nodes, 8443 for HTTP and 8444 "
        "for gRPC. Default: other nodes reach it at the ports for clients.",
    )
    unpacked: Annotated[tuple[Digest, ...], Field(max_length=256)] | None = Field(
        default=None,
        description="Slices that this node runs without packed weights, as planned or because the memory of "
        "its runtime does not suffice, at most 256. Default: none.",
    )
    idle: bool | None = Field(
        default=None,
        description="Whether the runtime has let go of the sessions, since no request came for spec.idle: "
        "the next request loads them from the disk. Default: they are loaded, or spec.idle is not set.",
    )
    load_time: Duration | None = Field(
        default=None,
        description="Time that the last first request after such a pause waited for its session. Default: "
        "none has waited since the runtime started.",
    )
    last_updated: AwareDatetime | None = Field(
        default=None,
        description="Time at which the runtime wrote this status, by the clock of the entry node. It is for "
        "people: nothing compares it with another clock.",
    )
