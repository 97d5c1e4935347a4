"""ModelProfile: measurements of a model on each device class."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edge_api.model_sources import Metric
from edge_api.objects import AGE, Column, KeyedBy, KubernetesObject, Part, Resource
from edge_api.quantities import Duration, Share
from edge_api.rules import Digest, ExitName, Label, Name, TensorName, TensorNames, Text
from edge_api.shapes import BytesAt, DurationsAt, MeasuredShapes
from edge_api.tensors import Exit, Tensor, Tensors


class Cut(Part):
    """Tensors at which a model can be cut."""

    tensor: TensorNames = Field(
        description="Name of the tensor that crosses the link; several are joined by +."
    )
    tensors: Annotated[tuple[TensorName, ...], Field(min_length=2, max_length=64)] | None = Field(
        default=None, description="The tensors that cross the link, if several. Default: the one in tensor."
    )
    sent: Annotated[tuple[TensorName, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Those of the tensors that cross the link, if outputs of the exit are among them: these "
        "stay where they are computed. Default: all, and the next slice returns the outputs.",
    )
    bytes: int = Field(
        ge=0, description="Bytes that cross for a batch of one, at the largest of the model's shapes."
    )
    bytes_at: BytesAt | None = Field(
        default=None, description="Bytes at each of the model's shapes, in order. Default: bytes."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that cross the link."""
        return self.tensors or (self.tensor,)


class ProfiledExit(Exit):
    """An exit with its cuts."""

    cuts: Annotated[tuple[Cut, ...], Field(max_length=4096)] = Field(
        description="Cuts of this exit, from the input to the deepest."
    )
    response_bytes: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Bytes of the outputs for a batch of one, at the largest of the model's shapes. Default: "
        "not known; responses are planned as if they took no time.",
    )
    response_bytes_at: BytesAt | None = Field(
        default=None,
        description="Bytes of the outputs at each of the model's shapes, in order. Default: responseBytes.",
    )


class ProfiledModel(Part):
    """Metadata of the model in the model store."""

    digest: Digest = Field(description="SHA-256 digest of the ONNX file.")
    size: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Size of the ONNX file in bytes. Default: not known."
    )
    inputs: Tensors = Field(description="Inputs of the model.")
    exits: Annotated[tuple[ProfiledExit, ...], Field(min_length=1, max_length=64), KeyedBy("name")] = Field(
        description="Exits ordered by depth; the last one is the full model."
    )
    outputs: Tensors | None = Field(
        default=None,
        description="Outputs of the full model. Default: not recorded; the operator calls the model store.",
    )
    output: Tensor | None = Field(
        default=None, description="The only output, as earlier versions write it. Default: see outputs."
    )
    input_copies: Annotated[tuple[TensorName, ...], Field(max_length=1024)] | None = Field(
        default=None,
        description="Inputs and tensors that are only copies of one, which spec.privacy can keep local. "
        "Default: not known.",
    )
    shapes: MeasuredShapes | None = Field(
        default=None,
        description="Shapes of requests that were stated or counted, from the smallest to the largest; "
        "bytesAt of cuts are in this order. Default: no dimension besides the batch is open.",
    )
    warm_up: Digest | None = Field(
        default=None,
        description="SHA-256 digest of the model store's file with one of spec.model.samples of the service, "
        "on which runtimes warm the model up. Default: zeros.",
    )
    stays_local: Text | None = Field(
        default=None,
        description="Why requests can be served only at the entry node, e.g. that an input contains strings. "
        "Default: they need not.",
    )


class SegmentCost(Part):
    """Compute time between two consecutive cuts."""

    start: TensorNames = Field(alias="from", description="Cut (or input) at which the segment starts.")
    end: TensorNames = Field(
        alias="to", description="Cut at which it ends, or the outputs of the exit, several joined by +."
    )
    mean: Duration = Field(description="Mean duration of a run with a batch of one.")
    p95: Duration = Field(description="95th percentile of the duration of a run.")
    runs: int = Field(ge=1, description="Number of runs that were measured.")
    mean_at: DurationsAt | None = Field(
        default=None, description="Mean duration at each of the shapes, in order. Default: mean."
    )
    p95_at: DurationsAt | None = Field(
        default=None, description="95th percentile at each of the shapes, in order. Default: p95."
    )


class ExitCost(Part):
    """Compute time from the input to an exit as one slice."""

    exit: ExitName = Field(description="Name of the exit.")
    mean: Duration = Field(description="Mean duration of a run with a batch of one.")
    p95: Duration = Field(description="95th percentile of the duration of a run.")
    runs: int | None = Field(default=None, ge=1, description="Number of runs that were measured.")
    mean_at: DurationsAt | None = Field(
        default=None, description="Mean duration at each of the shapes, in order. Default: mean."
    )
    p95_at: DurationsAt | None = Field(
        default=None, description="95th percentile at each of the shapes, in order. Default: p95."
    )


class AssumedSize(Part):
    """A dynamic dimension of an input, and the size that was used for it."""

    input: TensorName = Field(description="Name of the input.")
    dimension: int = Field(ge=0, le=15, description="Index of the dimension, from 0.")
    symbol: TensorName | None = Field(
        default=None, description="Name of the dimension in the ONNX file. Default: no name."
    )
    size: int = Field(ge=0, description="Size with which the model was measured.")


class RequestTime(Part):
    """Processor time of requests outside of inference."""

    processors: Annotated[float, Field(strict=True, ge=0.001, le=100_000)] = Field(
        description="Processors that a process could use on the node when it was measured: below 1 under a "
        "quota. A node that has them all for one second has spent a second of its time."
    )
    receive: Duration = Field(description="Processor time to receive a request and respond to it.")
    receive_megabyte: Duration = Field(
        description="Processor time that is added for each 10^6 bytes of its inputs."
    )
    hop: Duration = Field(
        description="Processor time to send activations to the next stage and read its response."
    )
    hop_megabyte: Duration = Field(
        description="Processor time that is added for each 10^6 bytes of activations."
    )
    respond_megabyte: Duration | None = Field(
        default=None,
        description="Processor time that is added for each 10^6 bytes of its response. Default: "
        "receiveMegabyte.",
    )
    reply_megabyte: Duration | None = Field(
        default=None,
        description="Processor time that is added for each 10^6 bytes of the response that a hop reads. "
        "Default: hopMegabyte.",
    )


_Multiple = Annotated[float, Field(strict=True, ge=0.001, le=1000)]


class PackingCost(Part):
    """Packed weights of the full model: in the layout that operators read fastest."""

    slowdown: _Multiple = Field(
        description="Mean duration of a run without packed weights, relative to one with them."
    )
    packed_memory: _Multiple = Field(
        description="Memory for loading and running the model with packed weights, in bytes for each byte of "
        "its file."
    )
    unpacked_memory: _Multiple = Field(
        description="Memory for loading and running the model without packed weights, in bytes for each "
        "byte of its file."
    )


class Estimate(Part):
    """What estimated times rest on."""

    models: int = Field(ge=1, description="Number of models on the class whose operators were fitted.")
    error: Annotated[float, Field(strict=True, ge=0)] = Field(
        description="Expected relative standard error of the times."
    )


class ClassCosts(Part):
    """Measurements on one device class."""

    name: Label = Field(description="Name of the device class.")
    selection: Name | None = Field(
        default=None,
        description="Nodes for which it was measured: the name of their DevicePool, and a fingerprint of the "
        "selectors of the class. Default: measured by an earlier version; the class is measured again.",
    )
    node: Name = Field(description="Node on which it was measured; of an estimate, a node of the class.")
    estimated: Estimate | None = Field(
        default=None,
        description="Set if the times are estimated from the operators of other models on the class, until "
        "the model is measured. Default: measured.",
    )
    threads: int = Field(ge=1, description="Number of threads of a run.")
    execution_provider: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None,
        description="Execution provider on which it was measured, e.g. OpenVINO. Default: CPU.",
    )
    measured_on: Literal["Requests"] | None = Field(
        default=None,
        description="Inputs on which it was measured. Requests: those of the first requests at the node, "
        "because the model refuses generated ones. Default: generated ones, or spec.model.samples of the "
        "service.",
    )
    segments: Annotated[tuple[SegmentCost, ...], Field(min_length=1, max_length=8192)] = Field(
        description="Compute times between neighboring cuts of all exits; shared segments appear once."
    )
    exits: Annotated[tuple[ExitCost, ...], Field(min_length=1, max_length=64), KeyedBy("exit")] = Field(
        description="Compute time from the input to each exit as one slice."
    )
    relative_error: Share | None = Field(
        default=None,
        description="Largest relative difference, over the exits, between the sum of an exit's segments and "
        "the exit as one slice. Default: not measured.",
    )
    assumed: Annotated[tuple[AssumedSize, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Dynamic dimensions of the inputs, and the sizes that were used for them. Default: none.",
    )
    shapes: MeasuredShapes | None = Field(
        default=None,
        description="Shapes at which the model was measured, from the smallest to the largest. Default: one "
        "shape, with the sizes in assumed.",
    )
    shape_error: Share | None = Field(
        default=None,
        description="Largest relative difference, over the exits, between a measured time and the line "
        "through those at the shapes below and above it. Default: not known, with fewer than three shapes.",
    )
    packing: PackingCost | None = Field(
        default=None,
        description="What packed weights cost and save, by which plans choose them. Default: not measured, "
        "as for models below 4 MiB, on Triton servers and by earlier versions; each runtime decides.",
    )
    requests: RequestTime | None = Field(
        default=None,
        description="Processor time of requests outside of inference, which plans reserve, too. Default: not "
        "measured, as on Triton servers and by earlier versions; plans count inference alone.",
    )


MOST_CODEC_ACCURACIES = 4096


class CodecAccuracy(Part):
    """Accuracy of an exit on the validation data with one codec at one cut."""

    codec: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="Name of the codec, e.g. int8."
    )
    exit: Name = Field(description="Name of the exit.")
    cut: TensorNames = Field(description="Tensors of the cut, several joined by +.")
    bytes: int = Field(ge=0, description="Bytes that cross the link for a batch of one.")
    # Not Accuracy: a rule of CEL in a list of this length costs the API server too much.
    accuracy: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        description="Measured accuracy, between 0 and 1."
    )


class LeavingExit(Part):
    """Inputs that leave at an exit."""

    exit: Name = Field(description="Name of the exit.")
    share: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        description="Share of all inputs that leave there, from 0 to 1."
    )
    accuracy: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        description="Accuracy of these inputs, between 0 and 1."
    )


class ExitConfidence(Part):
    """Where the inputs of the validation data leave with one confidence threshold."""

    threshold: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        description="Confidence from which an input leaves at an exit."
    )
    exits: Annotated[tuple[LeavingExit, ...], Field(min_length=1, max_length=64)] = Field(
        description="Exits from the earliest to the last; the shares sum to 1."
    )


class ModelProfileSpec(Part):
    """Exits and cuts of a model, and their measurements."""

    service: Name | None = Field(
        default=None, description="Name of the InferenceService that the profile belongs to."
    )
    model: ProfiledModel = Field(description="Metadata of the model.")
    device_classes: Annotated[tuple[ClassCosts, ...], Field(max_length=64), KeyedBy("name")] = Field(
        default=(), description="Measurements by device class."
    )
    codecs: Annotated[tuple[CodecAccuracy, ...], Field(max_length=MOST_CODEC_ACCURACIES)] | None = Field(
        default=None,
        description="Accuracies with each codec, measured on spec.model.validation of the service. "
        "Default: not measured, or more than 4096.",
    )
    confidences: Annotated[tuple[ExitConfidence, ...], Field(max_length=64)] | None = Field(
        default=None,
        description="What confidence thresholds do to early exits, measured on spec.model.validation of the "
        "service. Default: not measured.",
    )
    metric: Metric | None = Field(
        default=None,
        description="Metric of the accuracies in codecs and confidences: that of spec.model.validation of "
        "the service. Default: Accuracy.",
    )


class ModelProfile(KubernetesObject):
    """The exits and cuts of a model and what it costs on each device class; written by the operator."""

    resource: ClassVar[Resource] = Resource(
        plural="modelprofiles",
        short_names=("mp",),
        status=False,
        columns=(
            Column("Service", ".spec.service", "InferenceService that it belongs to."),
            Column("Model", ".spec.model.digest", "SHA-256 digest of the ONNX file."),
            AGE,
        ),
    )

    kind: Literal["ModelProfile"] = "ModelProfile"
    spec: ModelProfileSpec = Field(
        description="Where the model can be cut and end, and how long each part takes on every device class, "
        "from which routes are planned. Written by the operator; delete the object to have it built again."
    )
