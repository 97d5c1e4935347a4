"""Tensors, slices and exits, as the model store describes them."""

from typing import Annotated, Literal

from pydantic import Field

from edge_api.objects import Part
from edge_api.rules import Accuracy, Digest, ExitName, Rule, TensorName

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


ResponseNames = Literal["Final", "Own"]
_ONE_FORM_FIX = "an exit has output or outputs, one of the two: write output: NAME, or outputs: [NAME, …]"


class Exit(Part):
    """A named set of the model's outputs at which inference can end."""

    name: ExitName = Field(description="Name of the exit, unique in the model, e.g. exit1. Required.")
    output: TensorName | None = Field(
        default=None,
        description="Name of the output of the ONNX graph that has the result of this exit: the short form "
        "of outputs with one name. Default: those in outputs.",
    )
    outputs: Annotated[tuple[TensorName, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Names of the outputs of the ONNX graph that are the result of this exit, in the order "
        "of the response, 1 to 64. Default: the one in output.",
    )
    accuracy: Accuracy | None = Field(
        default=None,
        description="Accuracy of the exit on held-out inputs, between 0 and 1. The most accurate exit that "
        "meets the SLO is chosen. Required if there are several exits. Default: not stated; an only exit "
        "is planned with 1.",
    )
    response_names: ResponseNames | None = Field(
        default=None,
        description="Names of the outputs in a response of this exit. Final: those of the last exit's "
        "outputs, by position, of which it must have as many. Own: the names in outputs. Default: Final.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs of the graph that the exit consists of."""
        return self.outputs or ((self.output,) if self.output else ())

    @property
    def keeps_names(self) -> bool:
        """Whether its outputs answer under their own names."""
        return self.response_names == "Own"


ONE_FORM = Rule(
    cel="has(self.output) != has(self.outputs)",
    message=_ONE_FORM_FIX,
    sentence=f"'{_ONE_FORM_FIX}'",
    check=lambda exit_: None if (exit_.output is None) != (exit_.outputs is None) else _ONE_FORM_FIX,
)
"""Each exit of a list says what it consists of, once."""
_ACCURACY_FIX = "of several exits, each needs an accuracy, by which they are compared: add accuracy to each"
COMPARABLE = Rule(
    cel="size(self) == 1 || self.all(exit, has(exit.accuracy))",
    message=_ACCURACY_FIX,
    sentence=f"'{_ACCURACY_FIX}'",
    check=lambda exits: (
        None if len(exits) == 1 or all(exit_.accuracy is not None for exit_ in exits) else _ACCURACY_FIX
    ),
)
"""The accuracies of several exits are known."""
