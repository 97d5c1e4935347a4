"""What the model store answers: models, measurements and accuracies as values."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from edge_api.model_sources import Metric
from edge_api.tensors import ResponseNames, Tensor


class StoreAnswer(BaseModel):
    """A response of the store; fields that a newer store adds are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class CardCut(StoreAnswer):
    """Tensors at which an exit may be cut, by name and one by one.

    bytes: of those that cross, for one item. sent: those, if outputs of the exit are among the tensors. It is
    empty if there are none, and in metadata of an earlier version, with which all tensors cross.
    """

    tensor: str
    tensors: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    bytes: int
    bytes_at: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors; an older store names a single one only."""
        return self.tensors or (self.tensor,)

    @property
    def crossing(self) -> tuple[str, ...]:
        """The tensors that cross."""
        return self.sent or self.names

    def computed(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """The outputs of the exit that are computed before the cut, and stay there."""
        return tuple(name for name in self.names if name in outputs) if self.sent else ()


class CardExit(StoreAnswer):
    """An exit, its outputs and its cuts from the inputs to the deepest.

    accuracy: None if none is stated. tensors: the outputs, where they are known; of the last exit always.
    response_bytes: of the outputs for one item, at the largest shape; 0 if an older store wrote it.
    response_bytes_at: at each of the shapes, if there are several.
    """

    name: str
    outputs: tuple[str, ...]
    accuracy: float | None = None
    response_names: ResponseNames = "Final"
    tensors: tuple[Tensor, ...] = ()
    cuts: tuple[CardCut, ...]
    response_bytes: int = 0
    response_bytes_at: tuple[int, ...] = ()

    @property
    def end(self) -> str:
        """The outputs' names joined by +, which identify the exit in measurements."""
        return "+".join(self.outputs)

    @property
    def source(self) -> tuple[str, ...]:
        """The inputs of the model that the exit needs."""
        return self.cuts[0].names

    def document(self) -> dict[str, Any]:
        """The exit as in a manifest."""
        return {
            "name": self.name,
            "outputs": list(self.outputs),
            "accuracy": self.accuracy,
            "responseNames": self.response_names,
        }


class CardShape(StoreAnswer):
    """The shape of each input of a request, by name."""

    inputs: dict[str, tuple[int, ...]]


class UnknownSize(StoreAnswer):
    """An open dimension of an input whose size nothing states; symbol: its name in the file."""

    input: str
    dimension: int
    symbol: str


class ModelCard(StoreAnswer):
    """The metadata that the store found in a model's file.

    local: why requests can be served only at the node at which they arrive; empty if they need not.
    shapes: of requests, from the smallest to the largest, in the order of `bytes_at` of cuts; empty if only
    the batch is open. unknown_sizes: open dimensions without a size; advice: what to write about them.
    samples: digest of the file of samples. warm_up: digest of a file with one of them.
    """

    digest: str
    size: int = 0
    inputs: tuple[Tensor, ...]
    exits: tuple[CardExit, ...]
    input_copies: tuple[str, ...] = ()
    local: str = ""
    shapes: tuple[CardShape, ...] = ()
    unknown_sizes: tuple[UnknownSize, ...] = ()
    advice: str = ""
    samples: str | None = None
    warm_up: str | None = None

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs of the full model."""
        return self.exits[-1].tensors


class Progress(StoreAnswer):
    """Bytes that the store received of a file. size: of the whole file; None if it is not known."""

    source: str
    received: int
    size: int | None = None


class Transfers(StoreAnswer):
    """The files that the store receives now."""

    transfers: tuple[Progress, ...] = ()


class GraphLayer(StoreAnswer):
    """A layer of a model; inputs: activations."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flops: float


class GraphTensor(StoreAnswer):
    """A tensor between layers. bytes: for one item; 0 if it cannot be sent."""

    name: str
    bytes: int


class LayerGraph(StoreAnswer):
    """A model's layers in topological order; none if the store cannot tell them apart."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[GraphLayer, ...]
    tensors: tuple[GraphTensor, ...]


class SegmentTime(StoreAnswer):
    """Compute time of the slice between two neighboring cuts, in seconds."""

    start: str = Field(alias="from")
    end: str = Field(alias="to")
    mean_seconds: float
    p95_seconds: float
    runs: int = 0


class ExitTime(StoreAnswer):
    """Compute time of a whole exit, in seconds. response_bytes: of its outputs; 0 if not counted."""

    exit: str
    output: str = ""
    """The outputs' names joined by +; empty if an earlier version wrote it."""
    mean_seconds: float
    p95_seconds: float
    runs: int = 0
    response_bytes: int = 0


class AssumedSize(StoreAnswer):
    """The size that an open dimension of an input had when it was measured."""

    input: str
    dimension: int
    symbol: str | None = None
    size: int


class RequestTime(StoreAnswer):
    """Processor seconds of requests outside of inference; processors: how many the node could use.

    Earlier versions did not measure responses. For these, a byte of a response takes as long as one of a
    request.
    """

    processors: float = Field(ge=0.001)
    receive_seconds: float = Field(ge=0)
    receive_seconds_per_byte: float = Field(ge=0)
    hop_seconds: float = Field(ge=0)
    hop_seconds_per_byte: float = Field(ge=0)
    respond_seconds_per_byte: float | None = Field(default=None, ge=0)
    reply_seconds_per_byte: float | None = Field(default=None, ge=0)


class PackingCost(StoreAnswer):
    """What packed weights of a model cost and save; memory: in bytes for each byte of its file."""

    slowdown: float = Field(gt=0)
    packed_memory: float = Field(gt=0)
    unpacked_memory: float = Field(gt=0)


class Estimate(StoreAnswer):
    """What estimated times rest on: the models that were fitted, and the relative standard error."""

    models: int = Field(ge=1)
    error: float = Field(ge=0)


class ProfileShape(StoreAnswer):
    """Compute times of a model at one shape of its inputs."""

    inputs: dict[str, tuple[int, ...]]
    segments: tuple[SegmentTime, ...]
    exits: tuple[ExitTime, ...]


class DeviceProfile(StoreAnswer):
    """Compute times of a model on a device class, measured on one of its nodes.

    segments, exits: at the largest of the shapes. shapes: from the smallest to the largest; empty if only the
    batch is open. refused: why the model could not be measured on its inputs; it then has no times.
    samples_digest: of the file of samples that it was measured on. measured_on: Requests if runtimes measured
    it on the inputs of those. estimated: set if the times are not measured but estimated.
    """

    model: str
    selection: str = ""
    device_class: str
    node: str
    threads: int = 1
    execution_provider: str | None = None
    segments: tuple[SegmentTime, ...]
    exits: tuple[ExitTime, ...]
    relative_error: float = 0.0
    assumed: tuple[AssumedSize, ...] = ()
    packing: PackingCost | None = None
    requests: RequestTime | None = None
    shapes: tuple[ProfileShape, ...] = ()
    refused: str = ""
    samples_digest: str | None = None
    measured_on: Literal["Requests"] | None = None
    estimated: Estimate | None = None


class CodecAccuracy(StoreAnswer):
    """An exit's accuracy on the validation data with one codec at one cut. bytes: sent for one item."""

    exit: str
    cut: tuple[str, ...]
    codec: str
    bytes: int
    accuracy: float

    @property
    def cut_name(self) -> str:
        """The cut's tensors joined by +."""
        return "+".join(self.cut)


class CodecRefusal(StoreAnswer):
    """A codec that a cut cannot carry, and why not."""

    cut: tuple[str, ...]
    codec: str
    why: str


class LeavingExit(StoreAnswer):
    """The share of inputs that leave at an exit, and their accuracy."""

    exit: str
    share: float
    accuracy: float


class ExitConfidence(StoreAnswer):
    """What a confidence threshold does, by exit from the earliest to the last."""

    threshold: float
    exits: tuple[LeavingExit, ...]


class CodecAccuracies(StoreAnswer):
    """Accuracies measured on a number of samples; empty until complete. metric: None is Accuracy."""

    complete: bool
    samples: int
    metric: Metric | None = None
    measured: tuple[CodecAccuracy, ...] = ()
    refused: tuple[CodecRefusal, ...] = ()
    confidences: tuple[ExitConfidence, ...] = ()
