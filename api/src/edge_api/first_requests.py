"""A model that refuses generated inputs: which runtime measures it on its first requests, and the results."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from edge_api.modelprofiles import ExitCost, SegmentCost
from edge_api.objects import KeyedBy, StatusPart
from edge_api.quantities import Share
from edge_api.rules import Digest, TensorNames, Text
from edge_api.shapes import MeasuredShapes

MOST_SEGMENTS = 4096
"""Segments that a status has room for."""

FirstRequestsTurn = Literal["Keep", "Measure"]
"""What the runtime of an entry node does with the inputs of the first requests."""


class ReportedSegment(SegmentCost):
    """A segment that a runtime measured."""

    model_config = ConfigDict(extra="ignore")


class ReportedExit(ExitCost):
    """An exit that a runtime measured. Services name exits differently: the outputs identify it."""

    model_config = ConfigDict(extra="ignore")

    output: TensorNames = Field(description="The outputs of the exit, several joined by +.")


class RequestProfile(StatusPart):
    """Measurements of a model on the inputs of requests."""

    model: Digest = Field(description="SHA-256 digest of the ONNX file.")
    threads: int = Field(ge=1, description="Number of threads of a run.")
    execution_provider: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None,
        description="Execution provider on which it was measured, e.g. OpenVINO. Default: CPU.",
    )
    segments: Annotated[tuple[ReportedSegment, ...], Field(min_length=1, max_length=MOST_SEGMENTS)] = Field(
        description="Compute times between neighboring cuts of all exits."
    )
    exits: Annotated[tuple[ReportedExit, ...], Field(min_length=1, max_length=64), KeyedBy("output")] = Field(
        description="Compute time from the input to each exit as one slice."
    )
    relative_error: Share | None = Field(
        default=None,
        description="Largest relative difference, over the exits, between the sum of an exit's segments and "
        "the exit as one slice. Default: not measured.",
    )
    shapes: MeasuredShapes | None = Field(
        default=None,
        description="Shapes at which the model was measured, from the smallest to the largest. Default: one.",
    )


class FirstRequestsStatus(StatusPart):
    """The measurement of a model on the inputs of its first requests, which stay in the runtime's memory."""

    kept: Annotated[int, Field(ge=0, le=8)] = Field(
        default=0, description="Number of requests whose inputs the runtime keeps, up to 8."
    )
    attempts: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Number of failed attempts to measure."
    )
    message: Text = Field(default="", description="Why the last attempt failed. Default: none has.")
    profile: RequestProfile | None = Field(
        default=None, description="The measurements. Default: not measured yet."
    )
