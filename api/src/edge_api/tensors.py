"""Tensors, slices and exits, as the model store describes them."""

from typing import Annotated, Literal

from pydantic import Field

from edge_api.objects import Part
from edge_api.rules import Accuracy, Digest, ExitName, TensorName

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
]  # fmt: skip


class Tensor(Part):
    """A tensor by the Open Inference Protocol's words."""

    name: TensorName = Field(description="Name of the tensor in the ONNX graph.")
    datatype: Datatype = Field(description="Element type in the Open Inference Protocol's words, e.g. FP32.")
    shape: Annotated[tuple[int, ...], Field(max_length=16)] = Field(
        description="Dimensions; -1 is one that the request decides (the batch)."
    )
    batched: bool | None = Field(
        default=None,
        description="Whether a first dimension of -1 is the batch, with a row for each row of the request. "
        "False where that is not known, as of boxes that were found. Default true.",
    )


Tensors = Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=64)]


class Slice(Part):
    """A part of the model as one ONNX file in the model store."""

    digest: Digest = Field(description="Digest of the slice's ONNX file, under which the model store has it.")
    size: int = Field(ge=0, description="Bytes of the slice's ONNX file.")
    inputs: Tensors = Field(description="What the slice takes.")
    outputs: Tensors = Field(description="What the slice gives.")


class Exit(Part):
    """An output of the graph at which inference may end."""

    name: ExitName = Field(description="Name of the exit, unique in the model, e.g. exit1.")
    output: TensorName = Field(description="Name of the graph's output that gives this exit's result.")
    accuracy: Accuracy = Field(
        description="Share of held-out inputs that this exit gets right, between 0 and 1. The most accurate "
        "exit that keeps the SLO is chosen."
    )
