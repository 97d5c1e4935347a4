"""InferenceService: a model, its SLO and where it runs."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from edge_api.counts import CountOrPercent
from edge_api.exposures import AnyExposure
from edge_api.model_sources import ModelSource
from edge_api.objects import (
    AGE,
    Column,
    Conditions,
    KeyedBy,
    KubernetesObject,
    Part,
    Resource,
    StatusPart,
    condition_column,
)
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
from edge_api.qoe import QoeStatus
from edge_api.quantities import Attainment, Bandwidth, Duration
from edge_api.rollouts import SHARED_RUNTIME, ModelStatus, Rollout, RolloutStatus
from edge_api.rules import (
    Accuracy,
    ObjectName,
    PositiveDuration,
    Rule,
    Text,
    between,
    formatted,
)
from edge_api.scaling import IDLE_AT_THE_EDGE, Scaling
from edge_api.selectors import SELECTS_SOMETHING, SelectsNodes
from edge_api.words import shown

Optimize = Literal["Accuracy", "Cost", "Energy"]
"""The planner's objectives that have route tables; tests compare them with edge_planning.objectives."""
Mode = Literal["Auto", "LocalOnly", "CloudOnly", "PartitionOnly", "RightSizingOnly"]

_RATE = between(
    0,
    1_000_000,
    "is not a rate: write requests per second, above 0 and below 1000000, e.g. 30",
    open_ends=True,
)


class Slo(Part):
    """The service level objective: latency, percentile, accuracy."""

    latency: PositiveDuration = Field(
        description="Maximum time in which the entry node answers a request, as a duration above 0 such as "
        "100ms. Required."
    )
    percentile: Annotated[
        float,
        Field(strict=True),
        between(1, 99.9, "is not a percentile from 1 to 99.9: write e.g. 95"),
    ] = Field(
        default=95,
        description="Percentile of the request latency that the plan keeps below latency, from 1 to 99.9. "
        "Compute times are planned at this percentile of the profile. Default: 95.",
    )
    objective: (
        Annotated[
            float,
            Field(strict=True),
            between(0, 1, "is not a share of requests above 0 and below 1: write e.g. 0.95", open_ends=True),
        ]
        | None
    ) = Field(
        default=None,
        description="Minimum share of requests answered within latency for the condition SLOMet to be True, "
        "above 0 and below 1; the rest is the error budget. Default: percentile as a share.",
    )
    min_accuracy: Accuracy | None = Field(
        default=None,
        description="Minimum accuracy of an exit that answers, between 0 and 1. If no such exit meets "
        "latency, the condition Planned is False with reason Infeasible. Default: any exit can answer; if "
        "nothing meets the SLO, the fastest route is used.",
    )
    throughput: Annotated[float, Field(strict=True), _RATE] | None = Field(
        default=None,
        description="Former name of spec.load.rate, which replaces it. Default: not set.",
    )

    @property
    def objective_share(self) -> float:
        """The SLO objective: the share of requests that must be answered within latency."""
        return self.percentile / 100 if self.objective is None else self.objective


class Load(Part):
    """The load that a service is planned for."""

    rate: Annotated[float, Field(strict=True), _RATE] | None = Field(
        default=None,
        description="Requests per second that each entry node is planned for, above 0 and below 1000000. The "
        "plan adds the time for which they wait for each other, and uses at most 80 % of the uplink. A "
        "service whose rate the pool cannot hold is refused. Default: the plan reserves what 0.01 requests "
        "per second need, and counts the high quantile of measured rates where it makes requests late.",
    )


class EntryNodes(SelectsNodes):
    """The nodes of the pool that take requests."""


class InferenceServiceSpec(Part):
    """A model, its SLO, and where it runs."""

    model: ModelSource = Field(description="The model to serve. Required.")
    slo: Slo = Field(description="The service level objective. Required.")
    load: Load = Field(
        default=Load(), description="The load that the service is planned for. Default: requests do not wait."
    )
    scaling: Scaling = Field(
        default=Scaling(), description="What the service holds without requests. Default: all that it uses."
    )
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = Field(
        default=0,
        description="Priority among the services of the pool, from -1000 to 1000. If the pool cannot hold "
        "all services, those of lower priority are refused first, and lose accuracy first. Default: 0.",
    )
    device_pool: ObjectName = Field(
        description="Name of the DevicePool whose nodes and Triton servers serve the model. Required."
    )
    entry_nodes: Annotated[EntryNodes, SELECTS_SOMETHING] | None = Field(
        default=None, description="Nodes at which requests arrive. Default: every node of the pool."
    )
    min_ready_entries: CountOrPercent | None = Field(
        default=None,
        description="How many entry nodes must answer requests for the condition Ready to be True, as a "
        "number or as a percentage of all entry nodes such as 50%. Default: all but those whose Node is not "
        "Ready.",
    )
    isolation: Isolation = Field(default="Shared", description=ISOLATION)
    exposure: AnyExposure | None = Field(
        default=None,
        description="How clients outside the cluster reach the entry nodes. Default: they do not; the "
        "service has an address inside the cluster.",
    )
    mode: Mode = Field(
        default="Auto",
        description="How exit and cut are chosen. Auto: the most accurate exit whose fastest cut meets the "
        "SLO at the current bandwidth. LocalOnly: the full model at the entry node. CloudOnly: the full "
        "model at Triton. PartitionOnly: the full model with its fastest cut. RightSizingOnly: the most "
        "accurate exit that meets the SLO at the entry node. Default: Auto.",
    )
    optimize: Optimize = Field(
        default="Accuracy",
        description="What decides between routes that meet the SLO and minAccuracy. Accuracy: the most "
        "accurate. Cost: the cheapest by spec.prices of the DevicePool. Energy: the one that takes the least "
        "energy of the entry node, which requires watts or radio in the pool. If no route "
        "meets the SLO, the fastest is used. Default: Accuracy.",
    )
    privacy: Privacy = Field(default="Any", description=PRIVACY)
    early_exit: AnyEarlyExit = Field(
        default=EarlyExit(),
        description="Whether inputs may exit early once confidence reaches the threshold. Default: Planned.",
    )
    deadline: Deadline = Field(
        default=Deadline(), description="What to do if a remote response is late. Default: LocalExit."
    )
    rollout: Rollout | None = Field(
        default=None,
        description="How requests go over to a new revision: another spec.model.storageUri or digest. The "
        "candidate is loaded beside the current revision, and returned from if it fails. Default: "
        "entry nodes load the new model beside the old one and swap them, each when it is ready; if one of "
        "them cannot load it, all serve the old one again.",
    )
    suspend: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Whether the service is suspended: its entry nodes release sessions and memory, its "
        "tails are unloaded, and requests are refused with status 503 and a message that names this field. "
        "The runtimes of a Dedicated service are removed instead. Default: false.",
    )
    autonomy: PositiveDuration | None = Field(
        default=None,
        description="How long an entry node keeps serving without contact to the API server, as a duration "
        "such as 24h; after that it refuses requests. Default: no limit.",
    )
    input_filter: InputFilter | None = Field(
        default=None, description="Skips inference on inputs that hardly change. Default: no filter."
    )
    result_cache: ResultCache | None = Field(
        default=None, description="Caches the results of identical inputs. Default: no cache."
    )

    @property
    def planned_rate(self) -> float:
        """The requests per second that each entry node is declared to have; 0 if that is not declared."""
        return self.load.rate or self.slo.throughput or 0.0


_CLOUD_ONLY_FIX = (
    "contradicts mode CloudOnly, which sends every input to Triton: remove privacy or choose another mode"
)


def _check_privacy(spec: InferenceServiceSpec) -> str | None:
    if spec.mode != "CloudOnly" or spec.privacy == "Any":
        return None
    return f"privacy: {shown(spec.privacy)} {_CLOUD_ONLY_FIX}"


_PRIVACY = Rule(
    cel="!has(self.mode) || self.mode != 'CloudOnly' || !has(self.privacy) || self.privacy == 'Any'",
    message=f"privacy {_CLOUD_ONLY_FIX}",
    sentence=formatted(f'privacy: "%s" {_CLOUD_ONLY_FIX}', "self.privacy"),
    check=_check_privacy,
)


_TWO_RATES_FIX = "spec.load.rate replaces slo.throughput: remove slo.throughput"
_ONE_RATE = Rule(
    cel="!has(self.load) || !has(self.load.rate) || !has(self.slo.throughput)",
    message=_TWO_RATES_FIX,
    sentence=f"'{_TWO_RATES_FIX}'",
    check=lambda spec: _TWO_RATES_FIX if spec.load.rate and spec.slo.throughput else None,
)


_STATE_FIX = (
    "reuses responses to similar inputs, but the responses of a model with spec.model.state depend on the "
    "requests before: remove one of the two"
)


def _check_state(spec: InferenceServiceSpec) -> str | None:
    if spec.model.state is None:
        return None
    if spec.input_filter is not None:
        return f"inputFilter: {_STATE_FIX}"
    return f"resultCache: {_STATE_FIX}" if spec.result_cache is not None else None


_STATE = Rule(
    cel="!has(self.model.state) || (!has(self.inputFilter) && !has(self.resultCache))",
    message=f"inputFilter and resultCache: {_STATE_FIX}",
    sentence=f"(has(self.inputFilter) ? 'inputFilter: ' : 'resultCache: ') + '{_STATE_FIX}'",
    check=_check_state,
)


class SloWindow(StatusPart):
    """SLO attainment over the time that ends at the last report."""

    window: Literal["5m", "1h", "6h", "28d"] = Field(description="Length of the window.")
    requests: Annotated[int, Field(ge=0)] = Field(default=0, description="Number of requests.")
    attainment: Attainment | None = Field(
        default=None,
        description="Share of requests answered within spec.slo.latency, from 0 to 1, rounded down. "
        "Default: there were no requests.",
    )
    burn_rate: Annotated[str, Field(max_length=32)] | None = Field(
        default=None,
        description="How fast the error budget was used: 1 uses exactly the budget, 2 twice as much. "
        "Default: there were no requests.",
    )
    covered: Duration | None = Field(
        default=None,
        description="The part of the window of which requests were counted. Default: all of it.",
    )
    age: Duration | None = Field(
        default=None,
        description="Greatest age of the window's requests at reportedAt, if runtimes report so rarely that "
        "it exceeds the length of the window. Default: the length of the window.",
    )


class CountedRequests(StatusPart):
    """Sums of the counters of the service's Placements."""

    requests: Annotated[int, Field(ge=0)] = Field(default=0, description="Number of requests.")
    met: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How many of them were answered within spec.slo.latency."
    )


class SloStatus(StatusPart):
    """SLO attainment over all entry nodes."""

    attainment: Attainment | None = Field(
        default=None,
        description="Share of requests answered within spec.slo.latency in the 5 minutes before reportedAt, "
        "from 0 to 1, rounded down.",
    )
    p95: Duration | None = Field(
        default=None,
        description="95th percentile of the latency at the slowest entry node, in the minute before its last "
        "report.",
    )
    summary: str | None = Field(
        default=None,
        description="attainment against the SLO objective, e.g. 0.97/0.95. The SLO is met if the first is "
        "not below the second.",
    )
    error_budget_remaining: Attainment | None = Field(
        default=None,
        description="Share of the error budget of 28 days that is left, from 0 to 1, rounded down. The "
        "budget is the share of requests that may miss spec.slo.latency.",
    )
    windows: Annotated[tuple[SloWindow, ...], Field(max_length=8), KeyedBy("window")] = Field(
        default=(),
        description="Attainment and burn rate over 5m, 1h, 6h and 28d. Windows end at reportedAt.",
    )
    reported_at: AwareDatetime | None = Field(
        default=None,
        description="Time at which the operator received the last report with more requests. Windows are as "
        "old as that.",
    )
    counted: CountedRequests | None = Field(
        default=None,
        description="Sums of the counters of the Placements at reportedAt. A restarted operator continues "
        "from them.",
    )
    history: Text | None = Field(
        default=None,
        description="Points from which the windows are computed, oldest first, separated by semicolons: Unix "
        "time in seconds, requests, and requests answered in time. At most 70 points, the closer the newer.",
    )


class EntryCounts(StatusPart):
    """Numbers of entry nodes."""

    total: Annotated[int, Field(ge=0)] = Field(default=0, description="All entry nodes.")
    ready: Annotated[int, Field(ge=0)] = Field(default=0, description="Those that answer requests.")
    degraded: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Those that answer requests, but not by the current plan."
    )
    updating: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Those that are starting or loading new routes."
    )
    away: Annotated[int, Field(ge=0)] = Field(default=0, description="Those whose Node is not Ready.")
    missing: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Those with a problem that do not answer, and whose Node is Ready."
    )


class EntryStatus(StatusPart):
    """Observed state of an entry node."""

    node: str = Field(description="Name of the node.")
    exit: str | None = Field(default=None, description="Exit of the active route.")
    cut: str | None = Field(
        default=None, description="Tensors of the cut of the active route, joined by +, or local."
    )
    predicted_latency: Duration | None = Field(
        default=None, description="Latency that the plan predicts for the active route."
    )
    measured_latency: Duration | None = Field(
        default=None,
        description="Measured 95th percentile of the latency in the minute before the last report.",
    )
    bandwidth: Bandwidth | None = Field(
        default=None, description="Measured bandwidth of the uplink in bit/s, with three significant digits."
    )
    attainment: Attainment | None = Field(
        default=None,
        description="Share of requests answered within spec.slo.latency in the minute before the last "
        "report, from 0 to 1, rounded down.",
    )
    compute_factor: float | None = Field(
        default=None,
        description="How many times as long as on other nodes of its device class compute takes at this "
        "node, as when it is throttled or other pods crowd it. Its routes are planned with margins of its "
        "own. Default: it is like its class.",
    )
    reason: Text | None = Field(
        default=None, description="Why this route is active, or what is wrong at this node."
    )


class InferenceServiceStatus(StatusPart):
    """Observed state of an InferenceService."""

    observed_generation: int = Field(
        default=0, description="The metadata.generation that this status describes."
    )
    conditions: Conditions = Field(
        default=(),
        description="Ready, Progressing, Degraded, ModelReady, Profiled, Planned, Placed, SLOMet, RolledOut, "
        "with spec.scaling.idleAfter Idle, and after a new version of the runtimes RuntimesUpdated, each "
        "with a reason and a message.",
    )
    ready_entries: str | None = Field(
        default=None, description="Entry nodes that answer requests, of all of them, e.g. 2/3."
    )
    entry_counts: EntryCounts | None = Field(
        default=None, description="Numbers of entry nodes, by what they do."
    )
    ei_level: Annotated[int, Field(ge=0, le=3)] | None = Field(
        default=None,
        description="How much the service uses the cloud for inference now, on the scale of edge "
        "intelligence of Zhou et al. (2019). 0: all inference in the cloud. 1: entry nodes and the "
        "cloud share it. 2: within the edge. 3: on the devices. The lowest of the entry nodes'. Default: no "
        "active route.",
    )
    url: str | None = Field(
        default=None, description="URL of the Open Inference Protocol endpoint in the cluster."
    )
    model: ModelStatus | None = Field(default=None, description="The model that is served.")
    rollout: RolloutStatus | None = Field(
        default=None, description="The roll-out of spec.model. Default: nothing was loaded yet."
    )
    exit: str | None = Field(default=None, description="Exits in use; one per entry node if they differ.")
    cut: str | None = Field(default=None, description="Cuts in use; one per entry node if they differ.")
    slo: SloStatus | None = Field(
        default=None, description="SLO attainment over time. Default: no requests yet."
    )
    qoe: QoeStatus | None = Field(
        default=None,
        description="Accuracy, latency, communication, energy, privacy and memory by the active routes. "
        "Default: no active route.",
    )
    entries: Annotated[tuple[EntryStatus, ...], KeyedBy("node")] = Field(
        default=(),
        description="State of each entry node; of more than 100, those with problems and with the lowest "
        "attainment.",
    )


_NAME_FIX = (
    "is not a valid name of a Service: start with a lower-case letter, use letters, digits and hyphens, "
    "at most 40 characters, and do not begin with edge-runtime, the prefix of the names of runtimes"
)


def _check_name(service: "InferenceService") -> str | None:
    name = service.metadata.name
    good = (
        len(name) <= 40
        and re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)
        and not name.startswith("edge-runtime")
    )
    return None if good else f"metadata.name: {shown(name)} {_NAME_FIX}"


_NAME = Rule(
    cel="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40 && "
    "!self.metadata.name.startsWith('edge-runtime')",
    message=f"metadata.name {_NAME_FIX}",
    sentence=formatted(f'metadata.name: "%s" {_NAME_FIX}', "self.metadata.name"),
    check=_check_name,
)


class InferenceService(KubernetesObject):
    """A model with an SLO on a DevicePool; the operator chooses the exit and the cut."""

    resource: ClassVar[Resource] = Resource(
        plural="inferenceservices",
        short_names=("eis",),
        columns=(
            Column("URL", ".status.url", "URL of the service."),
            condition_column("Ready", "Ready", "status", "Whether enough entry nodes answer requests."),
            Column("Entries", ".status.readyEntries", "Entry nodes that answer requests, of all."),
            Column("SLO", ".status.slo.summary", "SLO attainment over 5 minutes against the objective."),
            Column(
                "Budget",
                ".status.slo.errorBudgetRemaining",
                "Share of the error budget of 28 days that is left, from 0 to 1.",
            ),
            Column("Latency", ".spec.slo.latency", "Latency of the SLO."),
            Column("P95", ".status.slo.p95", "Measured 95th percentile of the latency at the last report."),
            Column("Cut", ".status.cut", "Cuts in use."),
            Column("Exit", ".status.exit", "Exits in use."),
            condition_column("Reason", "Ready", "reason", "Reason of the Ready condition."),
            AGE,
        ),
        rules=(_NAME,),
    )

    kind: Literal["InferenceService"] = "InferenceService"
    spec: Annotated[InferenceServiceSpec, _PRIVACY, _ONE_RATE, _STATE, IDLE_AT_THE_EDGE, SHARED_RUNTIME] = (
        Field(
            description="The model to serve, its SLO and the pool that serves it. The operator chooses exit "
            "and cut for every entry node and renews them when it changes."
        )
    )
    status: InferenceServiceStatus | None = Field(
        default=None,
        description="What the operator found and decided: conditions with reasons, the SLO attainment over "
        "time, and the state of the entry nodes. Written by the operator alone.",
    )
