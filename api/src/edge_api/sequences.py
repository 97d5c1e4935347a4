"""Sequences of requests whose state the entry node keeps from one request to the next."""

from typing import Annotated

from pydantic import Field

from edge_api.objects import Part
from edge_api.quantities import Duration
from edge_api.rules import PositiveDuration, TensorName


class StatePair(Part):
    """An output of the model that is an input of the sequence's next request."""

    output: TensorName = Field(
        description="Name of the model's output that has the state after a request. Responses do not contain "
        "it. Required."
    )
    input: TensorName = Field(
        description="Name of the model's input that takes the state. Clients do not send it. Required."
    )
    initial: float = Field(
        default=0.0,
        description="Value of all elements of the input in the first request of a sequence. Default: 0.",
    )


class Sequences(Part):
    """How many sequences an entry node keeps, and for how long."""

    maximum: Annotated[int, Field(strict=True, ge=1, le=100_000)] = Field(
        default=128,
        description="Maximum number of sequences that an entry node keeps at once; it refuses more, with "
        "status 429. Default: 128.",
    )
    idle_timeout: PositiveDuration = Field(
        default=Duration(30.0),
        description="Time without a request after which a sequence has expired, as a duration above 0 such "
        "as 1m. Its next request has to start it again. Default: 30s.",
    )


class PlacedState(StatePair):
    """An output of the model that is an input of the sequence's next request, with its shape."""

    shape: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=16)] = Field(
        description="Shape of the input in the first request of a sequence."
    )
