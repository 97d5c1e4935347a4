"""Shapes of requests: those at which a model is measured, the one that is planned for, those that arrive."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from edge_api.model_inputs import ShapeSizes
from edge_api.objects import KeyedBy, Part, StatusPart
from edge_api.quantities import Duration
from edge_api.rules import TensorName

MOST_MEASURED = 9
"""Maximum number of shapes at which a model is measured."""


class InputShape(Part):
    """The shape of an input."""

    name: TensorName = Field(description="Name of the input.")
    shape: ShapeSizes = Field(description="Sizes of its dimensions, with 1 for the batch.")


InputShapes = Annotated[tuple[InputShape, ...], Field(min_length=1, max_length=64), KeyedBy("name")]


class MeasuredShape(Part):
    """A shape at which the model was measured."""

    inputs: InputShapes = Field(description="Shape of each input of the model.")


MeasuredShapes = Annotated[tuple[MeasuredShape, ...], Field(min_length=1, max_length=MOST_MEASURED)]
DurationsAt = Annotated[tuple[Duration, ...], Field(min_length=1, max_length=MOST_MEASURED)]
BytesAt = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=MOST_MEASURED)]


class ShapeCount(StatusPart):
    """Requests of a shape."""

    inputs: InputShapes = Field(description="Shape of each input of the model.")
    count: int = Field(ge=0, description="Number of requests of this shape.")


ShapeCounts = Annotated[tuple[ShapeCount, ...], Field(max_length=32)]


def input_shapes(shapes: Mapping[str, Sequence[int]]) -> tuple[InputShape, ...]:
    """Returns the shape of each input as a part of an object."""
    return tuple(InputShape(name=name, shape=tuple(shape)) for name, shape in shapes.items())


def by_input(shapes: Sequence[InputShape]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each input, by name."""
    return {each.name: each.shape for each in shapes}
