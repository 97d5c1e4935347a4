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
    """A tensor in terms of the Open Inference Protocol."""

    name: TensorName = Field(description="Name of the tensor in the ONNX graph.")
    datatype: Datatype = Field(description="Datatype of the Open Inference Protocol, e.g. FP32.")
    shape: Annotated[tuple[int, ...], Field(max_length=16)] = Field(
        description="Dimensions; -1 is set by the request (the batch)."
    )
    batched: bool | None = Field(
        default=None,
        description="Whether a first dimension of -1 is the batch, with one row for each row of the "
        "request. False if that is not known, e.g. for detected boxes. Default: true.",
    )


Tensors = Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=64)]


class Slice(Part):
    """A slice of the model as one ONNX file in the model store."""

    digest: Digest = Field(description="SHA-256 digest of the slice's ONNX file in the model store.")
    size: int = Field(ge=0, description="Size of the slice's ONNX file in bytes.")
    inputs: Tensors = Field(description="Inputs of the slice.")
    outputs: Tensors = Field(description="Outputs of the slice.")


class Exit(Part):
    """An output of the model at which inference can end."""

    name: ExitName = Field(description="Name of the exit, unique in the model, e.g. exit1. Required.")
    output: TensorName = Field(
        description="Name of the output of the ONNX graph that has the result of this exit. Required."
    )
    accuracy: Accuracy = Field(
        description="Accuracy of the exit on held-out inputs, between 0 and 1. The most accurate exit that "
        "meets the SLO is chosen. Required."
    )
