"""What a manifest says of a model's inputs: their shapes, where the file leaves dimensions open."""

from typing import Annotated

from pydantic import Field

from edge_api.objects import Part
from edge_api.rules import Rule, TensorName
from edge_api.tensors import Datatype

MOST_DIMENSIONS = 16
ShapeSizes = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)], ...], Field(max_length=MOST_DIMENSIONS)
]
"""The size of each dimension of an input."""


class ModelInput(Part):
    """An input of the model, with the sizes of its open dimensions."""

    name: TensorName = Field(description="Name of the input in the ONNX graph. Required.")
    shape: ShapeSizes | None = Field(
        default=None,
        description="Sizes of all dimensions if every request has this shape, e.g. [1, 3, 640, 640], with 1 "
        "for the batch. Default: maxShape and typicalShape.",
    )
    max_shape: ShapeSizes | None = Field(
        default=None,
        description="Sizes of all dimensions of the largest request, with 1 for the batch. The SLO is "
        "planned for it until runtimes have counted the shapes of requests. Default: shape.",
    )
    typical_shape: ShapeSizes | None = Field(
        default=None,
        description="Sizes of all dimensions of a usual request, none above maxShape. The model is measured "
        "at it, at maxShape and at a shape between. Default: maxShape.",
    )
    datatype: Datatype | None = Field(
        default=None,
        description="Datatype of the Open Inference Protocol, e.g. FP32. A file with another one is refused. "
        "Default: that of the file.",
    )

    @property
    def largest(self) -> tuple[int, ...]:
        """The shape of the largest request."""
        return self.shape if self.shape is not None else self.max_shape or ()

    @property
    def typical(self) -> tuple[int, ...]:
        """The shape of a usual request."""
        return self.largest if self.typical_shape is None else self.typical_shape


_ONE_FORM_FIX = (
    "an input has shape, or maxShape with typicalShape: write shape: [1, 3, 640, 640], or both others"
)


def _check_form(value: ModelInput) -> str | None:
    good = (value.shape is None) != (value.max_shape is None) and not (
        value.shape is not None and value.typical_shape is not None
    )
    return None if good else _ONE_FORM_FIX


ONE_FORM = Rule(
    cel="has(self.shape) != has(self.maxShape) && !(has(self.shape) && has(self.typicalShape))",
    message=_ONE_FORM_FIX,
    sentence=f"'{_ONE_FORM_FIX}'",
    check=_check_form,
)
_WITHIN_FIX = "typicalShape must have as many sizes as maxShape, none above those: lower typicalShape"


def _check_within(value: ModelInput) -> str | None:
    typical, largest = value.typical_shape, value.max_shape
    if typical is None or largest is None:
        return None
    good = len(typical) == len(largest) and all(a <= b for a, b in zip(typical, largest, strict=True))
    return None if good else _WITHIN_FIX


WITHIN = Rule(
    cel="!has(self.typicalShape) || !has(self.maxShape) || "
    "(size(self.typicalShape) == size(self.maxShape) && "
    f"{list(range(MOST_DIMENSIONS))}.all(i, i >= size(self.maxShape) || "
    "self.typicalShape[i] <= self.maxShape[i]))",
    message=_WITHIN_FIX,
    sentence=f"'{_WITHIN_FIX}'",
    check=_check_within,
)
