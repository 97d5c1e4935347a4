"""InferenceService: what a team writes."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edge_api.objects import (
    AGE,
    Column,
    Conditions,
    KubernetesObject,
    Part,
    Resource,
    StatusPart,
    condition_column,
)
from edge_api.policies import AnyEarlyExit, Deadline, EarlyExit, InputFilter, ResultCache
from edge_api.quantities import Duration, Quantity, Share
from edge_api.rules import (
    Accuracy,
    Digest,
    ObjectName,
    PositiveDuration,
    Rule,
    Text,
    between,
    formatted,
    matching,
    one_of_each,
)
from edge_api.selectors import NodeSelector
from edge_api.tensors import Exit
from edge_api.words import shown

Mode = Literal["Auto", "LocalOnly", "CloudOnly", "PartitionOnly", "RightSizingOnly"]

_STORAGE_URI = matching(
    r"^(store|http|https|file)://[^\x00-\x1f\x7f]+$",
    "is not where a model can be read from: write store://<path> (a file put into the model store), "
    "https://…, http://… or file://…",
)


class Validation(Part):
    """Labelled inputs on which the accuracy of codecs is measured."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Where the .npz file is, as for the model: arrays inputs, as the model takes them, and "
        "labels, the number of the right class of each; at least 100 samples, of which at most 1000 are used."
    )
    digest: Digest | None = Field(
        default=None,
        description="sha256:<64 hex digits> of the file. When given, a file with another digest is refused. "
        "Default: the digest of whatever the address gives.",
    )


class ModelSource(Part):
    """Where the model is and what its exits are."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Where the ONNX file is: store://<path> for a file in the model store, or an https://, "
        "http:// or file:// address that the model store can read."
    )
    digest: Digest | None = Field(
        default=None,
        description="sha256:<64 hex digits> of the ONNX file. When given, a file with another digest is "
        "refused. Default: the digest of whatever the address gives.",
    )
    exits: (
        Annotated[tuple[Exit, ...], Field(min_length=1, max_length=64), one_of_each("name", "exits")] | None
    ) = Field(
        default=None,
        description="The exits ordered by depth, the last one being the full model. Default: the list in "
        "the ONNX file's metadata entry edge.exits, which this one overrides.",
    )
    validation: Validation | None = Field(
        default=None,
        description="Data on which the loss of accuracy by the codecs fp16 and int8 is measured, at every "
        "cut and exit; then activations may cross links in them. Default: none, and hops carry fp32.",
    )


class Slo(Part):
    """What the service promises."""

    latency: PositiveDuration = Field(
        description="The time within which a request is to be answered, measured at the entry node: a number "
        "and a unit (us, ms, s, m, h), e.g. 100ms. Required."
    )
    percentile: Annotated[
        float,
        Field(strict=True),
        between(
            1, 99.9, "is not a percentile that can be planned for: write a number from 1 to 99.9, e.g. 95"
        ),
    ] = Field(
        default=95,
        description="The percentile of the request latency, from 1 to 99.9, that the plan keeps below "
        "latency. Default 95: compute times are planned with the profile's 95th percentile, not its mean.",
    )
    objective: Annotated[
        float,
        Field(strict=True),
        between(
            0, 1, "is not a share of requests: write a number above 0 and below 1, e.g. 0.95", open_ends=True
        ),
    ] = Field(
        default=0.95,
        description="The share of requests, above 0 and below 1, that must be answered within latency for "
        "the condition SLOMet to be True. Default 0.95.",
    )
    min_accuracy: Accuracy | None = Field(
        default=None,
        description="The lowest accuracy, between 0 and 1, of an exit that may answer. When no such exit "
        "keeps latency the service is refused with the condition Planned=False rather than answered badly. "
        "Default: any exit may answer, and the latency yields last.",
    )


class EntryNodes(Part):
    """Which nodes of the pool take requests."""

    node_selector: NodeSelector = Field(description="Labels that an entry node must have, all of them.")


class InferenceServiceSpec(Part):
    """A model, what it promises, and where it may run."""

    model: ModelSource = Field(description="The model.")
    slo: Slo = Field(description="The service level objective: how fast, how often, how accurate.")
    device_pool: ObjectName = Field(
        description="Name of the DevicePool whose nodes and Triton servers serve the model."
    )
    entry_nodes: EntryNodes | None = Field(
        default=None, description="The nodes at which requests arrive. Default: every node of the pool."
    )
    mode: Mode = Field(
        default="Auto",
        description="How exit and cut are chosen. Auto: the most accurate exit whose best cut keeps the "
        "SLO, by the bandwidth of the moment. LocalOnly: the full model at the entry node. CloudOnly: the "
        "full model at Triton. PartitionOnly: the full model, best cut. RightSizingOnly: the most accurate "
        "exit that the entry node alone finishes in time. Default Auto.",
    )
    early_exit: AnyEarlyExit = Field(
        default=EarlyExit(), description="Whether inputs of which an early exit is sure leave there."
    )
    deadline: Deadline = Field(default=Deadline(), description="What becomes of a late remote reply.")
    autonomy: PositiveDuration | None = Field(
        default=None,
        description="How long an entry node serves on without hearing from the API server, e.g. 24h; then it "
        "refuses requests and says why. Default: without end.",
    )
    input_filter: InputFilter | None = Field(
        default=None, description="Saves inferences on inputs that hardly change. Default: none."
    )
    result_cache: ResultCache | None = Field(
        default=None, description="Saves inferences on inputs that come again. Default: none."
    )


class SloStatus(StatusPart):
    """The SLO over the last minute, over all entry nodes."""

    attainment: Share | None = Field(
        default=None, description="Share of requests answered within slo.latency."
    )
    p95: Duration | None = Field(
        default=None, description="Measured 95th percentile of the latency, the worst entry."
    )


class EntryStatus(StatusPart):
    """One entry node."""

    node: str = Field(description="Name of the node.")
    exit: str | None = Field(default=None, description="Exit that answers at the moment.")
    cut: str | None = Field(
        default=None, description="Tensor at which the model is cut at the moment, or local."
    )
    predicted_latency: Duration | None = Field(
        default=None, description="Latency that the plan expects of the active route."
    )
    measured_latency: Duration | None = Field(
        default=None, description="Measured 95th percentile over the last minute."
    )
    bandwidth: Quantity | None = Field(default=None, description="Measured bandwidth to the cloud, in bit/s.")
    attainment: Share | None = Field(
        default=None, description="Share of requests answered within slo.latency."
    )
    reason: Text | None = Field(
        default=None, description="Why this exit and cut, or what is wrong at this node."
    )


class InferenceServiceStatus(StatusPart):
    """What became of it."""

    observed_generation: int = Field(
        default=0, description="The metadata.generation that this status is about."
    )
    conditions: Conditions = Field(
        default=(),
        description="Ready, ModelReady, Profiled, Planned, Placed and SLOMet, each with reason and message.",
    )
    url: str | None = Field(
        default=None, description="Where the Open Inference Protocol is spoken in the cluster."
    )
    exit: str | None = Field(
        default=None, description="The exits in use, one per entry node when they differ."
    )
    cut: str | None = Field(default=None, description="The cuts in use, one per entry node when they differ.")
    slo: SloStatus | None = Field(default=None, description="The SLO over the last minute.")
    entries: tuple[EntryStatus, ...] = Field(default=(), description="The entry nodes.")


_NAME_FIX = (
    "cannot be the name of a Service: start with a lower-case letter, use letters, digits and hyphens, "
    "at most 40 characters"
)


def _check_name(service: "InferenceService") -> str | None:
    name = service.metadata.name
    good = len(name) <= 40 and re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)
    return None if good else f"metadata.name: {shown(name)} {_NAME_FIX}"


_NAME = Rule(
    cel="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40",
    message=f"metadata.name {_NAME_FIX}",
    sentence=formatted(f'metadata.name: "%s" {_NAME_FIX}', "self.metadata.name"),
    check=_check_name,
)


class InferenceService(KubernetesObject):
    """A model with an SLO on a pool of devices; the operator picks the cut and the exit."""

    resource: ClassVar[Resource] = Resource(
        plural="inferenceservices",
        short_names=("eis",),
        columns=(
            Column("URL", ".status.url", "Where it is served."),
            condition_column("Ready", "Ready", "status", "Whether requests are answered."),
            Column("SLO", ".spec.slo.latency", "The latency promised."),
            Column("P95", ".status.slo.p95", "The latency measured over the last minute."),
            Column("Cut", ".status.cut", "Where the model is cut at the moment."),
            Column("Exit", ".status.exit", "Which exit answers at the moment."),
            condition_column("Reason", "Ready", "reason", "Why it is ready or not."),
            AGE,
        ),
        rules=(_NAME,),
    )

    kind: Literal["InferenceService"] = "InferenceService"
    spec: InferenceServiceSpec = Field(description="What is wanted.")
    status: InferenceServiceStatus | None = Field(default=None, description="What became of it.")
