"""ModelProfile: what a model costs on each device class."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edge_operator.api.objects import AGE, Column, KubernetesObject, Part, Resource
from edge_operator.api.quantities import Duration, Share
from edge_operator.api.rules import Digest, ExitName, Label, Name, TensorName
from edge_operator.api.tensors import Exit, Tensors


class Cut(Part):
    """A tensor at which a model can be cut."""

    tensor: TensorName = Field(description="Name of the tensor that crosses the link.")
    tensors: Annotated[tuple[TensorName, ...], Field(min_length=2, max_length=64)] | None = Field(
        default=None, description="The tensors that cross the link, if several. Default: the one in tensor."
    )
    bytes: int = Field(ge=0, description="Bytes of the tensors for a batch of one.")

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that cross the link."""
        return self.tensors or (self.tensor,)


class ProfiledExit(Exit):
    """An exit with its cuts."""

    cuts: Annotated[tuple[Cut, ...], Field(max_length=4096)] = Field(
        description="The tensors at which the way to this exit can be cut, from the input to the deepest."
    )


class ProfiledModel(Part):
    """The model as the model store sees it."""

    digest: Digest = Field(description="sha256 digest of the ONNX file.")
    inputs: Tensors = Field(description="The model's inputs.")
    exits: Annotated[tuple[ProfiledExit, ...], Field(min_length=1, max_length=64)] = Field(
        description="The exits ordered by depth, the last one being the full model."
    )


class SegmentCost(Part):
    """Compute time between two neighbouring cuts."""

    start: TensorName = Field(alias="from", description="Cut (or input) at which the segment begins.")
    end: TensorName = Field(alias="to", description="Cut (or output of the exit) at which it ends.")
    mean: Duration = Field(description="Mean time of one run with a batch of one.")
    p95: Duration = Field(description="95th percentile of the time of one run.")
    runs: int = Field(ge=1, description="How many runs were measured.")


class ExitCost(Part):
    """Compute time from the input to an exit in one piece."""

    exit: ExitName = Field(description="Name of the exit.")
    mean: Duration = Field(description="Mean time of one run with a batch of one.")
    p95: Duration = Field(description="95th percentile of the time of one run.")
    runs: int | None = Field(default=None, ge=1, description="How many runs were measured.")


class AssumedSize(Part):
    """An open dimension of an input, and the size that was taken for it."""

    input: TensorName = Field(description="Name of the input.")
    dimension: int = Field(ge=0, le=15, description="Which dimension it is, from 0 on.")
    symbol: TensorName | None = Field(
        default=None, description="What the file calls the dimension. Default: nothing."
    )
    size: int = Field(ge=0, description="The size with which the model was measured.")


class ClassCosts(Part):
    """What the model costs on one device class."""

    name: Label = Field(description="Name of the device class.")
    node: Name = Field(description="Node on which it was measured.")
    threads: int = Field(ge=1, description="Threads that a run used.")
    segments: Annotated[tuple[SegmentCost, ...], Field(min_length=1, max_length=8192)] = Field(
        description="Time between neighbouring cuts, for every exit; shared segments once."
    )
    exits: Annotated[tuple[ExitCost, ...], Field(min_length=1, max_length=64)] = Field(
        description="Time from the input to each exit in one piece."
    )
    relative_error: Share | None = Field(
        default=None,
        description="How far the sum of an exit's segments is from the exit in one piece, relative to it: "
        "the largest over the exits.",
    )
    assumed: Annotated[tuple[AssumedSize, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="The open dimensions of the model's inputs, and the sizes that were taken for them. "
        "Default: none is open.",
    )


MOST_CODEC_ACCURACIES = 4096


class CodecAccuracy(Part):
    """Accuracy of an exit on the validation data with one codec at one cut."""

    codec: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="Name of the codec, e.g. int8."
    )
    exit: Name = Field(description="Name of the exit.")
    cut: TensorName = Field(description="Tensors of the cut, several joined by +.")
    bytes: int = Field(ge=0, description="Bytes that cross the link for a batch of one.")
    # Not Accuracy: a rule of CEL in a list of this length costs the API server too much.
    accuracy: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        description="Measured accuracy, between 0 and 1."
    )


class ModelProfileSpec(Part):
    """A model's exits and cuts, and what they cost."""

    service: Name | None = Field(default=None, description="InferenceService that the profile was made for.")
    model: ProfiledModel = Field(description="The model.")
    device_classes: Annotated[tuple[ClassCosts, ...], Field(max_length=64)] = Field(
        default=(), description="The costs on each device class that has been measured."
    )
    codecs: Annotated[tuple[CodecAccuracy, ...], Field(max_length=MOST_CODEC_ACCURACIES)] | None = Field(
        default=None,
        description="Accuracies with each codec, measured on spec.model.validation of the service. "
        "Default: not measured, or more than 4096.",
    )


class ModelProfile(KubernetesObject):
    """The exits and cuts of a model and what it costs on each device class; written by the operator."""

    resource: ClassVar[Resource] = Resource(
        plural="modelprofiles",
        short_names=("mp",),
        status=False,
        columns=(
            Column("Service", ".spec.service", "Service that it was made for."),
            Column("Model", ".spec.model.digest", "Digest of the ONNX file."),
            AGE,
        ),
    )

    kind: Literal["ModelProfile"] = "ModelProfile"
    spec: ModelProfileSpec = Field(description="What was found and measured.")
